"""What somebody's images are like, told before anything is made of them.

Names are listed and headers read; only a sample is decoded.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ssl_kedro.core.seeding import numpy_generator
from ssl_kedro.images.decode import decoded_image
from ssl_kedro.images.files import (
    DECODER_ERRORS,
    UnreadableImageError,
    is_visible_folder,
    opened_file,
    opened_image,
    passed_over,
    reason_of,
    upright_size,
)
from ssl_kedro.images.image_set import SkippedFile
from ssl_kedro.images.load import DataConfig, ImageSourceError, image_source, source_of
from ssl_kedro.images.parts import ImagePart

# Headers read and images decoded at most.
HEADERS, DECODED = 2000, 256
# Side in px of the images that are decoded to be looked at.
LOOKED_AT_PX = 96
# Folders of fewer images each are taken for an order of somebody's own, not for classes.
_FEWEST_A_CLASS = 5
_DATE = re.compile(r"(19|20)\d\d([-_. ]?\d\d){0,2}|\d\d?[-_. ]\d\d?[-_. ]\d{2,4}")


@dataclass(frozen=True)
class Survey:
    """What was found.

    Args:
        data: how the images are read.
        counts: of images, by part: "train", "eval".
        classes: name and number of training images of each; empty where there are none.
        sides: shorter side in px of the sampled images: smallest, median, largest.
        grey: share of the decoded sample whose three channels are equal.
        sampled: how many files were looked at.
        unreadable: those of them that cannot be read.
        other_files: numbers of files that are no images, by ending.
        choice: what was decided about how they are read, a sentence.
        pictures: uint8 (K, 3, 96, 96), of the sample.
        files: of these.
    """

    data: DataConfig
    counts: dict[str, int]
    classes: tuple[tuple[str, int], ...]
    sides: tuple[int, int, int]
    grey: float
    sampled: int
    unreadable: tuple[SkippedFile, ...]
    other_files: dict[str, int]
    choice: str
    pictures: np.ndarray
    files: tuple[Path, ...]


def survey_images(config: DataConfig, seed: int) -> Survey:
    """Look at what ``config.root`` holds, and decide how it is read.

    A table is read by the source "csv", all else by "folder". Folders count as classes unless they
    cannot be (a single one, images beside them), hold few images each, or are called by dates.

    Args:
        config: root and limits; its source is replaced.
        seed: of the sample and of what is held out.

    Raises:
        ImageSourceError: there are no images, or none can be read.
    """
    root = _innermost(Path(config.root or "").expanduser())
    given = replace(config, source=source_of(root), root=config.root and str(root))
    data, choice = _read_as(given, seed)
    folder, train = _files(data, "train", seed)
    held = _files(data, "eval", seed)[1]
    sides, unreadable, sampled = _headers(folder, train, seed)
    pictures, broken, files = _decoded(folder, train, seed)
    if not len(pictures):
        file = [*unreadable, *broken][0]
        raise data.error(
            "root",
            f"{len(train)} files, of which none of {sampled} can be read: {file.path} "
            f"({file.reason})",
            "images",
            "set data.root to a folder of images",
        )
    grey = (pictures == pictures[:, :1]).all(axis=(1, 2, 3)).mean()
    lost = {file.path: file for file in (*unreadable, *broken)}
    counts = np.bincount(train.labels) if train.labels is not None else ()
    return Survey(
        data=data,
        counts={"train": len(train), "eval": len(held)},
        classes=tuple(zip(train.class_names, map(int, counts), strict=True)),
        sides=(int(sides.min()), int(np.median(sides)), int(sides.max())),
        grey=float(grey),
        sampled=sampled,
        unreadable=tuple(lost.values()),
        other_files=passed_over(folder),
        choice=choice,
        pictures=pictures,
        files=files,
    )


def _files(data: DataConfig, split: str, seed: int) -> tuple[Path, ImagePart]:
    files = image_source(data.source).files
    if files is None:
        raise data.error("source", f"{data.source}", "images in files", "name a folder or a table")
    return files(data, "eval" if split == "eval" else "train", seed)


def _read_as(data: DataConfig, seed: int) -> tuple[DataConfig, str]:
    """The configuration with its labels decided on, and why."""
    if data.labels is not None:
        return data, "Labels are left out, as data.labels says."
    without = replace(data, labels="none")
    try:
        part = _files(data, "train", seed)[1]
    except ImageSourceError as error:
        if data.source == "csv":
            raise
        _files(without, "train", seed)  # or there are no images at all
        return without, f"Read without classes: {error.found}."
    if part.labels is None:
        kind = "column of labels" if data.source == "csv" else "folder for each class"
        return data, f"There is no {kind}, so they are read without classes."
    if data.source == "folder" and (reason := _no_classes(part)):
        return without, f"Folders are not taken for classes: {reason}."
    kind = "labels of the table" if data.source == "csv" else "folders"
    return data, f"The {len(part.class_names)} {kind} are taken for classes."


def _no_classes(part: ImagePart) -> str:
    """Why folders are no classes; "" where they are."""
    if all(_DATE.fullmatch(name) for name in part.class_names):
        return "they are called by dates"
    if len(part) < _FEWEST_A_CLASS * len(part.class_names):
        return f"{len(part.class_names)} of them hold {len(part)} images, too few each"
    return ""


def _innermost(root: Path) -> Path:
    """The folder itself, or the one inside it, as long as it holds nothing else."""
    while root.is_dir():
        inside = [path for path in root.iterdir() if is_visible_folder(path.name)]
        if len(inside) != 1 or not inside[0].is_dir() or inside[0].name == "train":
            break
        if not any(path.is_dir() for path in inside[0].iterdir()):
            break
        (root,) = inside
    return root


def _sample(files: ImagePart, most: int, seed: int) -> list[str]:
    rows = numpy_generator(seed, "survey").permutation(len(files))[:most]
    return [files.names[int(row)] for row in np.sort(rows)]


def _headers(
    folder: Path, files: ImagePart, seed: int
) -> tuple[np.ndarray, list[SkippedFile], int]:
    """Shorter sides in px; what cannot be opened; how many files were."""
    names = _sample(files, HEADERS, seed)
    sides, unreadable = [], []
    for name in names:
        try:
            with opened_file(folder / name) as file, opened_image(file) as image:
                sides.append(min(upright_size(image)))
        except DECODER_ERRORS as error:
            unreadable.append(SkippedFile(name, reason_of(error)))
    return np.array(sides or [0]), unreadable, len(names)


def _decoded(
    folder: Path, train: ImagePart, seed: int
) -> tuple[np.ndarray, list[SkippedFile], tuple[Path, ...]]:
    """Pictures of a sample, what cannot be read of it, and the files of the pictures."""
    pictures: dict[Path, np.ndarray] = {}
    unreadable = []
    for name in _sample(train, DECODED, seed):
        try:
            pictures[folder / name] = decoded_image(folder / name, LOOKED_AT_PX)
        except UnreadableImageError as error:
            unreadable.append(SkippedFile(name, str(error)))
    empty = np.empty((0, 3, LOOKED_AT_PX, LOOKED_AT_PX), np.uint8)
    return np.stack([*pictures.values()]) if pictures else empty, unreadable, tuple(pictures)


def contact_sheet(pictures: np.ndarray, columns: int = 12, most: int = 96) -> np.ndarray:
    """Pictures side by side, for a look.

    Args:
        pictures: uint8 (K, 3, S, S).
        columns: of the sheet.
        most: pictures, evenly spread over those given.

    Returns:
        uint8 (H, W, 3), RGB; white where there is none.
    """
    rows = np.linspace(0, len(pictures) - 1, min(most, len(pictures))).round().astype(int)
    chosen = pictures[rows].transpose(0, 2, 3, 1)
    side, columns = chosen.shape[1], min(columns, len(chosen))
    lines = -(-len(chosen) // columns)
    sheet = np.full((lines * columns, side, side, 3), 255, np.uint8)
    sheet[: len(chosen)] = chosen
    grid = sheet.reshape(lines, columns, side, side, 3).swapaxes(1, 2)
    return grid.reshape(lines * side, columns * side, 3)
