"""Crops of whole pictures: their boxes, and what is seen in them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import ks_2samp
from torch import Tensor
from torchvision.transforms import RandomResizedCrop

from ssl_kedro.augment.config import ViewConfig
from ssl_kedro.augment.views import RandomViews
from ssl_kedro.augment.whole import central_squares, unpacked
from ssl_kedro.core.form import Form
from ssl_kedro.images.decode import decoded_image

OFF = {"flip": 0.0, "jitter": 0.0, "grey": 0.0, "solarize": 0.0}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ramp(width: int, height: int) -> Image.Image:
    """Red rises along a row from 0 to 255, green down a column."""
    x, y = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
    pixels = np.stack([x, y, np.zeros_like(x)], axis=-1) * 255
    return Image.fromarray(pixels.round().astype(np.uint8))


def rows(*pictures: Image.Image, side: int = 48) -> Tensor:
    form = Form(32, side, whole=True)
    return torch.from_numpy(np.stack([decoded_image(picture, form) for picture in pictures]))


@pytest.mark.parametrize(("width", "height"), [(500, 375), (333, 500), (1200, 200)])
def test_boxes_in_a_picture_have_torchvisions_distribution(width: int, height: int) -> None:
    count = 1500
    torch.manual_seed(0)
    blank = torch.zeros(1, height, width)
    drawn = [RandomResizedCrop.get_params(blank, (0.2, 1.0), (3 / 4, 4 / 3)) for _ in range(count)]
    sides = torch.full((count,), float(height)), torch.full((count,), float(width))
    boxes = RandomViews(ViewConfig()).draw(count, (48, 48), generator(), sides).boxes
    for place, share in enumerate((height, width, height, width)):
        wanted = [box[place] for box in drawn]
        # In the square that the picture was squeezed into, and back.
        found = (boxes[place] * share / 48).round()
        assert ks_2samp(found.numpy(), wanted).pvalue > 1e-3


@pytest.mark.parametrize(("width", "height"), [(500, 375), (300, 500), (400, 400)])
def test_a_view_shows_its_box_and_reaches_the_borders(width: int, height: int) -> None:
    batch = rows(ramp(width, height)).expand(400, -1)
    views = RandomViews(ViewConfig(**OFF, size=32))
    found = views(batch, generator(2)) * 255
    _, sides = unpacked(batch, 400, slice(None))
    boxes = views.draw(400, (48, 48), generator(2), sides).boxes
    middle = (torch.arange(32) + 0.5) / 32
    for channel, start, extent in ((0, boxes.left, boxes.width), (1, boxes.top, boxes.height)):
        mean = found[:, channel].mean(dim=1 if channel == 0 else 2)
        wanted = (start[:, None] + middle * extent[:, None]) / 48 * 255
        inner = slice(2, -2)  # the kernel is cut at the borders of a box
        assert float((mean - wanted)[:, inner].abs().max()) < 3
        assert float(mean.min()) < 6
        assert float(mean.max()) > 249


def test_a_square_picture_is_seen_as_its_pixels() -> None:
    """Squeezing does nothing to it: the views are those of the stored square."""
    draw = np.random.default_rng(0).integers(0, 256, (6, 48, 48, 3), dtype=np.uint8)
    whole = rows(*map(Image.fromarray, draw))
    plain = torch.from_numpy(draw.transpose(0, 3, 1, 2).copy())
    views = RandomViews(ViewConfig(size=32))
    assert torch.equal(views(whole, generator()), views(plain, generator()))


def test_shapes_of_other_processes_are_left_out() -> None:
    batch = rows(ramp(60, 30), ramp(30, 60))
    pixels, sides = unpacked(batch, 6, slice(2, 4))
    assert pixels.shape == (2, 3, 48, 48)
    assert sides is not None
    assert sides[0].tolist() == [1, 1, 30, 60, 1, 1]
    assert sides[1].tolist() == [1, 1, 60, 30, 1, 1]


@pytest.mark.parametrize(("width", "height"), [(160, 120), (90, 150), (100, 100)])
def test_central_squares_are_about_those_of_evaluation(width: int, height: int) -> None:
    picture = ramp(width, height)
    found = central_squares(rows(picture, picture).numpy(), 42)
    wanted = decoded_image(picture, Form(42, 48))
    assert found.shape == (2, 3, 42, 42)
    assert np.abs(found.astype(int) - wanted).max() <= 4
    assert np.abs(found.astype(int) - wanted).mean() < 1


def test_squares_stay() -> None:
    images = np.zeros((2, 3, 8, 8), np.uint8)
    assert central_squares(images, 4) is images
