from __future__ import annotations

import base64
import io
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from ssl_kedro.reporting.thumbnails import Thumbnail, Thumbnails, image_uri


@pytest.mark.parametrize(
    ("side", "kind", "shown"), [(8, "PNG", 8), (48, "PNG", 48), (200, "JPEG", 96)]
)
def test_small_images_are_exact_and_large_ones_are_shrunk(side: int, kind: str, shown: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, side, side), dtype=np.uint8)
    made = Image.open(io.BytesIO(base64.b64decode(image_uri(image).split("base64,")[1])))
    assert (made.format, made.size) == (kind, (shown, shown))
    if kind == "PNG":
        assert np.array_equal(np.asarray(made).transpose(2, 0, 1), image)


def row(count: int, side: int = 46, words: str = "cats & <dogs>") -> ElementTree.Element:
    pictures = [Thumbnail("data:,", str(number), f"picture {number}") for number in range(count)]
    text = str(Thumbnails(words, pictures, side).__html__()).replace(' loading="lazy">', "/>")
    return ElementTree.fromstring(text)


def test_a_row_holds_its_words_and_its_pictures_in_order() -> None:
    made = row(3)
    assert made.findtext("p") == "cats & <dogs>"
    assert [image.get("alt") for image in made.iter("img")] == [f"picture {n}" for n in range(3)]
    assert [words.text for words in made.iter("small")] == ["0", "1", "2"]
    assert row(1, words="").find("p") is None


def test_long_rows_take_a_whole_line() -> None:
    assert [row(count).get("class") for count in (8, 9)] == ["row", "row wide"]
    assert row(8, side=64).get("class") == "row wide"


def test_what_is_missing_is_said_in_its_place() -> None:
    assert (
        '<span class="missing">the file is gone</span>'
        in Thumbnail("", missing="the file is gone").__html__()
    )
