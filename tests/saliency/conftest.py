from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from videos import write_video

DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="session")
def avtrack360_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve real panoramas with head fixations and maps, unpacked."""
    archive = DATA / "avtrack360.tar.xz"
    if not archive.exists():
        pytest.skip("the panoramas of AVTrack360 are not here")
    folder = tmp_path_factory.mktemp("avtrack360")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return folder / "avtrack360"


Write = Callable[..., Path]


@pytest.fixture
def picture(tmp_path: Path) -> Write:
    """Writes a picture of one colour, or of an array, below the test's folder."""

    def write(name: str, size: tuple[int, int] = (64, 32), value: object = 90) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(value, np.ndarray):
            image = Image.fromarray(value)
        else:
            image = Image.new("RGB" if path.suffix == ".jpg" else "L", size, value)  # type: ignore[arg-type]
        image.save(path)
        return path

    return write


@pytest.fixture
def text(tmp_path: Path) -> Write:
    """Writes a text file below the test's folder."""

    def write(name: str, content: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        return path

    return write


@pytest.fixture
def video(tmp_path: Path) -> Write:
    """Writes a video below the test's folder; see :func:`videos.write_video`."""

    def write(name: str, *arguments: object, **options: object) -> Path:
        return write_video(tmp_path / name, *arguments, **options)  # type: ignore[arg-type]

    return write
