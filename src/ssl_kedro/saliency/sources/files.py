"""Panoramas, maps and fixations that lie in files."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ssl_kedro.core.errors import shown
from ssl_kedro.images.decode import Resize, decoded_part
from ssl_kedro.images.files import UnreadableImageError, upright_size
from ssl_kedro.saliency.panoramas import Fixations, PanoramaSource, Split
from ssl_kedro.saliency.sources.config import MAX_MEGAPIXELS, SourceConfig
from ssl_kedro.saliency.sources.errors import SaliencyDataError, all_of
from ssl_kedro.saliency.sources.fixation_files import check_fixations, read_fixations
from ssl_kedro.saliency.sources.layouts import chosen
from ssl_kedro.saliency.sources.saliency_files import check_saliency, read_saliency
from ssl_kedro.saliency.sources.values import opened


@dataclass(frozen=True)
class PanoramaFiles:
    """One panorama.

    Args:
        name: to call it by.
        scene: what it shows.
        split: which side it is on.
        image: its file.
        saliency: its map, None = none.
        fixations: files of its fixations; () = none.
    """

    name: str
    scene: str
    split: Split
    image: Path
    saliency: Path | None = None
    fixations: tuple[Path, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """All files of it."""
        maps = () if self.saliency is None else (self.saliency,)
        return (self.image, *maps, *self.fixations)


class FilePanoramas(PanoramaSource):
    """Panoramas of which each has its own image file.

    Args:
        panoramas: the files.
        root: folder they lie in, for messages.
        config: ``limit`` and ``seed``, ``columns`` of fixation tables, ``max_megapixels``.

    Raises:
        ValueError: as :class:`PanoramaSource`.
    """

    def __init__(
        self, panoramas: Sequence[PanoramaFiles], root: Path, config: SourceConfig
    ) -> None:
        kept = chosen([each.split for each in panoramas], config.limit, config.seed)
        self.panoramas = tuple(panoramas[index] for index in kept)
        super().__init__(
            [each.name for each in self.panoramas],
            [each.scene for each in self.panoramas],
            [each.split for each in self.panoramas],
        )
        self.root = root
        self.columns = config.columns
        self.max_megapixels = config.max_megapixels

    def image(self, index: int, height: int, width: int) -> np.ndarray:
        """One panorama brought to a size; see :class:`PanoramaSource`."""
        return decoded_panorama(self.panoramas[index].image, height, width, self.max_megapixels)

    def file(self, index: int) -> Path:
        """The picture; see :class:`PanoramaSource`."""
        return self.panoramas[index].image

    def width_px(self, index: int) -> int:
        """By the picture's header; see :class:`PanoramaSource`."""
        return panorama_size(self.file(index))[0]

    def saliency(self, index: int) -> np.ndarray | None:
        """Its map, None where there is none; see :class:`PanoramaSource`."""
        path = self.panoramas[index].saliency
        return None if path is None else read_saliency(path)

    def fixation_sets(self, index: int) -> tuple[Fixations, ...]:
        """Those of each of its files; see :class:`PanoramaSource`."""
        panorama = self.panoramas[index]
        return tuple(self._fixations(panorama, path) for path in panorama.fixations)

    @property
    def fingerprint(self) -> str:
        """Changes with names, scenes, splits, columns, and sizes and dates of the files."""
        described = [f"{each.name}\x1f{each.scene}\x1f{each.split}" for each in self.panoramas]
        return files_fingerprint(
            [*described, repr(self.columns)],
            (path for each in self.panoramas for path in each.files),
        )

    def check(self) -> None:
        """Look at the headers of all files; see :class:`PanoramaSource`."""
        files = ((each, path) for each in self.panoramas for path in each.files)
        all_of(self.root, (partial(self._check_file, *file) for file in files))

    def _check_file(self, panorama: PanoramaFiles, path: Path) -> None:
        if not path.is_file():
            raise SaliencyDataError(path, "no such file", "a file", "correct its name or remove it")
        if path.stat().st_size == 0:
            raise SaliencyDataError(
                path, "an empty file", "its content", "fetch the file again, or remove it"
            )
        try:
            if path == panorama.image:
                check_panorama(path, self.max_megapixels)
            elif path == panorama.saliency:
                check_saliency(path)
            else:
                self._check_fixations(panorama, path)
        except UnreadableImageError as error:
            # One that names another file is about the image, and was found before.
            if (text := str(error)).startswith(shown(str(path))):
                reason = text.removeprefix(f"{shown(str(path))}: ")
                raise SaliencyDataError(
                    path,
                    found=f"an image that {reason}" if reason.startswith("cannot") else reason,
                    expected="an image that can be decoded",
                    remedy="fetch it again, or leave it out",
                ) from error

    def _fixations(self, panorama: PanoramaFiles, path: Path) -> Fixations:
        """Of one file; a source whose files are of another kind reads them here."""
        size = partial(panorama_size, panorama.image)
        return read_fixations(path, self.columns, size).fixations

    def _check_fixations(self, panorama: PanoramaFiles, path: Path) -> None:
        check_fixations(path, self.columns, partial(panorama_size, panorama.image))


