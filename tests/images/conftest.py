"""Image folders made for a test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MakeFolder = Callable[..., Path]


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """Function that writes plain PNGs, each of another grey, and returns their root."""

    def make(counts: dict[str, int], name: str = "images", side: int = 8) -> Path:
        root = tmp_path / name
        for number, (folder, count) in enumerate(counts.items()):
            (root / folder).mkdir(parents=True, exist_ok=True)
            for index in range(count):
                grey = (37 * number + index) % 256
                pixels = np.full((side, side), grey, dtype=np.uint8)
                Image.fromarray(pixels).save(root / folder / f"{index:04d}.png")
        return root

    return make
