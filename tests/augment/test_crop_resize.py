from __future__ import annotations

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ssl_kedro.augment.transforms import Boxes, Interpolation, crop_resize, taps

BOXES = [(0, 0, 32, 32), (3, 5, 20, 17), (31, 31, 1, 1), (0, 20, 32, 3), (12, 0, 9, 26)]


def images(count: int = len(BOXES), height: int = 32, width: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (count, 3, height, width)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def as_boxes(rows: list[tuple[int, int, int, int]]) -> Boxes:
    return Boxes(*torch.tensor(rows, dtype=torch.float32).T)


def never(count: int) -> Tensor:
    return torch.zeros(count, dtype=torch.bool)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(32, 32), (48, 33), (16, 16), (7, 40), (1, 1)])
def test_equals_interpolate_of_the_sliced_crop(
    size: tuple[int, int], interpolation: Interpolation
) -> None:
    batch = images() / 255
    found = crop_resize(batch, as_boxes(BOXES), never(len(BOXES)), size, interpolation)
    for image, view, (top, left, height, width) in zip(batch, found, BOXES, strict=True):
        crop = image[None, :, top : top + height, left : left + width]
        expected = F.interpolate(
            crop, size=size, mode=interpolation, align_corners=False, antialias=True
        )[0]
        torch.testing.assert_close(view, expected, atol=1e-5, rtol=0)


def test_enlarged_crop_equals_plain_interpolate() -> None:
    batch = images() / 255
    found = crop_resize(batch, as_boxes(BOXES), never(len(BOXES)), (32, 32))
    for image, view, (top, left, height, width) in zip(batch, found, BOXES, strict=True):
        crop = image[None, :, top : top + height, left : left + width]
        expected = F.interpolate(crop, size=(32, 32), mode="bilinear", align_corners=False)[0]
        torch.testing.assert_close(view, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [40, 12])
def test_equals_pillow_up_to_its_rounding(size: int) -> None:
    batch = images()
    found = crop_resize(batch, as_boxes(BOXES), never(len(BOXES)), (size, size))
    for image, view, (top, left, height, width) in zip(batch, found, BOXES, strict=True):
        crop = image[:, top : top + height, left : left + width].permute(1, 2, 0)
        resized = Image.fromarray(crop.contiguous().numpy()).resize(
            (size, size), Image.Resampling.BILINEAR
        )
        expected = torch.tensor(list(resized.tobytes())).view(size, size, 3).permute(2, 0, 1)
        # Pillow rounds after each of its two passes.
        assert (view - expected).abs().max() < 1.01


def test_equals_grid_sample_inside_the_box() -> None:
    """A box grown by half a pixel on each side of the output needs no edge rule."""
    batch = images() / 255
    boxes = as_boxes([(2, 4, 24, 20)] * len(batch))
    flip = torch.tensor([True, False, True, True, False])
    found = crop_resize(batch, boxes, flip, (32, 32))
    matrix = torch.zeros(len(batch), 2, 3)
    matrix[:, 0, 0] = torch.where(flip, -20 / 32, 20 / 32)
    matrix[:, 0, 2] = (2 * 4 + 20) / 32 - 1
    matrix[:, 1, 1] = 24 / 32
    matrix[:, 1, 2] = (2 * 2 + 24) / 32 - 1
    grid = F.affine_grid(matrix, [len(batch), 3, 32, 32], align_corners=False)
    expected = F.grid_sample(batch, grid, mode="bilinear", align_corners=False)
    inner = (..., slice(2, -2), slice(2, -2))
    torch.testing.assert_close(found[inner], expected[inner], atol=1e-5, rtol=0)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_whole_image_at_its_own_size_is_exactly_itself(interpolation: Interpolation) -> None:
    batch = images(4, 24, 31)
    boxes = as_boxes([(0, 0, 24, 31)] * 4)
    found = crop_resize(batch, boxes, never(4), (24, 31), interpolation)
    assert torch.equal(found, batch.float())


def test_flip_mirrors_exactly() -> None:
    batch = images()
    boxes = as_boxes(BOXES)
    plain = crop_resize(batch, boxes, never(len(BOXES)), (32, 20))
    flip = torch.tensor([True, False, True, False, True])
    found = crop_resize(batch, boxes, flip, (32, 20))
    for index, mirrored in enumerate(flip):
        expected = torch.flip(plain[index], dims=[2]) if mirrored else plain[index]
        assert torch.equal(found[index], expected)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_weights_sum_to_one_and_stay_in_the_box(interpolation: Interpolation) -> None:
    start, extent = torch.tensor([0.0, 5.0, 29.0, 0.0]), torch.tensor([32.0, 7.0, 3.0, 1.0])
    index, weight = taps(start, extent, never(4), 32, 9, interpolation=interpolation)
    torch.testing.assert_close(weight.sum(dim=2), torch.ones(4, 9))
    outside = (index < start[:, None, None]) | (index >= (start + extent)[:, None, None])
    assert (weight[outside] == 0).all()


def test_pixels_outside_the_box_do_not_leak() -> None:
    batch = torch.full((1, 3, 16, 16), 255, dtype=torch.uint8)
    batch[:, :, 4:9, 6:12] = 10
    view = crop_resize(batch, as_boxes([(4, 6, 5, 6)]), never(1), (16, 16))
    torch.testing.assert_close(view, torch.full_like(view, 10.0))
