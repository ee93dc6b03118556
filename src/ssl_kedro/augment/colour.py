"""Random colour of a batch as one affine map per sample.

Convention:
    Brightness, contrast, saturation, hue, grey, in this order, on values in [0, 1], with the
    luma weights w = (0.299, 0.587, 0.114). A = 1 w^T replaces a colour by its grey. Hue
    rotates RGB by an angle t about the grey axis u = (1, 1, 1): with the mean U = u u^T / 3
    and the quarter turn C = [u]_x / sqrt(3) (a cross product),
    R = U + cos(t) (I - U) + sin(t) C. Since every step maps a grey to itself, all five
    together are x -> b c (s P + (1 - s) A) x + (1 - c) b m, where P = R, or A R for samples
    made grey, and m is the mean luma of the sample: the offset is a grey.

The rotation approximates the hue shift in HSV, which is not linear: it agrees at thirds of a
turn, and at 0.1 turns it leaves two thirds of the distance between shifted and unshifted
colours, as the least-squares linear map does (a rotation in the I-Q plane of YIQ: 0.85).

Differences from torchvision's ColorJitter: the order is fixed instead of random, values are
clamped to [0, 1] once at the end instead of after each step, the luma weights sum to 1 (those
of torchvision's tensor functions to 0.9999), and hue turns linearly unless the exact shift in
HSV is asked for. `benchmarks/augmentation.py` prints how far the results lie apart.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import torch
from torch import Tensor

from ssl_kedro.augment.config import ViewConfig

LUMA = (0.299, 0.587, 0.114)


class ColourDraws(NamedTuple):
    """What was drawn for each sample; neutral where the jitter left the sample alone.

    Shapes (N,): factors of brightness, contrast and saturation, hue shift in turns (float32),
    and whether the sample is made grey (bool).
    """

    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    hue: Tensor
    grey: Tensor


def draw_colours(count: int, config: ViewConfig, generator: torch.Generator) -> ColourDraws:
    """Draw the colour changes of count samples on the device of the generator."""
    uniform = torch.rand(6, count, generator=generator, device=generator.device)
    jittered = uniform[0] < config.jitter

    def factor(row: Tensor, strength: float) -> Tensor:
        low = max(0.0, 1 - strength)
        return torch.where(jittered, row * (1 + strength - low) + low, 1.0)

    return ColourDraws(
        brightness=factor(uniform[1], config.brightness),
        contrast=factor(uniform[2], config.contrast),
        saturation=factor(uniform[3], config.saturation),
        hue=torch.where(jittered, (2 * uniform[4] - 1) * config.hue, 0.0),
        grey=uniform[5] < config.grey,
    )


def apply_colour(images: Tensor, draws: ColourDraws, exact_hue: bool, peak: float) -> Tensor:
    """Apply the drawn colour changes.

    Args:
        images: float32 (N, 3, H, W), white = peak.
        draws: one change a sample.
        exact_hue: shift hue in HSV, after a clamp, instead of linearly.
        peak: value of white in images.

    Returns:
        float32 (N, 3, H, W), white = 1, not clamped (after an exact hue shift in [0, 1]).
    """
    pixels = images.flatten(2)
    if not exact_hue:
        matrix, offset = colour_map(pixels, draws, peak)
        return torch.baddbmm(offset, matrix, pixels).view_as(images)
    neutral = torch.zeros_like(draws.hue)
    first = draws._replace(hue=neutral, grey=neutral.bool())
    matrix, offset = colour_map(pixels, first, peak)
    coloured = torch.baddbmm(offset, matrix, pixels).clamp_(0, 1).view_as(images)
    shifted = shift_hue(coloured, draws.hue)
    grey, mean, chroma, _ = _bases(images.device)
    # One product for all samples, by A or the identity, is faster than a selection.
    last = torch.where(draws.grey[:, None, None], grey, mean + chroma)
    return torch.bmm(last, shifted.flatten(2)).view_as(images)


def colour_map(pixels: Tensor, draws: ColourDraws, peak: float) -> tuple[Tensor, Tensor]:
    """Affine map of the module's convention.

    Args:
        pixels: float32 (N, 3, P), white = peak; only their mean is used, for the contrast.
        draws: one change a sample.
        peak: value of white in pixels.

    Returns:
        Matrix (N, 3, 3) and offset (N, 3, 1), onto a scale where white = 1.
    """
    grey, mean, chroma, quarter_turn = _bases(pixels.device)
    angle = (draws.hue * (2 * math.pi))[:, None, None]
    turned = mean + angle.cos() * chroma + angle.sin() * quarter_turn
    luma_of_turned = (grey[0, :, None] * turned).sum(dim=1, keepdim=True)
    turned = torch.where(draws.grey[:, None, None], luma_of_turned, turned)
    saturation = draws.saturation[:, None, None]
    gain = (draws.brightness * draws.contrast / peak)[:, None, None]
    matrix = gain * (saturation * turned + (1 - saturation) * grey)
    mean_luma = (pixels.mean(dim=2) * grey[0]).sum(dim=1)
    offset = (1 - draws.contrast) * draws.brightness * mean_luma / peak
    return matrix, offset[:, None, None].expand(-1, 3, 1)


def shift_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Shift the hue in HSV.

    Neither direction needs a case distinction, which would cost three times as much. With
    M, m the larger and smaller of green and blue and c the chroma, the hue is
    1 + (M - red + max(0, m - red)) / c sixths of a turn from red, towards green or towards
    blue by the sign of green - blue. Back, channel n = 5, 3, 1 (red, green, blue) of hue h,
    value v and chroma c is v - c max(0, min(1, 2 - |k|)) with k = h + n - 2 wrapped to
    [-3, 3].

    Args:
        images: float32 (N, 3, H, W) in [0, 1].
        turns: shift of each sample (N,), in turns.

    Returns:
        float32 (N, 3, H, W) in [0, 1].
    """
    red, green, blue = images.unbind(dim=1)
    larger, smaller = torch.maximum(green, blue), torch.minimum(green, blue)
    value = torch.maximum(larger, red)
    chroma = value - torch.minimum(smaller, red)
    distance = (larger - red).add_(smaller.sub_(red).clamp_min_(0))
    # A grey pixel has no hue; the divisor only has to be positive there.
    distance = distance.div_(chroma.clamp_min(1e-12)).add_(1)
    sixths = torch.copysign(distance, green - blue).add_(6 * turns[:, None, None])
    phase = sixths[:, None] + _channel_phases(images.device)
    phase.sub_((phase / 6).round_(), alpha=6)
    share = phase.abs_().neg_().add_(2).clamp_(0, 1)
    return torch.addcmul(value[:, None], share, chroma[:, None], value=-1)


@functools.cache
def _channel_phases(device: torch.device) -> Tensor:
    """The constants n - 2 of red, green and blue in the shift of hue, (3, 1, 1)."""
    return torch.tensor([3.0, 1.0, -1.0], device=device).view(3, 1, 1)


@functools.cache
def _bases(device: torch.device) -> Tensor:
    """The matrices A, U, I - U and C of the module's convention, (4, 3, 3).

    Kept for each device: building them copies from the host, which waits for the device.
    """
    luma = torch.tensor(LUMA, dtype=torch.float64).expand(3, 3)
    mean = torch.full((3, 3), 1 / 3, dtype=torch.float64)
    chroma = torch.eye(3, dtype=torch.float64) - mean
    cross = torch.tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], dtype=torch.float64)
    return torch.stack([luma, mean, chroma, cross / math.sqrt(3)]).float().to(device)
