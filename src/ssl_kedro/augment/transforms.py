"""Crops and colours of a batch, each sample with its own.

Convention of crops:
    Pixel ``j`` covers ``[j, j + 1)`` and its value belongs to its centre ``j + 1/2``
    (``align_corners=False``). Output pixel ``i`` of ``S`` takes its value at
    ``left + (i + 1/2) * width / S``; a flip runs ``i`` backwards. The kernel is a triangle
    of half width 1 (bilinear) or Keys' cubic with a = -1/2 of half width 2 (bicubic), times
    ``max(1, width / S)``, so that shrinking averages instead of aliasing. Weights outside
    the crop box are dropped and the rest sum to 1. This is what
    ``torch.nn.functional.interpolate(..., antialias=True)`` does to the sliced crop, and
    Pillow's resize up to its rounding to 8 bits. Boxes have the distribution of torchvision's
    RandomResizedCrop.

    The map is separable. Each pass is a weighted sum of a few whole image rows, which
    ``embedding_bag`` does fastest: rows are read and written contiguously. Measured on one core
    with two taps, crop and flip of 32 px views took 4.7 us as two such passes, 5.0 us as two
    batched matrix products and 11.7 us with ``grid_sample``; 96 px views 29, 112 and 101 us.

Convention of colours:
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

import functools
import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

Interpolation = Literal["bilinear", "bicubic"]
LUMA = (0.299, 0.587, 0.114)


class Boxes(NamedTuple):
    """Crop boxes in whole pixels, one a sample; four float32 tensors (N,)."""

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor


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
        boxes: one box a sample, inside the image; sides may end within pixels.
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
    across = mix_rows(images.transpose(2, 3).contiguous().float(), *x_taps)
    return mix_rows(across.transpose(2, 3).contiguous(), *y_taps)


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
    weight = (1 - distance).clamp_min_(0) if interpolation == "bilinear" else _cubic(distance)
    # Of a box that begins or ends within a pixel, the pixel counts as inside.
    begin, end = start.floor(), (start + extent).ceil()
    inside = (index >= begin[:, None, None]) & (index < end[:, None, None])
    weight = weight.mul_(inside)
    weight = weight / weight.sum(dim=2, keepdim=True)
    return index.clamp_(0, length - 1).long(), weight


def _cubic(distance: Tensor) -> Tensor:
    """Keys' cubic convolution kernel with a = -1/2 (Keys 1981, eq. 15)."""
    near = (1.5 * distance - 2.5) * distance * distance + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return torch.where(distance < 1, near, torch.where(distance < 2, far, 0.0))


def mix_rows(images: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """Weighted sums (N, C, S, Q) of rows of images (N, C, L, Q), float32, contiguous.

    Row s is a mixture of the rows index[:, s], (N, K), with the weights weight[:, s].
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
        matrix, offset = _colour_map(pixels, draws, peak)
        return torch.baddbmm(offset, matrix, pixels).view_as(images)
    neutral = torch.zeros_like(draws.hue)
    first = draws._replace(hue=neutral, grey=neutral.bool())
    matrix, offset = _colour_map(pixels, first, peak)
    coloured = torch.baddbmm(offset, matrix, pixels).clamp_(0, 1).view_as(images)
    shifted = shift_hue(coloured, draws.hue)
    grey, mean, chroma, _ = _bases(images.device)
    # One product for all samples, by A or the identity, is faster than a selection.
    last = torch.where(draws.grey[:, None, None], grey, mean + chroma)
    return torch.bmm(last, shifted.flatten(2)).view_as(images)


def _colour_map(pixels: Tensor, draws: ColourDraws, peak: float) -> tuple[Tensor, Tensor]:
    """Affine map of the convention above, onto a scale where white = 1.

    Of the pixels, float32 (N, 3, P), only the mean is used, for the contrast. The map is a matrix
    (N, 3, 3) and an offset (N, 3, 1).
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
    phase = sixths[:, None] + torch.arange(3, -3, -2, device=images.device)[:, None, None]
    phase.sub_((phase / 6).round_(), alpha=6)
    share = phase.abs_().neg_().add_(2).clamp_(0, 1)
    return torch.addcmul(value[:, None], share, chroma[:, None], value=-1)


@functools.cache
def _bases(device: torch.device) -> Tensor:
    """The matrices A, U, I - U and C of the convention above, (4, 3, 3).

    Kept for each device: building them copies from the host, which waits for the device.
    """
    luma = torch.tensor(LUMA, dtype=torch.float64).expand(3, 3)
    mean = torch.full((3, 3), 1 / 3, dtype=torch.float64)
    chroma = torch.eye(3, dtype=torch.float64) - mean
    cross = torch.tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], dtype=torch.float64)
    return torch.stack([luma, mean, chroma, cross / math.sqrt(3)]).float().to(device)
