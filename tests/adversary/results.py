"""Whether what a run left is whole, and whether two runs left the same."""

from __future__ import annotations

import contextlib
import csv
import json
import sqlite3
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors import SafetensorError, safe_open

from ssl_kedro.images.files import DECODER_ERRORS

# Measured, so that no two runs have the same.
_TIMES = ("second", "_s", "time", "speed", "images_per", "ratio_of", "latency", "per_s")


def _lines(path: Path) -> None:
    for line in path.read_text().splitlines():
        json.loads(line)


def _table(path: Path) -> None:
    with path.open(newline="") as file:
        lengths = {len(row) for row in csv.reader(file)}
    if len(lengths) != 1:
        raise ValueError(f"rows of {sorted(lengths)} columns")


def _page(path: Path) -> None:
    if not path.read_text().rstrip().endswith("</html>"):
        raise ValueError("it does not end as a page does")


def _picture(path: Path) -> None:
    with Image.open(path) as image:
        image.load()


def _tensors(path: Path) -> None:
    with safe_open(path, "np") as file:
        for name in tuple(file.keys()):
            file.get_slice(name)


def _array(path: Path) -> None:
    np.load(path, mmap_mode="r", allow_pickle=False)


def _arrays(path: Path) -> None:
    with np.load(path, allow_pickle=False) as found:
        for name in found:
            found[name]


_READERS: dict[str, Callable[[Path], Any]] = {
    ".json": lambda path: json.loads(path.read_text()),
    ".jsonl": _lines,
    ".csv": _table,
    ".html": _page,
    ".png": _picture,
    ".jpg": _picture,
    ".safetensors": _tensors,
    ".npy": _array,
    ".npz": _arrays,
}


_FAULTS = (*DECODER_ERRORS, csv.Error, zipfile.BadZipFile, SafetensorError)


def files(folder: Path) -> dict[str, Path]:
    """Every result below a folder by its relative path; hidden ones are in the making."""
    found = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    return {
        str(name): path
        for name, path in sorted(found.items())
        if not any(part.startswith(".") for part in name.parts)
    }


def damaged(folder: Path) -> list[str]:
    """Results that cannot be read to their end, with the reason."""
    faults = []
    for name, path in files(folder).items():
        try:
            _READERS.get(path.suffix, Path.read_bytes)(path)
        except _FAULTS as error:
            faults.append(f"{name} ({type(error).__name__}: {error})")
    return faults


def leftovers(folder: Path) -> list[str]:
    """What unfinished writing has left."""
    names = (path.relative_to(folder) for path in folder.rglob(".*"))
    return sorted(str(name) for name in names if name.suffix in (".tmp", ".old"))


def database_fault(path: Path) -> str | None:
    """Why a tracking database cannot be used; None where it can, or is not made yet."""
    if not path.exists() or not path.stat().st_size:
        return None
    try:
        with contextlib.closing(sqlite3.connect(path)) as database:
            (state,) = database.execute("pragma integrity_check").fetchone()
            database.execute("select count(*) from runs")
    except sqlite3.Error as error:
        return f"{path.name}: {error}"
    return None if state == "ok" else f"{path.name}: {state}"


def metrics(folder: Path, pipeline: str) -> dict[str, Any]:
    """The numbers of a run without its times."""
    found = json.loads((folder / "data/08_reporting" / pipeline / "metrics.json").read_text())
    return {key: value for key, value in found.items() if not any(each in key for each in _TIMES)}


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Metrics that two runs do not share, or have other values of."""
    keys = sorted({*one, *other})
    return [
        f"{key}: {one.get(key)} and {other.get(key)}"
        for key in keys
        if one.get(key) != other.get(key)
    ]
