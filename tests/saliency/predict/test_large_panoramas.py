"""Panoramas of 16384 x 8192 px, as in Salient360!, beyond the limit that Pillow sets by itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import Tensor, nn

from ssl_kedro.images.files import UnreadableImageError
from ssl_kedro.saliency.predict.files import write_predictions
from ssl_kedro.saliency.predict.inputs import PredictionInputError
from ssl_kedro.saliency.predict.prediction import PredictConfig
from ssl_kedro.saliency.sources.files import decoded_panorama

SIZE = (16384, 8192)
# In a process of its own: peak memory is that of this one panorama.
READ = """
import json, re, sys
from pathlib import Path
from ssl_kedro.saliency.sources.files import check_panorama, decoded_panorama
path = Path(sys.argv[1])

def peak_kb():
    # Not getrusage, whose peak is that of the process that started this one.
    return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])

before = peak_kb()
check_panorama(path)
found = decoded_panorama(path, 16, 32)
after = peak_kb()
print(json.dumps({"pixels": found.tolist(), "mb": (after - before) / 1024}))
"""


def tiles() -> np.ndarray:
    """Colours (4, 8, 3) that the large panorama shows in tiles of 2048 x 2048 px."""
    return np.random.default_rng(0).integers(0, 256, (4, 8, 3), np.uint8)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One panorama as JPEG, progressive JPEG and PNG."""
    folder = tmp_path_factory.mktemp("large")
    whole = Image.fromarray(tiles()).resize(SIZE, Image.Resampling.NEAREST)
    whole.save(folder / "baseline.jpg", quality=90)
    whole.save(folder / "progressive.jpg", quality=90, progressive=True)
    whole.save(folder / "a.png", compress_level=1)
    return folder


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux for the peak")
@pytest.mark.parametrize(
    ("name", "most_mb"), [("baseline.jpg", 60), ("progressive.jpg", 500), ("a.png", 650)]
)
def test_memory_of_a_large_panorama(large: Path, name: str, most_mb: int) -> None:
    """4 bytes a pixel are 537 MB; a baseline JPEG needs a small part of it."""
    ran = subprocess.run(
        [sys.executable, "-c", READ, str(large / name)], capture_output=True, text=True, check=True
    )
    found = json.loads(ran.stdout)
    sys.stdout.write(f"{name}: {found['mb']:.0f} MB\n")
    assert found["mb"] < most_mb
    pixels = np.array(found["pixels"]).transpose(1, 2, 0)
    # 4 x 4 pixels a tile: those inside are its colour, those at its edge a mixture.
    inside = pixels.reshape(4, 4, 8, 4, 3)[:, 1:3, :, 1:3]
    assert np.abs(inside - tiles()[:, None, :, None].astype(int)).max() <= 6
    # Nothing was said: Pillow warns of large images, in a text that names no file.
    assert ran.stderr == ""


class Bright(nn.Module):
    """A map that is the panorama's brightness."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=1, keepdim=True).clamp(0.01, 0.99)


@pytest.mark.slow
def test_prediction_for_a_large_panorama(large: Path, tmp_path: Path) -> None:
    config = PredictConfig(str(large / "baseline.jpg"), str(tmp_path), overlay_width=256)
    assert [row.frames for row in write_predictions(Bright(), config, 320)] == [1]
    with Image.open(tmp_path / "baseline_overlay.jpg") as drawn:
        assert drawn.size == (256, 128)


def test_the_limit_names_file_and_parameter(tmp_path: Path) -> None:
    path = tmp_path / "wide.png"
    Image.new("L", (400, 200)).save(path)
    with pytest.raises(UnreadableImageError, match=r"wide\.png: 400 x 200 pixels.*70000"):
        decoded_panorama(path, 16, 32, max_megapixels=0.07)
    config = PredictConfig(str(tmp_path), str(tmp_path.parent / "out"), max_megapixels=0.07)
    with pytest.raises(
        PredictionInputError,
        match=r"wide\.png \(400 x 200\).*0\.07 million pixels \(predict\.max_m",
    ):
        write_predictions(Bright(), config, 320)
