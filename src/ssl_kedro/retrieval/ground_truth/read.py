"""Any published ground truth, recognised by what it holds."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ssl_kedro.core.pickles import DAMAGE, RefusedPickleError, looks_like_pickle, unpickled
from ssl_kedro.retrieval.ground_truth.matlab import (
    is_version_5,
    is_version_73,
    table_of_version_5,
    table_of_version_73,
)
from ssl_kedro.retrieval.ground_truth.model import GroundTruth, GroundTruthError, read_from
from ssl_kedro.retrieval.ground_truth.oxford_text import ground_truth_of_text_files
from ssl_kedro.retrieval.ground_truth.published import ground_truth_of_table

# The largest published file has 3 MB; names of a million images take about 50.
MOST_BYTES = 64 * 2**20

_fault = partial(
    GroundTruthError,
    expected="a ground truth: a pickle or JSON file of the revisited benchmarks, a MATLAB file "
    "(5 or 7.3), or the folder of Oxford's or Paris' text files",
    remedy="give the file that the data set's publisher offers",
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
        return ground_truth_of_table(_table(_content(path)))


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise _fault("no such file or folder")
    size = path.stat().st_size
    if size == 0:
        raise _fault("an empty file")
    if size > MOST_BYTES:
        raise _fault(f"{size} bytes", expected=f"at most {MOST_BYTES}, as a ground truth needs")
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
            raise _fault(f"JSON that cannot be read ({error})", expected="a whole file") from error
    if looks_like_pickle(data):
        return _plain_pickle(data)
    raise _fault(f"a file that starts with {data[:16]!r}, no known format")


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
