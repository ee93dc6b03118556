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
from torch.nn import functional

from ssl_kedro.spherical.sphere import longitude_latitude

Interpolation = Literal["bilinear", "nearest"]


@dataclass(frozen=True)
class SamplingPlan:
    """Which pixels make up the values in some directions; made once, used for many panoramas.

    Args:
        size: height and width of the panoramas.
        shape: of the directions, without their last axis.
        indices: int32 (M, K), pixels of the panorama by rows.
        weights: float32 (M, K); each row sums to 1.
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
        # A pixel's values of all channels and panoramas lie together, and are fetched at once.
        table = panoramas.flatten(2).flatten(0, 1).T.contiguous()
        found = functional.embedding_bag(
            self.indices, table, mode="sum", per_sample_weights=self.weights.to(table.dtype)
        )
        return found.T.reshape(*panoramas.shape[:2], *self.shape)


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
    # In pixels, whole numbers at their centres.
    row = (90 - latitude) * (height / 180) - 0.5
    column = ((longitude + 180) * (width / 360)) % width - 0.5
    if interpolation == "nearest":
        i, j = (row + 0.5).floor().clamp(0, height - 1), (column + 0.5).floor()
        corners = [(_pixels(i, j, size), torch.ones_like(row))]
    else:
        i, j = row.floor().clamp(-1, height - 1), column.floor()
        down, right = (row - i).clamp(0, 1), (column - j).clamp(0, 1)
        up, left = 1 - down, 1 - right
        corners = [
            (_pixels(i, j, size), up * left),
            (_pixels(i, j + 1, size), up * right),
            (_pixels(i + 1, j, size), down * left),
            (_pixels(i + 1, j + 1, size), down * right),
        ]
    indices = torch.stack([index for found, _ in corners for index in found], dim=1)
    weights = torch.stack([w / len(found) for found, w in corners for _ in found], dim=1)
    return SamplingPlan(size, tuple(directions.shape[:-1]), indices.int(), weights.float())


def _pixels(row: Tensor, column: Tensor, size: tuple[int, int]) -> list[Tensor]:
    """The pixels at rows -1 to H and any column, by rows.

    Beyond a pole lies the first row turned by half a turn. With an odd width that is between two
    pixels, of which each counts half: then two are given.
    """
    height, width = size
    beyond = (row < 0) | (row >= height)
    within = row.clamp(0, height - 1) * width
    return [
        within + (column + beyond * half_turn) % width
        for half_turn in sorted({width // 2, (width + 1) // 2})
    ]


def _check(panoramas: Tensor, size: tuple[int, int]) -> None:
    if panoramas.ndim != 4 or tuple(panoramas.shape[2:]) != size:
        raise ValueError(
            f"expected panoramas of shape (N, C, {size[0]}, {size[1]}), found "
            f"{tuple(panoramas.shape)}"
        )
    if not panoramas.is_floating_point():
        raise ValueError(f"expected panoramas of floats, found {panoramas.dtype}: convert them")
