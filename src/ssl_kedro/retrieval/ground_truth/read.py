"""Any published ground truth, recognised by what it holds.

Whatever their container, pickle, JSON or MATLAB, files share two layouts:

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

import io
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ssl_kedro.core.errors import first_few
from ssl_kedro.core.pickles import DAMAGE, RefusedPickleError, looks_like_pickle, unpickled
from ssl_kedro.retrieval.ground_truth.matlab import (
    is_version_5,
    is_version_73,
    table_of_version_5,
    table_of_version_73,
)
from ssl_kedro.retrieval.ground_truth.model import GroundTruth, GroundTruthError, read_from
from ssl_kedro.retrieval.ground_truth.oxford_text import ground_truth_of_text_files

# The largest published file has 3 MB; names of a million images take about 50.
MOST_BYTES = 64 * 2**20

_file_fault = partial(
    GroundTruthError,
    expected="a ground truth: a pickle or JSON file of the revisited benchmarks, a MATLAB file "
    "(5 or 7.3), or the folder of Oxford's or Paris' text files",
    remedy="give the file that the data set's publisher offers",
)

# 400 MB of indices; a small pickle can repeat one list any number of times.
MOST_JUDGED = 50_000_000

_COUNTED = "use the published file: MATLAB files count from 1, JSON and pickle from 0"
_table_fault = partial(
    GroundTruthError,
    expected="a table with gnd (for each query easy, hard and junk, or ok and junk; perhaps bbx), "
    "imlist (names), and qimlist (names) or qidx (places in imlist)",
    remedy="use a published ground truth, or labels.csv for images of your own",
)


def read_ground_truth(path: Path, *, database: Sequence[str] = ()) -> GroundTruth:
    """The ground truth of a published data set.

    The content decides what a file is, not its name. Pickles are read without running anything
    they contain. Indices of MATLAB files, which count from 1, are lowered to count from 0.

    Args:
        path: a pickle, JSON or MATLAB (5 or 7.3) file, or the folder of Oxford's or Paris' text
            files.
        database: names of all images, needed for text files, which do not list them. The other
            formats hold their own list and do not look at this one.

    Raises:
        GroundTruthError: it is missing, of another kind, damaged, or contradicts itself.
    """
    with read_from(path):
        if path.is_dir():
            return ground_truth_of_text_files(path, database)
        return _ground_truth(_table(_content(path)))


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise _file_fault("no such file or folder")
    size = path.stat().st_size
    if size == 0:
        raise _file_fault("an empty file")
    if size > MOST_BYTES:
        raise _file_fault(
            f"{size} bytes", expected=f"at most {MOST_BYTES}, as a ground truth needs"
        )
    return path.read_bytes()


def _table(data: bytes) -> object:
    """The variables in a file's content."""
    if is_version_73(data):
        return table_of_version_73(data)
    if is_version_5(data):
        return table_of_version_5(data)
    if data.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"["):
        try:
            return json.loads(data.decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:
            found = f"JSON that cannot be read ({error})"
            raise _file_fault(found, expected="a whole file") from error
    if looks_like_pickle(data):
        return _plain_pickle(data)
    raise _file_fault(f"a file that starts with {data[:16]!r}, no known format")


def _plain_pickle(data: bytes) -> object:
    """Lists, tuples, dictionaries, strings, numbers, booleans and None, nested."""
    try:
        return unpickled(io.BytesIO(data))
    except RefusedPickleError as error:
        raise GroundTruthError(
            str(error),
            "only lists, dictionaries, strings and numbers, as in the published files",
            "do not load the file with another tool either unless you trust who made it; use the "
            "JSON or MATLAB version of the ground truth",
        ) from error
    except DAMAGE as error:
        raise GroundTruthError(
            f"a damaged pickle ({str(error) or type(error).__name__})",
            "a whole file",
            "fetch it from its publisher again",
        ) from error


def _ground_truth(table: object) -> GroundTruth:
    """The ground truth in a file's variables, whose indices count from 0."""
    if not isinstance(table, dict):
        raise _table_fault(f"a {type(table).__name__}")
    if not ({"gnd", "imlist"} <= table.keys() and table.keys() & {"qimlist", "qidx"}):
        keys = [repr(str(key)[:40]) for key in table]
        raise _table_fault(f"the variables {first_few(keys)}" if keys else "no variables")
    database = _names(table, "imlist")
    queries = _queries(table, database)
    entries = _entries(table["gnd"], queries)
    first = entries[0]
    revisited = {"easy", "hard", "junk"} <= first.keys()
    if not revisited and "ok" not in first:
        listed = first_few(repr(name) for name in sorted(map(str, first)))
        raise _table_fault(f"the lists {listed} in gnd" if first else "no lists in gnd")
    names = ("easy", "hard", "junk") if revisited else ("ok", "junk")
    pairs = list(zip(queries, entries, strict=True))
    lists = {
        name: [
            _indices(entry.get(name, ()), f"{name} of query {query!r}") for query, entry in pairs
        ]
        for name in names
    }
    if "qimlist" in table and ("easy" in first or "junk" not in first):
        _check_outside(queries, database)
    return GroundTruth(database, queries, lists, _boxes(pairs))


def _names(table: Mapping[str, Any], key: str) -> tuple[str, ...]:
    values = table[key]
    if not isinstance(values, list | tuple) or not all(isinstance(name, str) for name in values):
        raise _table_fault(f"{key} that is no list of names")
    return tuple(values)


def _queries(table: Mapping[str, Any], database: Sequence[str]) -> tuple[str, ...]:
    if "qimlist" in table:
        return _names(table, "qimlist")
    places = _indices(table["qidx"], "qidx")
    for outside in places[(places < 0) | (places >= len(database))]:
        raise GroundTruthError(
            f"index {outside} in qidx",
            f"indices from 0 to {len(database) - 1} into imlist",
            _COUNTED,
        )
    queries = tuple(database[place] for place in places)
    given = _names(table, "q_name") if "q_name" in table else queries
    if given != queries:
        pairs = zip(given, queries, strict=False)
        differ = next((f"{a!r} is {b!r}" for a, b in pairs if a != b), "their numbers differ")
        raise GroundTruthError(
            f"names in q_name that are not those at qidx ({differ})",
            "q_name to be imlist at qidx",
            _COUNTED,
        )
    return queries


def _entries(gnd: object, queries: Sequence[str]) -> Sequence[Mapping[str, Any]]:
    if not isinstance(gnd, list | tuple) or not all(isinstance(entry, dict) for entry in gnd):
        raise _table_fault("gnd that is no list of tables")
    if len(gnd) != len(queries):
        found = f"{len(gnd)} entries in gnd and {len(queries)} queries"
        raise _table_fault(found, expected="an entry for each query")
    if not gnd:
        raise _table_fault("no queries", expected="at least one query")
    for query, entry in zip(queries, gnd, strict=True):
        if entry.keys() - {"bbx"} != gnd[0].keys() - {"bbx"}:
            lists, of_first = sorted(map(str, entry)), sorted(map(str, gnd[0]))
            raise _table_fault(
                f"the lists {lists} for query {query!r} and {of_first} for the first",
                expected="the same lists for every query",
            )
    total = sum(
        len(part) for entry in gnd for part in entry.values() if isinstance(part, list | tuple)
    )
    if total > MOST_JUDGED:
        raise GroundTruthError(
            f"{total} judged images", f"at most {MOST_JUDGED}", "divide the queries"
        )
    return gnd


def _indices(values: object, what: str) -> np.ndarray:
    if isinstance(values, np.ndarray) and values.dtype.kind in "iu":
        return values.ravel().astype(np.int64)
    # bool is an int in Python, and a float would be rounded.
    if isinstance(values, list | tuple) and all(type(value) is int for value in values):
        try:
            return np.array(values, dtype=np.int64)
        except OverflowError:
            pass
    raise _table_fault(f"{what} that is no list of whole numbers")


def _boxes(entries: Sequence[tuple[str, Mapping[str, Any]]]) -> np.ndarray | None:
    boxes = np.full((len(entries), 4), np.nan)
    for row, (query, entry) in zip(boxes, entries, strict=True):
        box = entry.get("bbx")
        if box is None or (isinstance(box, list | tuple | np.ndarray) and len(box) == 0):
            continue
        try:
            row[:] = np.asarray(box, dtype=np.float64).reshape(4)
        except (TypeError, ValueError) as error:
            raise _table_fault(
                f"bbx of query {query!r} that is not four numbers",
                expected="left, top, right, bottom in pixels",
            ) from error
    return None if np.isnan(boxes).all() else boxes


def _check_outside(queries: Sequence[str], database: Sequence[str]) -> None:
    known = set(database)
    inside = [query for query in queries if query in known]
    if inside:
        raise GroundTruthError(
            f"{len(inside)} queries that are in the database as well "
            f"({first_few(map(repr, inside))})",
            "queries outside the database, as this protocol has it",
            "use the published imlist, which leaves them out",
        )
