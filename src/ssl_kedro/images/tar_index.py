"""What is in tar files of images, found by their headers alone; nothing is unpacked to the disk.

A sample is a run of files with one key: the name up to the first dot of its last part. What follows
the dot is the file's ending: ``000/17.jpg`` and ``000/17.cls`` are one sample, its image and its
label. Fate of what is odd:

=========================================== =====================================================
hidden files, folders                       passed over
other endings                               passed over, counted by ending
a second image of one sample                passed over, counted by ending
links, pipes, devices, sparse files         lost: only plain bytes are read
no image, or a label that cannot be read    lost
no label, where others of the part have one lost
a name with ".." or "/" first               a name as any other: names are never used as paths
the same key later again                    a sample of its own
a damaged or truncated shard                its samples up to there, and the shard counts as lost
anything but zeros after the end            the same: several tars written one after the other
=========================================== =====================================================
"""

import io
import json
import os
import tarfile
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ssl_kedro.core.errors import first_line, shown
from ssl_kedro.core.files import DamagedFileError, reading, size_of
from ssl_kedro.core.names import Names
from ssl_kedro.images.files import EXTENSIONS
from ssl_kedro.images.image_set import SkippedFile
from ssl_kedro.images.parts import MOST_DIGITS, is_number

_BLOCK = 512
# Headers with long names say how much of the file they take; labels are small as well.
_MOST_BYTES = 2**20


@dataclass(frozen=True)
class TarIndex:
    """Samples of several shards, in order.

    Args:
        names: of the images, with the shard in front.
        shards: int32 (N,), index of the shard that each lies in.
        spans: int64 (N, 2), offset of its first byte there, and bytes.
        codes: int64 (N,), index into ``texts``; -1 for an image without a label.
        texts: labels as they are written, each once.
        lost: samples and shards that cannot be read.
        passed_over: numbers of files that are not read, by ending.
    """

    names: Names
    shards: np.ndarray
    spans: np.ndarray
    codes: np.ndarray
    texts: tuple[str, ...]
    lost: tuple[SkippedFile, ...]
    passed_over: Mapping[str, int]


class _Headers(io.FileIO):
    """A file of which nothing large is read, whatever a header says."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= _MOST_BYTES:
            raise tarfile.ReadError(f"a header that claims {size} bytes for itself")
        return super().read(size) or b""


@dataclass
class _Found:
    """What is collected while shards are read."""

    shards: "array[int]" = field(default_factory=lambda: array("i"))
    spans: "array[int]" = field(default_factory=lambda: array("q"))
    codes: "array[int]" = field(default_factory=lambda: array("q"))
    texts: dict[str, int] = field(default_factory=dict)
    lost: list[SkippedFile] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)


def tar_index(
    root: Path,
    shards: tuple[str, ...],
    image_key: str | None,
    label_key: str | None,
    advance: Callable[[int], object],
) -> TarIndex:
    """The samples of shards.

    Args:
        root: folder that the shards' names are below.
        shards: names of tar files, in the order wanted.
        image_key: ending of the images; None = the first of a sample that is one of an image.
        label_key: ending of the labels, or their key in ``.json``; None = ``cls``, else the key
            "label" of ``.json``. Endings in any case, with their dot or without.
        advance: told how many more bytes of shards are done.

    Raises:
        FileNotFoundError: a shard is not there.
    """
    found = _Found()
    image_key = None if image_key is None else _ending(image_key)

    def names() -> Iterator[str]:
        for number, shard in enumerate(shards):
            for name in _images_of(root / shard, shard, found, image_key, label_key):
                found.shards.append(number)
                yield name
            advance(size_of(root / shard))

    every = Names.of(map(shown, names()))
    spans = np.frombuffer(found.spans, np.int64).reshape(-1, 2)
    return TarIndex(
        every,
        np.frombuffer(found.shards, np.int32),
        spans,
        np.frombuffer(found.codes, np.int64),
        tuple(found.texts),
        tuple(found.lost),
        dict(found.passed_over.most_common()),
    )


def _images_of(
    path: Path, shard: str, found: _Found, image_key: str | None, label_key: str | None
) -> Iterator[str]:
    """Names of a shard's images; all else goes to ``found``."""
    count = 0
    try:
        with _Headers(path) as file:
            for key, members in _samples(_members(path, file), shard, found):
                try:
                    image, text = _image_and_label(file, members, image_key, label_key)
                except (ValueError, RecursionError) as error:
                    found.lost.append(SkippedFile(f"{shard}/{key}", first_line(error)))
                    continue
                others = members.keys() - {image, "cls", "json", _ending(label_key or "")}
                found.passed_over.update(f".{ending}" for ending in others)
                found.spans.extend((members[image].offset_data, members[image].size))
                code = -1 if text is None else found.texts.setdefault(text, len(found.texts))
                found.codes.append(code)
                count += 1
                yield f"{shard}/{key}.{image}"
    except (DamagedFileError, OSError) as error:
        reason = f"{first_line(error.__cause__ or error)}; {count} images before that are read"
        found.lost.append(SkippedFile(shard, reason))


