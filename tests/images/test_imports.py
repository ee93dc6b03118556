"""What importing and using the images costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import ssl_kedro

HEAVY = ("cv2", "faiss", "kedro", "mlflow", "pydantic", "sklearn", "torch", "torchvision")


@pytest.mark.parametrize(
    "lines",
    [
        "from ssl_kedro.images.load import DataConfig, load_images\n"
        'load_images(DataConfig(generated=20), "train", 0)',
        'import ssl_kedro\nssl_kedro.load_images("textures", generated=20)',
    ],
)
def test_textures_load_without_heavy_packages(lines: str) -> None:
    program = f"""
import sys
sys.path.insert(0, {str(Path(ssl_kedro.__file__).parents[1])!r})
{lines}
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]"