def decoded_panorama(
    path: Path, height: int, width: int, max_megapixels: float = MAX_MEGAPIXELS
) -> np.ndarray:
    """One panorama, uint8 (3, height, width), antialiased.

    Args:
        path: of the file.
        height: in px.
        width: in px.
        max_megapixels: of the file, in million pixels.

    Raises:
        UnreadableImageError: it cannot be decoded, or is not twice as wide as high.
    """
    try:
        resize = _Exactly(max(height, -(-width // 2)), False, height, width)
        resize.shape(*panorama_size(path))  # refuses before anything is decoded
        return decoded_part(path, resize, max_pixels=1e6 * max_megapixels)
    except UnreadableImageError as error:
        text = str(error)
        raise UnreadableImageError(
            text if shown(str(path)) in text else f"{path}: {text}"
        ) from error


def panorama_size(path: Path) -> tuple[int, int]:
    """Width and height of a panorama the way up that it was taken; reads the header.

    Raises:
        UnreadableImageError: not an image, or a broken header.
    """
    with opened(path) as image:
        return upright_size(image)


def two_to_one(width: int, height: int) -> bool:
    """Whether a size is a whole sphere's, give or take the one pixel that rounding leaves."""
    return height >= 1 and abs(width - 2 * height) <= 1


def check_panorama(path: Path, max_megapixels: float = MAX_MEGAPIXELS) -> None:
    """Refuse a panorama whose header shows that it cannot be used.

    Args:
        path: of the file.
        max_megapixels: of the file, in million pixels.

    Raises:
        SaliencyDataError: not twice as wide as high, or too large to be decoded.
        UnreadableImageError: not an image.
    """
    width, height = panorama_size(path)
    if not two_to_one(width, height):
        stereo = (
            "; a stereo panorama (one eye's view above the other's) has to be cut to one eye's"
            if two_to_one(width, height // 2)
            else ""
        )
        raise SaliencyDataError(
            path,
            found=f"an image of {width} x {height} px",
            expected=f"a panorama twice as wide as high{stereo}",
            remedy="bring it to equirectangular projection of the whole sphere, or leave it out",
        )
    if width * height > 1e6 * max_megapixels:
        raise SaliencyDataError(
            path,
            found=f"an image of {width} x {height} px, {width * height / 1e6:.1f} million pixels",
            expected=f"at most {max_megapixels:g} million (max_megapixels)",
            remedy="raise max_megapixels (an image that is no baseline JPEG takes 4 bytes a pixel "
            "while it is decoded), or save it at half the size: it is reduced to far less anyway",
        )


def files_fingerprint(described: Iterable[str], paths: Iterable[Path]) -> str:
    """Changes with descriptions, and with names, sizes and dates of files."""
    found = hashlib.sha256(shown("".join(f"{text}\x1e" for text in described)).encode())
    for path in paths:
        try:
            state = path.stat()
            content = f"{state.st_size} {state.st_mtime_ns}"
        except OSError:  # checking reports it
            content = "missing"
        found.update(shown(f"{path.name}\x1f{content}\x1e").encode())
    return found.hexdigest()[:16]


@dataclass(frozen=True)
class _Exactly(Resize):
    """To one size for all, refusing what is not a whole sphere."""

    height: int = 1
    width: int = 2

    def shape(self, width: float, height: float) -> tuple[int, int]:
        size = round(width), round(height)
        if not two_to_one(*size):
            raise UnreadableImageError(
                f"{size[0]} x {size[1]} px, which is not a panorama: twice as wide as high"
            )
        return self.width, self.height
