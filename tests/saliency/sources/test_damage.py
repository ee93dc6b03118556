from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssl_kedro.images.files import UnreadableImageError
from ssl_kedro.saliency.sources.config import FixationColumns
from ssl_kedro.saliency.sources.errors import SaliencyDataError
from ssl_kedro.saliency.sources.files import check_panorama, decoded_panorama
from ssl_kedro.saliency.sources.fixation_files import read_fixations
from ssl_kedro.saliency.sources.saliency_files import read_saliency
from ssl_kedro.saliency.sources.salient360 import read_scanpaths
from ssl_kedro.saliency.sources.vr_eyetracking import read_gaze

GREY = np.random.default_rng(0).integers(0, 255, (16, 32), np.uint8)


def fixations(path: Path) -> object:
    return read_fixations(path, FixationColumns(), lambda: (32, 16))


def panorama(path: Path) -> object:
    check_panorama(path)
    return decoded_panorama(path, 8, 16)


def gaze(path: Path) -> object:
    return read_gaze((path,), 10.0)


CASES: dict[str, tuple[Callable[[Path], object], object]] = {
    "map.png": (read_saliency, GREY),
    "map16.png": (read_saliency, GREY.astype(np.uint16) * 200),
    "map.jpg": (read_saliency, GREY),
    "map.npy": (read_saliency, GREY),
    "map_32x16_32b.bin": (read_saliency, GREY.astype("<f4")),
    "fixations.npy": (fixations, np.array([[1.0, 2, 3]] * 5)),
    "fixations.csv": (fixations, "lon_deg,lat_deg,subject\n" + "1.5,2,a\n" * 20),
    "fixations.png": (fixations, GREY),
    "scanpath.txt": (read_scanpaths, "Idx, longitude, latitude\n" + "0, .5, .5\n" * 10),
    "gaze.txt": (gaze, "frame,1,forward,0,0,eye,0.5,0.5\n" * 10),
    "panorama.jpg": (panorama, np.stack([GREY] * 3, axis=-1)),
    "panorama.png": (panorama, np.stack([GREY] * 3, axis=-1)),
}


def write(path: Path, content: object) -> None:
    if isinstance(content, str):
        path.write_text(content)
    elif path.suffix == ".npy":
        np.save(path, np.asarray(content))
    elif path.suffix == ".bin":
        np.asarray(content).tofile(path)
    else:
        Image.fromarray(np.asarray(content)).save(path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CASES)
def test_damage_is_reported_by_file(name: str, tmp_path: Path) -> None:
    """Changed and cut files either read or raise an error that names the file."""
    read, content = CASES[name]
    path = tmp_path / name
    write(path, content)
    read(path)
    whole = path.read_bytes()
    generator = np.random.default_rng(1)
    refused = 0
    for number in range(150):
        damaged = bytearray(whole)
        for place in generator.integers(len(whole), size=generator.integers(1, 4)):
            damaged[place] = generator.integers(256)
        if number % 3 == 0:
            damaged = damaged[: generator.integers(len(whole))]
        path.write_bytes(damaged)
        try:
            read(path)
        except (SaliencyDataError, UnreadableImageError) as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > 20
