"""Rows of whole pictures as tensors; see :mod:`ssl_kedro.core.form`."""

import numpy as np
import torch
from torch import Tensor

from ssl_kedro.augment.transforms import Boxes, crop_resize
from ssl_kedro.core.form import Form, is_whole, pixels_of, sides_of

# Pictures that are cut at once, which bounds memory.
_CHUNK = 64


def unpacked(images: Tensor, count: int, own: slice) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
    """Images, and where they are whole pictures the sides that those had.

    Args:
        images: uint8 (N, 3, H, W), or rows (N, 3 S S + 4), a process' part of a batch.
        count: images of the whole batch.
        own: where the part stands in it.

    Returns:
        (N, 3, H, W), and for whole pictures heights and widths in px, float32 (count,). Those of
        other processes are 1: boxes are drawn for all, so that every process draws alike, and each
        uses its own.
    """
    if images.ndim != 2:
        return images, None
    height, width = torch.ones(2, count, device=images.device).unbind()
    height[own], width[own] = sides_of(images)
    return pixels_of(images), (height, width)


def central_squares(images: np.ndarray, size: int) -> np.ndarray:
    """Training images about as evaluation sees them, for what takes no random views.

    Args:
        images: uint8 (N, 3, H, W), which stay; or whole pictures, stored at S px.
        size: side in px of the squares, cut from the middle of pictures of S px on their shorter
            side; at most S.

    Returns:
        uint8 (N, 3, size, size).
    """
    if not is_whole(images):
        return images
    found = np.empty((len(images), 3, size, size), np.uint8)
    for start in range(0, len(images), _CHUNK):
        rows = torch.from_numpy(images[start : start + _CHUNK])
        squeezed, (height, width) = pixels_of(rows), sides_of(rows)
        side = squeezed.shape[2]
        shapes = zip(width.tolist(), height.tolist(), strict=True)
        cut = [Form(size, side).cut(*shape) for shape in shapes]
        left, top, right, bottom = torch.tensor(cut).unbind(dim=1)
        across, down = side / width, side / height
        box = Boxes(top * down, left * across, (bottom - top) * down, (right - left) * across)
        views = crop_resize(squeezed, box, torch.zeros(len(rows), dtype=torch.bool), (size, size))
        found[start : start + _CHUNK] = views.round_().to(torch.uint8).numpy()
    return found
