"""What importing and using the images costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import ssl_kedro

HEAVY = ("cv2", "faiss", "kedro", "mlflow", "pydantic", "sklearn", "torchvision")


def test_textures_load_without_heavy_packages() -> None:
    program = f"""
import sys
sys.path.insert(0, {str(Path(ssl_kedro.__file__).parents[1])!r})
from ssl_kedro.images.load import DataConfig, load_images
load_images(DataConfig(generated=20), "train", 0)
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]"
