"""What to predict for: one image, one video, or a folder of them, checked before a model runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ssl_kedro.core.errors import SettingError, first_few
from ssl_kedro.core.remote import local_copy
from ssl_kedro.images.decode import Resize, decoded_part
from ssl_kedro.images.files import (
    EXTENSIONS,
    UnreadableImageError,
    images_below,
    opened_file,
    opened_image,
    passed_over,
    upright_size,
)
from ssl_kedro.images.photographs import FilePhotographs
from ssl_kedro.saliency.sources.config import MAX_MEGAPIXELS
from ssl_kedro.saliency.sources.errors import SaliencyDataError
from ssl_kedro.saliency.sources.layouts import files_below
from ssl_kedro.saliency.video import VIDEO_EXTENSIONS, Video, resized_frame

# Of 2:1. Sizes of videos are rounded to whole blocks of the codec: 1920 x 964 is a panorama too.
_ASPECT_TOLERANCE = 0.01


class PredictionInputError(SettingError):
    """An input that cannot be predicted for.

    Cause: ``predict.input`` is missing, holds no image or video, or an image is not twice as
    wide as high.
    Remedy: give an equirectangular image, a folder of them, or a video.
    """

    section = "predict"


@dataclass(frozen=True)
class Unpredicted:
    """A file for which there is no prediction.

    Args:
        name: of the file, relative to the input.
        reason: what is wrong with it.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class PredictionInput:
    """Files to predict for.

    Args:
        root: folder that names are relative to.
        images, videos: names, sorted.
        broken: files that cannot be opened, found before any model ran.
    """

    root: Path
    images: tuple[str, ...]
    videos: tuple[str, ...]
    broken: tuple[Unpredicted, ...]


def found_input(given: str | None, max_megapixels: float = MAX_MEGAPIXELS) -> PredictionInput:
    """Look at an input: files that cannot be opened are listed, others must be panoramas.

    Only headers are read. A folder is searched to any depth; hidden files and files with
    other extensions are passed over.

    Args:
        given: path of an image, a video or a folder.
        max_megapixels: of an image, in million pixels.

    Raises:
        PredictionInputError: no path, nothing there, no image or video in a folder, files that
            are not twice as wide as high, images that are too large, or none that can be opened.
    """

    def refused(found: str) -> PredictionInputError:
        known = "a panorama or a video (.jpg, .png, .mp4, ...), or a folder of them"
        remedy = "set predict.input to the path of one"
        return PredictionInputError("input", given, found, known, remedy)

    if given is None or not given.strip():
        raise refused("no path given")
    path = local_copy(given)
    if not path.exists():
        raise refused(f"no such file or folder (looked in {path.absolute()})")
    if path.is_dir():
        passed_over(path, EXTENSIONS | VIDEO_EXTENSIONS)
        names = [*images_below(path), *sorted(files_below(path, VIDEO_EXTENSIONS))]
        if not names:
            raise refused("a folder without images or videos")
        return _checked(given, path, names, max_megapixels)
    if path.suffix.lower() not in EXTENSIONS | VIDEO_EXTENSIONS:
        raise refused(f"a {path.suffix} file" if path.suffix else "a file without an extension")
    return _checked(given, path.parent, [path.name], max_megapixels)


def _checked(
    given: str, root: Path, names: Sequence[str], max_megapixels: float
) -> PredictionInput:
    images: list[str] = []
    videos: list[str] = []
    broken, flat, large = [], [], []
    for name in names:
        is_video = Path(name).suffix.lower() in VIDEO_EXTENSIONS
        try:
            width, height = _video_size(root / name) if is_video else image_size(root / name)
        except (UnreadableImageError, SaliencyDataError) as error:
            broken.append(Unpredicted(name, getattr(error, "found", str(error))))
            continue
        (videos if is_video else images).append(name)
        if abs(width - 2 * height) > _ASPECT_TOLERANCE * width:
            flat.append(f"{name} ({width} x {height})")
        elif not is_video and width * height > 1e6 * max_megapixels:
            large.append(f"{name} ({width} x {height})")
    refused = partial(PredictionInputError, "input", given)
    if large:
        raise refused(
            f"{len(large)} too large: {first_few(large)}",
            f"at most {max_megapixels:g} million pixels (predict.max_megapixels)",
            "raise predict.max_megapixels (an image that is no baseline JPEG takes 4 bytes a pixel "
            "while it is decoded), or save them at half the size",
        )
    if flat:
        raise refused(
            f"{len(flat)} that cannot be whole panoramas: {first_few(flat)}",
            "equirectangular panoramas, twice as wide as high (360 x 180 degrees)",
            "take these files away, or bring them to 2:1: a partial panorama is to be padded to "
            "the whole sphere, a stereo pair to be cut into its two eyes",
        )
    if not images and not videos:
        raise nothing_readable(given, broken)
    return PredictionInput(root, tuple(images), tuple(videos), tuple(broken))


def _video_size(path: Path) -> tuple[int, int]:
    video = Video(path)
    return video.width, video.height


def nothing_readable(given: object, broken: Sequence[Unpredicted]) -> PredictionInputError:
    """The error of an input of which not one file could be decoded."""
    named = first_few([f"{file.name} ({file.reason})" for file in broken], separator="; ")
    return PredictionInputError(
        "input",
        given,
        f"no file that can be read: {named}",
        "at least one readable panorama or video",
        "repair these files or choose others",
    )


def image_size(path: Path) -> tuple[int, int]:
    """Width and height of an image file in px, the way up that it is shown, from its header.

    Raises:
        UnreadableImageError: not an image, or a broken header.
    """
    try:
        with opened_file(path) as file, opened_image(file) as image:
            return upright_size(image)
    except Exception as error:  # Pillow raises many kinds on damaged headers
        reason = getattr(error, "strerror", None) or "not an image of a known format, or broken"
        empty = path.is_file() and not path.stat().st_size
        raise UnreadableImageError("an empty file" if empty else reason) from error


class PanoramaFiles(FilePhotographs):
    """Image files of panoramas, decoded to exactly ``side / 2`` rows and ``side`` columns.

    Args:
        paths: of the files.
        names: to call them by.
        max_megapixels: of a file, in million pixels.
    """

    def __init__(
        self, paths: Sequence[Path], names: Sequence[str], max_megapixels: float = MAX_MEGAPIXELS
    ) -> None:
        super().__init__(paths, names)
        self._max_pixels = 1e6 * max_megapixels

    def decoded(self, index: int, resize: Resize) -> np.ndarray:
        """See :meth:`Photographs.decoded`."""
        whole = Resize(resize.side, keep_aspect=True)
        decoded = decoded_part(self.paths[index], whole, max_pixels=self._max_pixels)
        return resized_frame(decoded.transpose(1, 2, 0), resize.side // 2, resize.side)

    def picture(self, index: int, height: int, width: int) -> np.ndarray:
        """One panorama to draw on, uint8 (3, height, width).

        Raises:
            UnreadableImageError: it cannot be decoded.
        """
        return resized_frame(self.decoded(index, Resize(width)).transpose(1, 2, 0), height, width)
