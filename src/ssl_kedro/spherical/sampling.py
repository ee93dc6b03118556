"""Values of a panorama in any direction.

A panorama continues on the other side of its left and right edge, and beyond a pole with the
first row turned by half a turn. Coordinates are computed in double precision, so that a direction
through the centre of a pixel gives the value of that pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ssl_kedro.spherical.sphere import longitude_latitude

Interpolation = Literal["bilinear", "nearest"]


@dataclass(frozen=True)
class SamplingPlan:
    """Which pixels make up the values in some directions; made once, used for many panoramas.

    Args:
        size: height and width of the panoramas.
        shape: of the directions, without their last axis.
        indices: int64 (K, M), pixels of the panorama with a row beyond each pole and a column
            beyond each edge.
        weights: float32 (K, M).
    """

    size: tuple[int, int]
    shape: tuple[int, ...]
    indices: Tensor
    weights: Tensor

    def to(self, device: torch.device) -> SamplingPlan:
        """The plan on a device."""
        return SamplingPlan(self.size, self.shape, self.indices.to(device), self.weights.to(device))

    def __call__(self, panoramas: Tensor) -> Tensor:
        """Values, (N, C, *shape), differentiable in the panoramas.

        Args:
            panoramas: float (N, C, H, W).

        Raises:
            ValueError: panoramas of another size, or not of floats.
        """
        _check(panoramas, self.size)
        flat = _continued(panoramas).flatten(2)
        total: Tensor | None = None
        for index, weight in zip(self.indices, self.weights, strict=True):
            part = flat.index_select(2, index) * weight.to(panoramas.dtype)
            total = part if total is None else total + part
        if total is None:
            raise ValueError("a plan without pixels")
        return total.view(*panoramas.shape[:2], *self.shape)


def sampling_plan(
    directions: Tensor, size: tuple[int, int], interpolation: Interpolation = "bilinear"
) -> SamplingPlan:
    """Plan for directions, the same in every panorama.

    Args:
        directions: (..., 3), of any length but 0.
        size: height and width of the panoramas.
        interpolation: between the four nearest centres of pixels, or the nearest alone.
    """
    height, width = size
    longitude, latitude = longitude_latitude(directions.double().reshape(-1, 3))
    # Coordinates in the continued panorama: its row and column 0 are beyond the edge.
    row = (90 - latitude) * (height / 180) + 0.5
    column = ((longitude + 180) * (width / 360)) % width + 0.5
    wide = width + 2
    if interpolation == "nearest":
        i = (row + 0.5).floor().clamp(1, height)
        j = (column + 0.5).floor().clamp(0, width + 1)
        indices, weights = (i * wide + j)[None], torch.ones_like(row)[None]
    else:
        i, j = row.floor().clamp(0, height), column.floor().clamp(0, width)
        down, right = (row - i).clamp(0, 1), (column - j).clamp(0, 1)
        first = i * wide + j
        indices = torch.stack([first, first + 1, first + wide, first + wide + 1])
        up, left = 1 - down, 1 - right
        weights = torch.stack([up * left, up * right, down * left, down * right])
    return SamplingPlan(size, tuple(directions.shape[:-1]), indices.long(), weights.float())


def sampled(
    panoramas: Tensor, directions: Tensor, interpolation: Interpolation = "bilinear"
) -> Tensor:
    """Values of panoramas in directions, the same ones or each sample's own.

    Args:
        panoramas: float (N, C, H, W).
        directions: (..., 3) for all samples, or (N, P, Q, 3) with a P x Q grid for each.
        interpolation: see :func:`sampling_plan`.

    Returns:
        (N, C, ...) in the first case, (N, C, P, Q) in the second.
    """
    size = (panoramas.shape[2], panoramas.shape[3])
    if directions.ndim == 4:
        if len(directions) != len(panoramas):
            raise ValueError(
                f"expected directions for each of {len(panoramas)} panoramas, found "
                f"{len(directions)}"
            )
        return torch.cat(
            [
                sampling_plan(own, size, interpolation)(panoramas[k : k + 1])
                for k, own in enumerate(directions)
            ]
        )
    plan = sampling_plan(directions, size, interpolation)
    return plan.to(panoramas.device)(panoramas)


def _continued(panoramas: Tensor) -> Tensor:
    """(N, C, H + 2, W + 2): beyond each pole and each edge."""
    rows = [_half_turn(panoramas[:, :, :1]), panoramas, _half_turn(panoramas[:, :, -1:])]
    tall = torch.cat(rows, dim=2)
    return torch.cat([tall[..., -1:], tall, tall[..., :1]], dim=3)


def _half_turn(row: Tensor) -> Tensor:
    width = row.shape[-1]
    if width % 2 == 0:
        return row.roll(width // 2, -1)
    return (row.roll(width // 2, -1) + row.roll(width // 2 + 1, -1)) / 2


def _check(panoramas: Tensor, size: tuple[int, int]) -> None:
    if panoramas.ndim != 4 or tuple(panoramas.shape[2:]) != size:
        raise ValueError(
            f"expected panoramas of shape (N, C, {size[0]}, {size[1]}), found "
            f"{tuple(panoramas.shape)}"
        )
    if not panoramas.is_floating_point():
        raise ValueError(f"expected panoramas of floats, found {panoramas.dtype}: convert them")
