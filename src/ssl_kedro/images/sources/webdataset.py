"""WebDataset: images in tar files, read where they lie.

``data.root`` is a folder of ``*.tar``, or a pattern of them (``shards/train-{0000..0146}.tar``,
``shards/*.tar``). A shard belongs to the part that a word of its name says (``train/0000.tar``,
``imagenet-train-0000.tar``); evaluation is the first of test, val, validation and eval that has
any. Without one, or where no name says anything, a share of the images is held out.

Headers are read in sequence, once a process; then each image is read at its place and decoded, in
parallel, once (see :mod:`ssl_kedro.images.tar_index` for what becomes of odd files).
"""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from glob import has_magic
from pathlib import Path
from typing import Any

import numpy as np

from ssl_kedro.core.errors import first_few
from ssl_kedro.core.progress import LONG_S, progress_bar
from ssl_kedro.images.decode_files import file_blocks
from ssl_kedro.images.image_set import ImageSet, SkippedFile
from ssl_kedro.images.load import DataConfig, ImageSource, Split
from ssl_kedro.images.parts import (
    EVALUATION_PARTS,
    ImagePart,
    check_classes,
    coded_labels,
    kept_and_held,
    with_classes_of,
)
from ssl_kedro.images.store import Plan, stored
from ssl_kedro.images.subsets import limited
from ssl_kedro.images.tar_index import TarIndex, tar_index

_LAYOUT = (
    "a folder of .tar files (or of train/*.tar and test/*.tar, or of *train*.tar and *val*.tar), "
    "or a pattern of them"
)
_PARTS = ("train", *EVALUATION_PARTS)


@dataclass(frozen=True)
class _Samples:
    """A part: its images' names and labels, and where each lies.

    Args:
        part: names and labels.
        index: of its shards.
        rows: int64 (N,), in the index, of each image.
        shards: names of the files.
        lost: what of the part cannot be read.
    """

    part: ImagePart
    index: TarIndex
    rows: np.ndarray
    shards: tuple[str, ...]
    lost: tuple[SkippedFile, ...]

    def chosen(self, rows: np.ndarray) -> "_Samples":
        return replace(self, part=self.part.chosen(rows), rows=self.rows[rows])


class _Places(Sequence[Any]):
    """Where images lie, made a few at a time: shard, offset, bytes."""

    def __init__(self, samples: _Samples) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples.rows)

    def __getitem__(self, at: Any) -> Any:
        index, rows = self._samples.index, np.atleast_1d(self._samples.rows[at])
        shards = [self._samples.shards[shard] for shard in index.shards[rows]]
        spans = index.spans[rows].tolist()
        places = [(shard, *span) for shard, span in zip(shards, spans, strict=True)]
        return places if isinstance(at, slice) else places[0]


def _found(config: DataConfig, split: Split, seed: int) -> tuple[Path, _Samples]:
    """Folder and samples of a part."""
    training = split != "eval"
    root, shards = _shards(config)
    samples = _part(root, shards, config, training, seed)
    part = samples.part
    return root, samples.chosen(limited(part.labels, len(part), config, training, seed))


def _count(config: DataConfig, split: Split, seed: int) -> int:
    return len(_found(config, split, seed)[1].rows)


def _load(config: DataConfig, split: Split, seed: int) -> ImageSet:
    """Images of the shards; see the top of this file."""
    root, samples = _found(config, split, seed)
    index, part = samples.index, samples.part
    digest = hashlib.sha256(index.shards[samples.rows].tobytes())
    digest.update(index.spans[samples.rows].tobytes())
    if part.labels is not None:
        digest.update(part.labels.tobytes())
    total = int(index.spans[samples.rows, 1].sum())
    form = config.form(split)
    plan = Plan(
        identity=(
            str(root.resolve()),
            _states(root, samples.shards),
            part.class_names,
            digest.hexdigest(),
        ),
        count=len(part),
        labels=part.labels,
        class_names=part.class_names,
        blocks=partial(file_blocks, config, form, root, _Places(samples), total),
        paths=part.names,
        lost=samples.lost,
        form=form,
    )
    return replace(stored(plan, config), passed_over=index.passed_over)


def _shards(config: DataConfig) -> tuple[Path, tuple[str, ...]]:
    """Folder and names of all shards, sorted.

    Raises:
        ImageSourceError: there are none, or a name that a pattern says in full is missing.
    """
    pattern = str(Path(config.root or "").expanduser())
    if Path(pattern).exists() or not (has_magic(pattern) or "{" in pattern):
        root = config.existing_root(_LAYOUT)
        found = [*root.glob("*.tar"), *(p for n in _PARTS for p in root.glob(f"{n}/*.tar"))]
    else:
        parts = Path(pattern).parts
        fixed = next(i for i, part in enumerate(parts) if has_magic(part) or "{" in part)
        root, below = Path(*parts[:fixed]), "/".join(parts[fixed:])
        wanted = list(_braces(below))
        found = [path for one in wanted for path in root.glob(one)]
        missing = [one for one in wanted if not has_magic(one) and not (root / one).exists()]
        if missing:
            raise config.error(
                "root",
                found=f"no {first_few(missing)} in {root}",
                expected="every file that the pattern names",
                remedy="add what is missing, or correct the pattern",
            )
    # A pipe of that name would be waited for without end.
    names = sorted({path.relative_to(root).as_posix() for path in found if path.is_file()})
    if names:
        return root, tuple(names)
    packed = sorted(
        path.name for end in ("gz", "tgz", "zst", "xz") for path in root.glob(f"*.{end}")
    )
    raise config.error(
        "root",
        found=f"no .tar files, but packed ones ({packed[0]}, ...)" if packed else "no .tar files",
        expected=_LAYOUT,
        remedy="unpack them to plain .tar files" if packed else "correct data.root",
    )


