"""How images differ from those that an encoder was trained on, in words."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from ssl_kedro.images.decode import Resize
from ssl_kedro.images.files import DECODER_ERRORS, opened_file, opened_image, upright_size
from ssl_kedro.images.photographs import SquareFiles

# Files that are looked at, spread evenly over all.
_LOOKED_AT = 256
# Pixels of photographs of one kind differ less from those of another part of it: mean in standard
# deviations, and how many times as large a deviation is.
_FAR, _TIMES = 0.5, 1.5
# What encoders have that were never told of any images.
_UNTOLD = ((0.5,) * 3, (0.25,) * 3)


@dataclass(frozen=True)
class Seen:
    """The images that an encoder was trained on, as far as it knows.

    Args:
        size: side in px.
        mean: of red, green and blue, in [0, 1].
        std: the same.
    """

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def grey(self) -> bool:
        """Whether they had no colour: their channels are equal."""
        return len({*self.mean}) == 1 and len({*self.std}) == 1


def remarks(files: SquareFiles, seen: Seen) -> list[str]:
    """What to know before features of some files are used: sentences, none where nothing differs.

    Args:
        files: of which some are looked at; those that cannot be read are passed over.
        seen: by the encoder in training.
    """
    chosen = np.unique(np.linspace(0, len(files) - 1, _LOOKED_AT).astype(int))
    sides, images = [], []
    for index in chosen.tolist():
        with suppress(*DECODER_ERRORS):
            with opened_file(files.root / files.names[index]) as file:
                sides.append(min(upright_size(opened_image(file))))
            images.append(files.decoded(index, Resize(seen.size)))
    if not images:
        return []
    return [*_of_sizes(sides, seen.size), *_of_pixels(np.stack(images), seen)]


def _of_sizes(sides: Sequence[int], size: int) -> list[str]:
    least, most = min(sides), max(sides)
    if least == most == size:
        return []
    found = f"{least} px" if least == most else f"{least} to {most} px"
    said = f"The shorter sides of the images are {found}; the encoder sees the central square at "
    said += f"{size} px, as in its training."
    if least < size:
        said += " Enlarged images lack the detail that it was trained on."
    return [said]


def _of_pixels(images: np.ndarray, seen: Seen) -> list[str]:
    """Colour against grey, and brightness and contrast far from those of the training."""
    if (seen.mean, seen.std) == _UNTOLD:
        return []
    said = []
    grey = bool((images[:, :1] == images).all())
    if grey != seen.grey:
        kinds = ("colour", "grey")
        said.append(
            f"These images are {kinds[grey]}, the encoder was trained on {kinds[seen.grey]} ones: "
            "what it looks for may not be in them."
        )
    mean = images.mean(axis=(0, 2, 3), dtype=np.float64) / 255
    std = images.std(axis=(0, 2, 3), dtype=np.float64) / 255
    far = np.abs(mean - seen.mean) / np.maximum(seen.std, 1e-6)
    ratio = np.maximum(std, 1e-6) / np.maximum(seen.std, 1e-6)
    if far.max() > _FAR or max(ratio.max(), 1 / ratio.min()) > _TIMES:
        said.append(
            f"Brightness {mean.mean():.2f} and contrast {std.mean():.2f} of these images are far "
            f"from {np.mean(seen.mean):.2f} and {np.mean(seen.std):.2f} of those in training (mean "
            "and standard deviation of pixels, from 0 to 1): neighbours may follow light more "
            "than content."
        )
    return said
