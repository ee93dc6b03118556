"""Any published ground truth, recognised by what it holds."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

from ssl_kedro.core.pickles import DAMAGE, RefusedPickleError, looks_like_pickle, unpickled
from ssl_kedro.retrieval.ground_truth.errors import GroundTruthError
from ssl_kedro.retrieval.ground_truth.matlab import (
    is_version_5,
    is_version_73,
    table_of_version_5,
    table_of_version_73,
)
from ssl_kedro.retrieval.ground_truth.model import GroundTruth
from ssl_kedro.retrieval.ground_truth.oxford_text import ground_truth_of_text_files
from ssl_kedro.retrieval.ground_truth.published import ground_truth_of_table

# The largest published file has 3 MB; names of a million images take about 50.
MOST_BYTES = 64 * 2**20

_EXPECTED = (
    "a ground truth: a pickle or JSON file of the revisited benchmarks, a MATLAB file (5 or 7.3), "
    "or the folder of Oxford's or Paris' text files"
)
_REMEDY = "give the file that the data set's publisher offers"


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
    if path.is_dir():
        return ground_truth_of_text_files(path, database)
    data = _content(path)
    if is_version_73(data):
        return ground_truth_of_table(table_of_version_73(data, path), path)
    if is_version_5(data):
        return ground_truth_of_table(table_of_version_5(data, path), path)
    if data.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"["):
        return ground_truth_of_table(_json(data, path), path)
    if looks_like_pickle(data):
        return ground_truth_of_table(_plain_pickle(data, path), path)
    raise GroundTruthError(
        path, f"a file that starts with {data[:16]!r}, no known format", _EXPECTED, _REMEDY
    )


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise GroundTruthError(path, "no such file or folder", _EXPECTED, _REMEDY)
    size = path.stat().st_size
    if size == 0:
        raise GroundTruthError(path, "an empty file", _EXPECTED, _REMEDY)
    if size > MOST_BYTES:
        raise GroundTruthError(
            path, f"{size} bytes", f"at most {MOST_BYTES}, as a ground truth needs", _REMEDY
        )
    return path.read_bytes()


def _json(data: bytes, path: Path) -> object:
    try:
        return json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise GroundTruthError(
            path, f"JSON that cannot be read ({error})", "a whole file", _REMEDY
        ) from error


def _plain_pickle(data: bytes, path: Path) -> object:
    """Lists, tuples, dictionaries, strings, numbers, booleans and None, nested."""
    try:
        return unpickled(io.BytesIO(data))
    except RefusedPickleError as error:
        raise GroundTruthError(
            path,
            str(error),
            "only lists, dictionaries, strings and numbers, as in the published files",
            "do not load the file with another tool either unless you trust who made it; use the "
            "JSON or MATLAB version of the ground truth",
        ) from error
    except DAMAGE as error:
        raise GroundTruthError(
            path,
            f"a damaged pickle ({str(error) or type(error).__name__})",
            "a whole file",
            "fetch it from its publisher again",
        ) from error
