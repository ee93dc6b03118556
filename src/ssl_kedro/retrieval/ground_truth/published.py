"""The two layouts that published ground truths share, whatever their container.

========= ============================================================== ===================
layout    each entry of ``gnd``                                          query in database
========= ============================================================== ===================
revisited ``easy``, ``hard``, ``junk``, ``bbx`` (Radenovic et al. 2018)  no
classic   ``ok``, ``junk``, ``bbx`` (Philbin et al. 2007, 2008)          yes
Holidays  ``ok``, ``junk`` (Jegou et al. 2008)                           yes, its own junk
INSTRE    ``ok``, ``bbx`` (Wang and Jiang 2015, Iscen et al. 2017)       no
========= ============================================================== ===================

``imlist`` names the database. The queries are ``qimlist``, or ``qidx``, their places in
``imlist``, with ``q_name``, their names, as a check.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ssl_kedro.core.errors import first_few
from ssl_kedro.retrieval.ground_truth.errors import GroundTruthError
from ssl_kedro.retrieval.ground_truth.model import (
    CLASSIC_LEVELS,
    GroundTruth,
    checked_judgements,
    places_of,
)
from ssl_kedro.retrieval.protocols import REVISITED, Level

# 400 MB of indices; a small pickle can repeat one list any number of times.
MOST_JUDGED = 50_000_000

_LAYOUT = (
    "a table with gnd (for each query easy, hard and junk, or ok and junk; perhaps bbx), imlist "
    "(names), and qimlist (names) or qidx (places in imlist)"
)
_REMEDY = "use a published ground truth, or labels.csv for images of your own"


def ground_truth_of_table(table: object, path: Path) -> GroundTruth:
    """The ground truth in a file's variables.

    Args:
        table: ``gnd``, ``imlist``, and ``qimlist`` or ``qidx`` and ``q_name``; indices from 0.
        path: of the file, for messages.

    Raises:
        GroundTruthError: a variable is missing or is not what it should be.
    """
    table = _table(table, path)
    database = _names(table["imlist"], "imlist", path)
    queries = _queries(table, database, path)
    entries = _entries(table["gnd"], queries, path)
    names, levels = _lists_and_levels(entries[0], path)
    lists = {name: _list(entries, name, queries, path) for name in names}
    places = places_of(queries, database)
    if "qimlist" in table and ("easy" in entries[0] or "junk" not in entries[0]):
        _check_outside(queries, places, path)
    return GroundTruth(
        database,
        queries,
        _boxes(entries, queries, path),
        checked_judgements(path, queries, lists),
        levels,
        places,
        path,
    )


def _table(table: object, path: Path) -> dict[str, object]:
    if not isinstance(table, dict):
        raise GroundTruthError(path, f"a {type(table).__name__}", _LAYOUT, _REMEDY)
    complete = {"gnd", "imlist"} <= table.keys() and ("qimlist" in table or "qidx" in table)
    if not complete:
        keys = [str(key)[:40] for key in table]
        found = f"the variables {first_few(map(repr, keys))}" if keys else "no variables"
        raise GroundTruthError(path, found, _LAYOUT, _REMEDY)
    return table


def _names(values: object, key: str, path: Path) -> tuple[str, ...]:
    if not isinstance(values, list | tuple) or not all(isinstance(name, str) for name in values):
        raise GroundTruthError(path, f"{key} that is no list of names", _LAYOUT, _REMEDY)
    return tuple(values)


def _queries(table: dict[str, object], database: Sequence[str], path: Path) -> tuple[str, ...]:
    if "qimlist" in table:
        return _names(table["qimlist"], "qimlist", path)
    places = _indices(table["qidx"], "qidx", path)
    outside = places[(places < 0) | (places >= len(database))]
    if len(outside):
        raise GroundTruthError(
            path,
            f"index {outside[0]} in qidx",
            f"indices from 0 to {len(database) - 1} into imlist",
            "use the published file: MATLAB files count from 1, JSON and pickle from 0",
        )
    queries = tuple(database[place] for place in places)
    if "q_name" in table:
        given = _names(table["q_name"], "q_name", path)
        if given != queries:
            pairs = zip(given, queries, strict=False)
            differ = next((f"{a!r} is {b!r}" for a, b in pairs if a != b), "their numbers differ")
            raise GroundTruthError(
                path,
                f"names in q_name that are not those at qidx ({differ})",
                "q_name to be imlist at qidx",
                "use the published file: MATLAB files count from 1, JSON and pickle from 0",
            )
    return queries


def _entries(gnd: object, queries: Sequence[str], path: Path) -> Sequence[Mapping[str, object]]:
    if not isinstance(gnd, list | tuple) or not all(isinstance(entry, dict) for entry in gnd):
        raise GroundTruthError(path, "gnd that is no list of tables", _LAYOUT, _REMEDY)
    if len(gnd) != len(queries):
        raise GroundTruthError(
            path,
            f"{len(gnd)} entries in gnd and {len(queries)} queries",
            "an entry for each query",
            _REMEDY,
        )
    if not gnd:
        raise GroundTruthError(path, "no queries", "at least one query", _REMEDY)
    for query, entry in zip(queries, gnd, strict=True):
        if entry.keys() - {"bbx"} != gnd[0].keys() - {"bbx"}:
            raise GroundTruthError(
                path,
                f"the lists {sorted(map(str, entry))} for query {query!r} and "
                f"{sorted(map(str, gnd[0]))} for the first",
                "the same lists for every query",
                _REMEDY,
            )
    total = sum(
        len(part) for entry in gnd for part in entry.values() if isinstance(part, list | tuple)
    )
    if total > MOST_JUDGED:
        raise GroundTruthError(
            path, f"{total} judged images", f"at most {MOST_JUDGED}", "divide the queries"
        )
    return gnd


def _lists_and_levels(
    entry: Mapping[str, object], path: Path
) -> tuple[tuple[str, ...], Mapping[str, Level]]:
    if {"easy", "hard", "junk"} <= entry.keys():
        return ("easy", "hard", "junk"), REVISITED
    if "ok" in entry:
        return ("ok", "junk"), CLASSIC_LEVELS
    found = (
        f"the lists {first_few(map(repr, sorted(map(str, entry))))} in gnd"
        if entry
        else "no lists in gnd"
    )
    raise GroundTruthError(path, found, _LAYOUT, _REMEDY)


def _list(
    entries: Sequence[Mapping[str, object]], name: str, queries: Sequence[str], path: Path
) -> list[np.ndarray]:
    return [
        _indices(entry.get(name, ()), f"{name} of query {query!r}", path)
        for query, entry in zip(queries, entries, strict=True)
    ]


def _indices(values: object, what: str, path: Path) -> np.ndarray:
    if isinstance(values, np.ndarray) and values.dtype.kind in "iu":
        return values.ravel().astype(np.int64)
    # bool is an int in Python, and a float would be rounded.
    if isinstance(values, list | tuple) and all(type(value) is int for value in values):
        try:
            return np.array(values, dtype=np.int64)
        except OverflowError:
            pass
    raise GroundTruthError(path, f"{what} that is no list of whole numbers", _LAYOUT, _REMEDY)


def _boxes(
    entries: Sequence[Mapping[str, object]], queries: Sequence[str], path: Path
) -> np.ndarray | None:
    boxes = np.full((len(queries), 4), np.nan)
    for row, query, entry in zip(boxes, queries, entries, strict=True):
        box = entry.get("bbx")
        if box is None or (isinstance(box, list | tuple | np.ndarray) and len(box) == 0):
            continue
        try:
            row[:] = np.asarray(box, dtype=np.float64).reshape(4)
        except (TypeError, ValueError) as error:
            raise GroundTruthError(
                path,
                f"bbx of query {query!r} that is not four numbers",
                "left, top, right, bottom in pixels",
                _REMEDY,
            ) from error
    return None if np.isnan(boxes).all() else boxes


def _check_outside(queries: Sequence[str], places: np.ndarray, path: Path) -> None:
    inside = [query for query, place in zip(queries, places, strict=True) if place >= 0]
    if inside:
        raise GroundTruthError(
            path,
            f"{len(inside)} queries that are in the database as well "
            f"({first_few(map(repr, inside))})",
            "queries outside the database, as this protocol has it",
            "use the published imlist, which leaves them out",
        )
