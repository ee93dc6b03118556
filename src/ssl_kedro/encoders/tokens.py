"""What happens to a vision transformer's tokens before its blocks and behind them."""

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from ssl_kedro.core.errors import InputError

# Channels of a head in all of them, from ViT-Ti to ViT-g.
HEAD = 64
# What norms add to the variance.
EPSILON = 1e-6
# What features are, after the last norm: the class token, or the mean of the patches' tokens.
Pooling = Literal["class", "mean"]


def head_macs(width: int, tokens: int) -> int:
    """Of a head: its rows of queries, keys and values, two products, its columns behind them."""
    return tokens * HEAD * (4 * width + 2 * tokens)


def unit_macs(width: int, tokens: int) -> int:
    """Of a hidden unit of an MLP: its row of the first layer and its column of the second."""
    return tokens * 2 * width


def check_sides(images: Tensor, patch: int) -> None:
    """Raise InputError where patches of so many px do not fill images (N, 3, H, W)."""
    if any(side % patch or not side for side in images.shape[2:]):
        raise InputError(
            "images",
            "{} x {} px".format(*images.shape[2:]),
            f"sides that are multiples of {patch} px, which a patch has",
            "resize them, or set the image_size of this encoder",
        )


def placed(patches: Tensor, class_token: Tensor, positions: Tensor) -> Tensor:
    """Tokens (N, 1 + h w, D): the class token, then embedded patches (N, D, h, w), with positions.

    Args:
        patches: as they are embedded.
        class_token: (1, 1, D).
        positions: of the class token and a square grid, (1, 1 + s^2, D).
    """
    x = torch.cat([class_token.expand(len(patches), -1, -1), _in_a_row(patches)], dim=1)
    return x + resampled(positions, *patches.shape[2:])


def resampled(positions: Tensor, rows: int, columns: int) -> Tensor:
    """Positions (1, 1 + s^2, D) of a square grid for another, (1, 1 + rows columns, D).

    Bicubic and antialiased, as timm has it (DINOv2's own code does not antialias); the first, of
    the class token, stays.
    """
    side = math.isqrt(positions.shape[1] - 1)
    if (rows, columns) == (side, side):
        return positions
    grid = positions[:, 1:].float().transpose(1, 2).reshape(1, -1, side, side)
    grid = functional.interpolate(grid, (rows, columns), mode="bicubic", antialias=True)
    return torch.cat([positions[:, :1], _in_a_row(grid).to(positions.dtype)], dim=1)


def pooled(tokens: Tensor, pooling: Pooling) -> Tensor:
    """Features (N, D) float32 of all tokens (N, 1 + h w, D)."""
    read = tokens[:, :1] if pooling == "class" else tokens[:, 1:]
    return read.mean(dim=1, dtype=torch.float32)


def as_maps(tokens: Tensor, rows: int, columns: int) -> Tensor:
    """Tokens of the patches (N, D, rows, columns), of those of all (N, 1 + rows columns, D)."""
    return tokens[:, 1:].transpose(1, 2).reshape(len(tokens), -1, rows, columns)


def _in_a_row(maps: Tensor) -> Tensor:
    """Maps (N, D, h, w) as tokens (N, h w, D)."""
    return maps.flatten(2).transpose(1, 2)
