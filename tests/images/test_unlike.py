"""Images that are not what an encoder was trained on are told, and others pass in silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from ssl_kedro.core.names import Names
from ssl_kedro.images.files import images_below
from ssl_kedro.images.photographs import SquareFiles
from ssl_kedro.images.unlike import Seen, remarks


def files(folder: Path, pixels: np.ndarray) -> SquareFiles:
    folder.mkdir()
    for number, one in enumerate(pixels):
        Image.fromarray(one).save(folder / f"{number}.png")
    return SquareFiles(folder, Names.of(images_below(folder)))


def of(pixels: np.ndarray, size: int) -> Seen:
    channels = pixels.reshape(-1, 3) / 255
    return Seen(size, tuple(channels.mean(axis=0)), tuple(channels.std(axis=0)))


COLOUR = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)
GREY = np.repeat(COLOUR[..., :1], 3, axis=3)


def test_images_as_in_training_pass_in_silence(tmp_path: Path) -> None:
    assert remarks(files(tmp_path / "c", COLOUR), of(COLOUR, 16)) == []
    assert remarks(files(tmp_path / "g", GREY), of(GREY, 16)) == []


def test_other_sizes_are_told(tmp_path: Path) -> None:
    found = files(tmp_path / "c", COLOUR)
    Image.new("RGB", (90, 40), (128, 128, 128)).save(tmp_path / "c/wide.png")
    (tmp_path / "c/broken.png").write_bytes(b"none")
    found = SquareFiles(tmp_path / "c", Names.of(images_below(tmp_path / "c")))
    [said] = remarks(found, of(COLOUR, 8))[:1]
    assert "16 to 40 px" in said and "at 8 px" in said and "Enlarged" not in said
    assert "Enlarged" in remarks(found, of(COLOUR, 32))[0]


def test_colour_against_grey_is_told_either_way(tmp_path: Path) -> None:
    [said] = remarks(files(tmp_path / "g", GREY), of(COLOUR, 16))
    assert said.startswith("These images are grey, the encoder was trained on colour ones")
    [said] = remarks(files(tmp_path / "c", COLOUR), of(GREY, 16))
    assert said.startswith("These images are colour, the encoder was trained on grey ones")


def test_light_far_from_that_of_training_is_told(tmp_path: Path) -> None:
    for name, pixels in (("dark", COLOUR // 4), ("flat", 112 + COLOUR // 8)):
        [said] = remarks(files(tmp_path / name, pixels), of(COLOUR, 16))
        assert said.startswith("Brightness ")
    nearly = (COLOUR * 0.9).astype(np.uint8)
    assert remarks(files(tmp_path / "near", nearly), of(COLOUR, 16)) == []
    # An encoder that was never told of any images.
    assert remarks(files(tmp_path / "any", COLOUR // 4), Seen(16, (0.5,) * 3, (0.25,) * 3)) == []
