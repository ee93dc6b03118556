"""Images as a person has them at hand: paths, pictures, arrays, tensors."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias, Union

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ssl_kedro.core.errors import InputError
from ssl_kedro.images.decode import decoded_image
from ssl_kedro.images.files import UnreadableImageError
from ssl_kedro.images.image_set import ImageSet

Picture: TypeAlias = str | Path | Image.Image | np.ndarray | Tensor
ImageInput: TypeAlias = Union[Picture, ImageSet, "Sequence[Picture]"]

_error = partial(InputError, "images")


def image_batch(given: ImageInput, size: int) -> Tensor:
    """Images as one batch for a network that was made for ``size`` px.

    Files and pictures are brought to that size as those of a training are: the central square,
    antialiased bilinear. Arrays and tensors are taken as they are, so they have to have it.

    Args:
        given: a path, a Pillow image, an array or tensor, an :class:`ImageSet`, or a sequence of
            these. Arrays and tensors: (N, 3, H, W), (3, H, W), (N, H, W, 3) or (H, W, 3), RGB,
            uint8 or float in [0, 1].
        size: side in px.

    Returns:
        (N, 3, size, size), RGB, uint8 or float in [0, 1] as it was given.

    Raises:
        InputError: another size, shape, type or range, a file that cannot be read, or nothing.
    """
    if isinstance(given, ImageSet):
        given = given.images
    if isinstance(given, str | Path | Image.Image | np.ndarray | Tensor):
        return _one(given, size)
    parts = [_one(picture, size) for picture in given]
    if not parts:
        raise _error("none", "at least one image", "give a path, a picture, an array or a tensor")
    if len({part.dtype for part in parts}) > 1:
        raise _error("uint8 and float images in one sequence", "one type", "convert them to uint8")
    return torch.cat(parts)


def _one(given: Picture, size: int) -> Tensor:
    if isinstance(given, np.ndarray):
        # A copy where it is read-only: a tensor could not promise to leave it alone.
        given = torch.from_numpy(given if given.flags.writeable else given.copy())
    if isinstance(given, Tensor):
        return _checked(given, size)
    try:
        source = given if isinstance(given, Image.Image) else Path(given).expanduser()
        pixels = decoded_image(source, size)
    except UnreadableImageError as error:
        found = repr(str(given)) if isinstance(given, str | Path) else "a picture"
        raise _error(
            f"{found}, which cannot be read ({error})",
            "an image file or picture",
            "repair it or leave it out; load_images reads whole folders",
        ) from error
    return torch.from_numpy(pixels)[None]


def _checked(images: Tensor, size: int) -> Tensor:
    """A tensor as (N, 3, size, size); its memory is shared."""
    batch = images[None] if images.ndim == 3 else images
    if batch.ndim == 4 and batch.shape[1] != 3 and batch.shape[3] == 3:
        batch = batch.permute(0, 3, 1, 2)
    if batch.ndim != 4 or batch.shape[1] != 3:
        raise _error(
            f"shape {tuple(images.shape)}",
            "(N, 3, H, W), (3, H, W), (N, H, W, 3) or (H, W, 3)",
            "give RGB images",
        )
    if batch.shape[2:] != (size, size):
        height, width = batch.shape[2:]
        raise _error(
            f"{height} x {width} px",
            f"{size} x {size}, which this encoder is made for",
            f"resize them, or give files or Pillow images, which are resized to {size} px",
        )
    if batch.dtype == torch.uint8:
        return batch
    if not batch.is_floating_point():
        raise _error(f"type {images.dtype}", "uint8, or float in [0, 1]", "convert them to uint8")
    if batch.numel() and not (float(batch.min()) >= 0 and float(batch.max()) <= 1):
        raise _error(
            f"values from {float(batch.min()):g} to {float(batch.max()):g}",
            "float in [0, 1], or uint8",
            "divide by 255, and leave out any normalisation: the encoder does it",
        )
    return batch
