"""A table of image files: one row an image, with a label, or a part, or neither.

``data.root`` is the table: columns divided by commas, semicolons or tabs, names in the first row.
The image's column is called path, file, filename, image or image_path (or ``data.image_key``), and
holds paths relative to the table's folder, or absolute ones; that of the label, if there is one,
label, class, category or target (or ``data.label_key``); that of the part, if there is one, split,
part or set, with train, and test (or val, validation, eval). Without parts a share is held out.
"""

import csv
import os
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from ssl_kedro.core.errors import first_few, first_line
from ssl_kedro.core.names import Names
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.images.listed import images_of_files
from ssl_kedro.images.load import DataConfig, ImageSource, Split
from ssl_kedro.images.parts import (
    EVALUATION_PARTS,
    ImagePart,
    check_classes,
    coded_labels,
    kept_and_held,
)
from ssl_kedro.images.subsets import limited

_IMAGE = ("path", "file", "filename", "file_name", "image", "image_path", "img")
_LABEL = ("label", "class", "category", "target", "class_name")
_PART = ("split", "part", "set")
_EXPECTED = (
    f"a table (.csv) whose first row names a column of image files ({', '.join(_IMAGE)}), and if "
    f"wanted one of labels ({', '.join(_LABEL)}) and one of parts ({', '.join(_PART)})"
)


def _load(config: DataConfig, split: Split, seed: int) -> ImageSet:
    """Images of the table ``root``; see the top of this file."""
    root, files = _found(config, split, seed)
    return images_of_files(root, files, config, split)


def _count(config: DataConfig, split: Split, seed: int) -> int:
    return len(_found(config, split, seed)[1])


def _found(config: DataConfig, split: Split, seed: int) -> tuple[Path, ImagePart]:
    """The table's folder and the files of a part."""
    training = split != "eval"
    files = _part(config, training, seed)
    rows = limited(files.labels, len(files), config, training, seed)
    return _table(config).parent, files.chosen(rows)


def _part(config: DataConfig, training: bool, seed: int) -> ImagePart:
    files, parts = _rows(config)
    check_classes(files, "the table", config)
    if parts is None:
        kept, held = kept_and_held(files, config, seed)
        return files.chosen(kept if training else held)
    found = files.chosen(np.flatnonzero(parts == (0 if training else 1)))
    check_classes(found, f"its {'training' if training else 'evaluation'} part", config)
    return found


def _table(config: DataConfig) -> Path:
    path = Path(config.root or "").expanduser()
    if config.root and path.is_file():
        return path
    found = "a folder" if path.is_dir() else f"no such file (looked for {path.absolute()})"
    raise _error(config, found if config.root else "no table given")


def _error(config: DataConfig, found: str) -> Exception:
    return config.error("root", found, _EXPECTED, "correct the table, or data.root")


def _rows(config: DataConfig) -> tuple[ImagePart, np.ndarray | None]:
    """All images with their labels, and the part of each: 0 training, 1 evaluation, 2 neither."""
    table = _table(config)
    texts: dict[str, int] = {}
    codes, parts = array("q"), array("q")
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = _reader(file)
            names: list[str] = next(rows, [])
            image = _column(names, _IMAGE, "image_key", config)
            label = None if config.labels else _column(names, _LABEL, "label_key", config)
            part = _column(names, _PART, None, config)
            if image is None:
                raise _error(config, f"the columns {first_few(names, 12) or 'none'}")

            def paths() -> Iterator[str]:
                for row in filter(None, rows):
                    if len(row) != len(names):
                        found = f"{len(row)} values of {len(names)} in line {rows.line_num}"
                        raise _error(config, found)
                    if label is not None:
                        codes.append(texts.setdefault(row[label].strip(), len(texts)))
                    if part is not None:
                        parts.append(_place(row[part]))
                    yield _below(table.parent, row[image].strip())

            files = Names.of(paths())
    except (csv.Error, UnicodeDecodeError) as error:
        raise _error(config, f"what cannot be read as one ({first_line(error)})") from error
    labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    if label is not None:
        if "" in texts:
            raise _error(config, "rows without a label; give all one, or data.labels=none")
        labels, classes = coded_labels(np.array(codes, np.int64), list(texts), None, config)
    placed = np.array(parts, np.int64)
    held_out = part is not None and (placed == 1).any()
    return ImagePart(files, labels, classes), placed if held_out else None


def _reader(file: TextIO) -> Any:
    head = file.readline()
    file.seek(0)
    return csv.reader(file, delimiter=max(",;\t", key=head.count))


def _column(
    names: Sequence[str], known: Sequence[str], key: str | None, config: DataConfig
) -> int | None:
    """Which column is the one of a kind; None where there is none.

    Raises:
        ImageSourceError: the parameter ``key`` names one that there is not.
    """
    lower = [name.strip().lower() for name in names]
    if key is not None and (given := getattr(config, key)) is not None:
        if given.lower() not in lower:
            known_names = first_few(names, 12)
            raise config.error(key, "no such column", f"one of {known_names}", "correct it")
        return lower.index(given.lower())
    return next((lower.index(name) for name in known if name in lower), None)


def _place(text: str) -> int:
    found = text.strip().lower()
    return 0 if found in ("train", "training") else 1 if found in EVALUATION_PARTS else 2


def _below(folder: Path, path: str) -> str:
    """A path as a name relative to the folder, with forward slashes."""
    return os.path.relpath(path, folder.absolute()) if Path(path).is_absolute() else path


SOURCE = ImageSource(
    ("csv",),
    _load,
    count=_count,
    options=("labels", "image_key", "label_key", "resize"),
    files=_found,
)
