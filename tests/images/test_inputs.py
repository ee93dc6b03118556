"""Images as a person has them at hand, as one batch for an encoder."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_kedro.core.errors import InputError
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.images.inputs import image_batch

SIZE = 8


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


def test_every_form_of_one_picture_is_the_same_batch(pixels: np.ndarray, tmp_path: Path) -> None:
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    path = tmp_path / "picture.png"
    Image.fromarray(pixels).save(path)
    forms = [
        path,
        str(path),
        Image.fromarray(pixels),
        pixels,
        pixels[None],
        planes,
        planes[None],
        torch.from_numpy(planes),
        [path, Image.fromarray(pixels)][:1],
        ImageSet(planes[None], None, (), "given"),
    ]
    expected = torch.from_numpy(planes)[None]
    for form in forms:
        assert torch.equal(image_batch(form, SIZE), expected)


def test_a_sequence_is_one_batch_in_its_order(pixels: np.ndarray) -> None:
    other = 255 - pixels
    found = image_batch([pixels, Image.fromarray(other)], SIZE)
    assert torch.equal(found[0] + found[1], torch.full((3, SIZE, SIZE), 255, dtype=torch.uint8))


def test_files_and_pictures_are_resized_as_those_of_a_training(tmp_path: Path) -> None:
    picture = Image.new("L", (3 * SIZE, 2 * SIZE), 40)
    picture.save(tmp_path / "grey.png")
    for given in (picture, tmp_path / "grey.png"):
        assert torch.equal(
            image_batch(given, SIZE), torch.full((1, 3, SIZE, SIZE), 40, dtype=torch.uint8)
        )


def test_a_read_only_array_is_not_shared(pixels: np.ndarray) -> None:
    pixels.flags.writeable = False
    batch = image_batch(pixels, SIZE)
    batch.zero_()
    assert pixels.any()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.zeros((1, 3, 224, 224), np.uint8), "224 x 224 px; expected 8 x 8"),
        (torch.rand(1, 1, SIZE, SIZE), r"shape \(1, 1, 8, 8\)"),
        (np.zeros((SIZE, SIZE), np.uint8), r"shape \(8, 8\)"),
        (torch.zeros(1, 3, SIZE, SIZE, dtype=torch.int64), "type torch.int64"),
        (torch.full((1, 3, SIZE, SIZE), 200.0), "values from 200 to 200"),
        (torch.full((1, 3, SIZE, SIZE), float("nan")), "values from nan to nan"),
        ("no/such/file.jpg", "'no/such/file.jpg', which cannot be read"),
        ([], "found none"),
        (
            [torch.zeros(3, SIZE, SIZE), torch.zeros(3, SIZE, SIZE, dtype=torch.uint8)],
            "uint8 and float",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_a_sentence(given: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        image_batch(given, SIZE)