def _samples(
    members: Iterator[tarfile.TarInfo], shard: str, found: _Found
) -> Iterator[tuple[str, dict[str, tarfile.TarInfo]]]:
    """Keys with their files by ending.

    Raises:
        DamagedFileError: as ``members``, after the last sample before that.
    """
    key, group, fault = "", dict[str, tarfile.TarInfo](), None
    try:
        for member in members:
            folder, _, name = member.name.removeprefix("./").rpartition("/")
            stem, _, ending = name.partition(".")
            if member.isdir() or not stem or "__MACOSX" in folder:
                continue
            here = f"{folder}/{stem}" if folder else stem
            if here != key:
                if group:
                    yield key, group
                key, group = here, {}
            if ending.lower() in group:
                found.lost.append(SkippedFile(f"{shard}/{here}.{ending}", "there twice"))
            else:
                group[ending.lower()] = member
    except DamagedFileError as error:
        fault = error
    if group:
        yield key, group
    if fault is not None:
        raise fault


def _members(path: Path, file: _Headers) -> Iterator[tarfile.TarInfo]:
    """Headers of a tar file, each once.

    Raises:
        DamagedFileError: it is none, or ends in the middle.
    """
    size = os.fstat(file.fileno()).st_size
    told = reading(path, "a tar file", "Make it again")
    with told, tarfile.open(fileobj=file, mode="r:") as tar:
        while (member := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # it would keep all
            if member.size < 0 or tar.offset <= member.offset:
                raise tarfile.ReadError(f"a damaged header at byte {member.offset}")
            if member.isreg() and member.offset_data + member.size > size:
                raise tarfile.ReadError(f"it ends within {member.name}")
            yield member
        # Python's reader takes any damaged header for the end, which is a block of zeros.
        file.seek(tar.offset)
        if file.read(_BLOCK) != bytes(_BLOCK):
            raise tarfile.ReadError(f"neither a header nor the end at byte {tar.offset}")
        while rest := file.read(_MOST_BYTES):
            if rest.strip(b"\0"):
                raise tarfile.ReadError(f"more behind its end at byte {tar.offset}")


def _image_and_label(
    file: _Headers,
    members: Mapping[str, tarfile.TarInfo],
    image_key: str | None,
    label_key: str | None,
) -> tuple[str, str | None]:
    """Ending of a sample's image, and its label as text.

    Raises:
        ValueError: there is no image, or what there is cannot be read.
    """
    images = [end for end in members if end == image_key or _is_image(end, image_key)]
    if not images:
        raise ValueError("no image beside it")
    if not members[images[0]].isreg() or members[images[0]].sparse is not None:
        raise ValueError("its image is a link or another special file")

    def content(ending: str) -> bytes:
        member = members[ending]
        if not member.isreg() or member.sparse is not None or member.size > _MOST_BYTES:
            raise ValueError(f"its .{ending} is no small plain file")
        file.seek(member.offset_data)
        return file.read(member.size)

    ending, text = _ending(label_key or "cls"), None
    if ending in members:
        text = content(ending).decode().strip()
    elif "json" in members:
        text = _label_of_json(json.loads(content("json")), label_key or "label")
    if text == "":
        raise ValueError("its label is empty")
    if text and len(text) > MOST_DIGITS and is_number(text):
        raise ValueError(f"its label is a number of {len(text)} digits")
    return images[0], text


def _ending(key: str) -> str:
    """An ending as those of members are kept."""
    return key.lower().removeprefix(".")


def _is_image(ending: str, image_key: str | None) -> bool:
    return image_key is None and f".{ending}" in EXTENSIONS


def _label_of_json(values: Any, key: str) -> str | None:
    if not isinstance(values, dict) or values.get(key) is None:
        return None
    label = values[key]
    if not isinstance(label, str | int) or isinstance(label, bool):
        raise ValueError(f"its {key} is neither a whole number nor a name: {str(label)[:40]}")
    return str(label).strip()