_BRACES = re.compile(r"\{([^{}]*)\}")


def _braces(pattern: str) -> Iterator[str]:
    """Patterns without braces: ``{a,b}`` and ``{00..12}`` written out, as shells do it."""
    match = _BRACES.search(pattern)
    if match is None:
        yield pattern
        return
    inside = re.fullmatch(r"(\d+)\.\.(\d+)", match[1])
    if inside:
        width = len(inside[1]) if inside[1].startswith("0") else 0
        options = [f"{n:0{width}d}" for n in range(int(inside[1]), int(inside[2]) + 1)]
    else:
        options = match[1].split(",")
    for option in options:
        yield from _braces(pattern[: match.start()] + option + pattern[match.end() :])


def _part_of(shard: str, config: DataConfig) -> str:
    """Which part a shard says that it belongs to, "" where it says nothing.

    Raises:
        ImageSourceError: it says two.
    """
    words = re.split(r"[^a-z]+", shard.lower())
    said = [name for name in _PARTS if name in words]
    # val, validation and eval are one and the same.
    if len(said) > 1 and {"train", "test"} & {*said}:
        raise config.error(
            "root",
            found=f"a shard of both {said[0]} and {said[1]}, {shard}",
            expected="names of shards, from data.root on, with the word of one part",
            remedy="rename or move it, or give a pattern whose fixed part holds the other word",
        )
    return said[0] if said else ""


def _part(
    root: Path, shards: tuple[str, ...], config: DataConfig, training: bool, seed: int
) -> _Samples:
    """Samples of the training or the evaluation part."""
    by_part: dict[str, list[str]] = {}
    for shard in shards:
        by_part.setdefault(_part_of(shard, config), []).append(shard)
    if "train" in by_part and (strange := by_part.get("")):
        raise config.error(
            "root",
            found=f"shards of train, and others ({strange[0]}, ...) whose names say no part",
            expected=_LAYOUT,
            remedy="move or rename the others, or give a pattern of those wanted",
        )
    train = _samples(root, by_part.get("train") or by_part.get("") or [], "train", config)
    test_name = next((name for name in EVALUATION_PARTS if name in by_part), "")
    if test_name:
        test = _samples(root, by_part[test_name], test_name, config)
        part = with_classes_of(train.part, test.part, test_name, config)
        return train if training else replace(test, part=part)
    rows = kept_and_held(train.part, config, seed)[0 if training else 1]
    # What is lost belongs to neither; it is told once.
    return replace(train.chosen(rows), lost=train.lost if training else ())


def _samples(root: Path, shards: list[str], name: str, config: DataConfig) -> _Samples:
    """All samples of a part; those without a label are lost where others have one."""
    shown_keys = (config.image_key, config.label_key)
    index = _index(str(root), _states(root, tuple(shards)), *shown_keys)
    rows, lost, labels, names = np.arange(len(index.names)), index.lost, None, tuple[str, ...]()
    if index.texts:
        rows = np.flatnonzero(index.codes >= 0)
        bare = np.flatnonzero(index.codes < 0)
        lost = (*lost, *(SkippedFile(index.names[int(row)], "no label") for row in bare))
        labels, names = coded_labels(
            index.codes[rows], index.texts, _given_names(root, config), config
        )
    elif config.label_key is not None:
        raise config.error(
            "label_key", f"no sample of {name} with one", "a label beside images", "correct it"
        )
    part = ImagePart(
        index.names if len(rows) == len(index.names) else index.names.chosen(rows), labels, names
    )
    check_classes(part, name, config, lost)
    return _Samples(part, index, rows, tuple(shards), lost)


@lru_cache(maxsize=2)
def _index(
    root: str,
    states: tuple[tuple[str, int, int], ...],
    image_key: str | None,
    label_key: str | None,
) -> TarIndex:
    """The index of shards as they are now; the parts of a run ask for it several times."""
    total = sum(size for _, size, _ in states)
    shards = tuple(name for name, _, _ in states)
    with progress_bar(total, "finding images", "B", delay=LONG_S, unit_scale=True) as bar:
        return tar_index(Path(root), shards, image_key, label_key, bar.update)


def _states(root: Path, shards: tuple[str, ...]) -> tuple[tuple[str, int, int], ...]:
    states = [(root / shard).stat() for shard in shards]
    return tuple((n, s.st_size, s.st_mtime_ns) for n, s in zip(shards, states, strict=True))


def _given_names(root: Path, config: DataConfig) -> list[str] | None:
    """Class names beside the shards: ``classnames.txt``, one a line, or ``classnames.json``."""
    text, listed = root / "classnames.txt", root / "classnames.json"
    try:
        if text.is_file():
            return [line.strip() for line in text.read_text("utf-8").splitlines() if line.strip()]
        if not listed.is_file():
            return None
        found = json.loads(listed.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise config.error(
            "root", f"class names that cannot be read ({error})", "a list of names", "correct it"
        ) from error
    if isinstance(found, dict):  # names by number
        found = [found.get(str(number)) for number in range(len(found))]
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise config.error(
            "root",
            found="a classnames.json of another kind",
            expected='a list of names, or {"0": name, "1": name, ...}',
            remedy="correct or remove it",
        )
    return found


SOURCE = ImageSource(
    ("webdataset",), _load, count=_count, options=("image_key", "label_key", "resize")
)
