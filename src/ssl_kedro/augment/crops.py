"""Random crop boxes: the distribution of torchvision's RandomResizedCrop, for a whole batch."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ssl_kedro.augment.config import ViewConfig

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
