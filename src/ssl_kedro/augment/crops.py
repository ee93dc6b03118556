"""Random crop boxes of a batch; crop, resize and flip, each sample with its own box.

Boxes have the distribution of torchvision's RandomResizedCrop.

Convention:
    Pixel ``j`` covers ``[j, j + 1)`` and its value belongs to its centre ``j + 1/2``
    (``align_corners=False``). Output pixel ``i`` of ``S`` takes its value at
    ``left + (i + 1/2) * width / S``; a flip runs ``i`` backwards. The kernel is a triangle
    of half width 1 (bilinear) or Keys' cubic with a = -1/2 of half width 2 (bicubic), times
    ``max(1, width / S)``, so that shrinking averages instead of aliasing. Weights outside
    the crop box are dropped and the rest sum to 1. This is what
    ``torch.nn.functional.interpolate(..., antialias=True)`` does to the sliced crop, and
    Pillow's resize up to its rounding to 8 bits.

The map is separable. Each pass is a weighted sum of a few whole image rows, which
``embedding_bag`` does fastest: rows are read and written contiguously. Measured on one core
with two taps, crop and flip of 32 px views took 4.7 us as two such passes, 5.0 us as two
batched matrix products and 11.7 us with ``grid_sample``; 96 px views 29, 112 and 101 us.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from ssl_kedro.augment.config import ViewConfig

Interpolation = Literal["bilinear", "bicubic"]
ATTEMPTS = 10  # as in RandomResizedCrop.get_params


class Boxes(NamedTuple):
    """Crop boxes in whole pixels, one a sample; four float32 tensors (N,)."""

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor


def draw_boxes(
    count: int, height: int, width: int, config: ViewConfig, generator: torch.Generator
) -> Boxes:
    """Draw crop boxes: area uniform, ratio log-uniform, position uniform.

    All ten attempts that torchvision makes one after another are drawn at once and the first
    that fits is kept; where none fits, the largest centred box of an allowed ratio.

    Args:
        count: number of boxes N.
        height: height of the images in pixels.
        width: width of the images in pixels.
        config: scale and ratio of the crops.
        generator: source of randomness; the boxes lie on its device.
    """
    uniform = torch.rand(2, count, ATTEMPTS, generator=generator, device=generator.device)
    position = torch.rand(2, count, generator=generator, device=generator.device)
    area = _between(uniform[0], *config.crop_scale).mul_(height * width)
    low, high = config.crop_ratio
    root_ratio = _between(uniform[1], math.log(low) / 2, math.log(high) / 2).exp_()
    side = area.sqrt_()
    widths = (side * root_ratio).round_()
    heights = (side / root_ratio).round_()
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
    # argmax returns the first of several equal maxima.
    first = fits.to(torch.uint8).argmax(dim=1, keepdim=True)
    found = fits.any(dim=1)
    fallback_height, fallback_width = _fallback(height, width, config.crop_ratio)
    box_width = widths.gather(1, first)[:, 0].where(found, _like(found, fallback_width))
    box_height = heights.gather(1, first)[:, 0].where(found, _like(found, fallback_height))
    free = torch.stack([height - box_height, width - box_width])
    corner = torch.minimum((position * (free + 1)).floor_(), free)
    corner = torch.where(found, corner, (free / 2).floor_())
    return Boxes(corner[0], corner[1], box_height, box_width)


def _between(uniform: Tensor, low: float, high: float) -> Tensor:
    return uniform.mul(high - low).add_(low)


def _like(found: Tensor, value: float) -> Tensor:
    return torch.full(found.shape, float(value), device=found.device)


def _fallback(height: int, width: int, ratio: tuple[float, float]) -> tuple[int, int]:
    """Height and width of the largest box whose ratio is allowed."""
    low, high = ratio
    if width / height < low:
        return max(1, min(height, round(width / low))), width
    if width / height > high:
        return height, max(1, min(width, round(height * high)))
    return height, width


def crop_resize(
    images: Tensor,
    boxes: Boxes,
    flip: Tensor,
    size: tuple[int, int],
    interpolation: Interpolation = "bilinear",
) -> Tensor:
    """Crop, resize and flip every image by its own box.

    Args:
        images: (N, C, H, W), uint8 or float32.
        boxes: one box a sample, inside the image.
        flip: which samples are mirrored left to right, bool (N,).
        size: height and width of the output in pixels.
        interpolation: kernel.

    Returns:
        float32 (N, C, *size), in the units of images. Bicubic overshoots their range.
    """
    height, width = images.shape[2:]
    rows, columns = size
    upright = torch.zeros_like(flip)
    x_taps = taps(boxes.left, boxes.width, flip, width, columns, interpolation=interpolation)
    y_taps = taps(boxes.top, boxes.height, upright, height, rows, interpolation=interpolation)
    # Transposed first: a pass mixes whole rows, so the horizontal one needs columns as rows.
    # The copy is cheapest while the data are bytes.
    across = _mix_rows(images.transpose(2, 3).contiguous().float(), *x_taps)
    return _mix_rows(across.transpose(2, 3).contiguous(), *y_taps)


def taps(
    start: Tensor,
    extent: Tensor,
    flip: Tensor,
    length: int,
    size: int,
    *,
    interpolation: Interpolation,
) -> tuple[Tensor, Tensor]:
    """Input pixels and weights of every output pixel along one axis.

    Args:
        start: first pixel of each box (N,).
        extent: pixels in each box (N,).
        flip: whether the axis is reversed (N,).
        length: pixels of the input along the axis.
        size: pixels of the output along the axis.
        interpolation: kernel.

    Returns:
        Indices int64 and weights float32, both (N, size, K); each row of weights sums to 1.
    """
    half_width = 1 if interpolation == "bilinear" else 2
    # The largest possible shrinking fixes the number of taps without looking at the boxes.
    tap_count = math.ceil(2 * half_width * max(1.0, length / size))
    centre = torch.arange(size, device=start.device) + 0.5
    centre = torch.where(flip[:, None], size - centre, centre) * (extent / size)[:, None]
    centre = (centre + start[:, None])[:, :, None]
    shrink = (extent / size).clamp_min(1)[:, None, None]
    first = (centre - half_width * shrink - 0.5).floor_().add_(1)
    index = first + torch.arange(tap_count, device=start.device)
    distance = ((index + 0.5 - centre) / shrink).abs_()
    weight = _triangle(distance) if interpolation == "bilinear" else _cubic(distance)
    end = start + extent
    inside = (index >= start[:, None, None]) & (index < end[:, None, None])
    weight = weight.mul_(inside)
    weight = weight / weight.sum(dim=2, keepdim=True)
    return index.clamp_(0, length - 1).long(), weight


def _triangle(distance: Tensor) -> Tensor:
    return (1 - distance).clamp_min_(0)


def _cubic(distance: Tensor) -> Tensor:
    """Keys' cubic convolution kernel with a = -1/2 (Keys 1981, eq. 15)."""
    near = (1.5 * distance - 2.5) * distance * distance + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return torch.where(distance < 1, near, torch.where(distance < 2, far, 0.0))


def _mix_rows(images: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """Weighted sums of image rows.

    Args:
        images: float32 (N, C, L, Q), contiguous.
        index: rows that each output row mixes (N, S, K).
        weight: their weights (N, S, K).

    Returns:
        float32 (N, C, S, Q).
    """
    count, channels, length, row = images.shape
    size, tap_count = index.shape[1:]
    offset = torch.arange(count * channels, device=images.device).mul_(length)
    every = index[:, None] + offset.view(count, channels, 1, 1)
    weights = weight[:, None].expand(every.shape)
    mixed = embedding_bag(
        every.view(-1, tap_count),
        images.view(-1, row),
        per_sample_weights=weights.reshape(-1, tap_count),
        mode="sum",
    )
    return mixed.view(count, channels, size, row)
