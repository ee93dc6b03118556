"""Pickles that hold plain data, read without running anything they contain.

A pickle is a program. This reader lets it build lists, dictionaries, tuples, strings and
numbers, which is all that the published files do, and refuses every instruction that could
name, import or call something. It checks twice: each instruction before the file is loaded, and
again in the unpickler, which cannot look up a name.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from pathlib import Path
from typing import NoReturn

from ssl_kedro.retrieval.ground_truth.errors import GroundTruthError

# fmt: off
_PLAIN = frozenset((
    "PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK", "DUP", "MEMOIZE",
    "PUT", "BINPUT", "LONG_BINPUT", "GET", "BINGET", "LONG_BINGET",
    "NONE", "NEWTRUE", "NEWFALSE", "FLOAT", "BINFLOAT",
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4",
    "STRING", "BINSTRING", "SHORT_BINSTRING",
    "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
    "EMPTY_LIST", "LIST", "APPEND", "APPENDS",
    "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3",
    "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS",
))
# fmt: on
_EXPECTED = "only lists, dictionaries, strings and numbers, as in the published files"
_REMEDY = (
    "do not load the file with another tool either unless you trust who made it; "
    "use the JSON or MATLAB version of the ground truth"
)
# What the unpickler and pickletools raise on damaged files.
_DAMAGE = (
    pickle.UnpicklingError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    AttributeError,
    OverflowError,
    MemoryError,
    RecursionError,
)


def plain_pickle(data: bytes, path: Path) -> object:
    """The plain data that a pickle holds.

    Args:
        data: the file's content.
        path: of the file, for messages.

    Returns:
        Lists, tuples, dictionaries, strings, numbers, booleans and None, nested.

    Raises:
        GroundTruthError: the pickle holds anything else, or is damaged.
    """
    _check_instructions(data, path)
    try:
        return _PlainUnpickler(data, path).load()
    except GroundTruthError:
        raise
    except _DAMAGE as error:
        raise _damaged(path, error) from error


def looks_like_pickle(data: bytes) -> bool:
    """Whether content is a pickle: it says so, or is a whole program of pickle instructions."""
    if data[:1] == pickle.PROTO:
        return True
    try:
        for _ in pickletools.genops(data):
            pass
    except _DAMAGE:
        return False
    return True


class _PlainUnpickler(pickle.Unpickler):
    """Cannot look up a name, a persistent object or an extension code."""

    def __init__(self, data: bytes, path: Path) -> None:
        # Python 2 wrote names as bytes; UTF-8 reads the ASCII ones and says where it cannot.
        super().__init__(io.BytesIO(data), encoding="utf-8", buffers=None)
        self._path = path

    def find_class(self, module_name: str, global_name: str, /) -> NoReturn:
        raise _refused(self._path, f"a pickle that asks for {module_name}.{global_name}")

    def persistent_load(self, pid: object, /) -> NoReturn:
        raise _refused(self._path, f"a pickle that refers to the outside object {pid!r}"[:120])


def _check_instructions(data: bytes, path: Path) -> None:
    """Refuse what is not plain, and what claims more memory than the file can fill."""
    try:
        for code, argument, place in pickletools.genops(data):
            if code.name not in _PLAIN:
                what = f" {argument!r}"[:80] if isinstance(argument, str) else ""
                raise _refused(
                    path, f"a pickle with the instruction {code.name}{what} at byte {place}"
                )
            # The unpickler allocates its memo up to the number that it is given.
            if code.name.endswith("PUT") and int(argument or 0) > len(data):
                raise _refused(path, f"a pickle with a memo of {argument} entries")
    except GroundTruthError:
        raise
    except _DAMAGE as error:
        raise _damaged(path, error) from error


def _refused(path: Path, found: str) -> GroundTruthError:
    return GroundTruthError(path, found, _EXPECTED, _REMEDY)


def _damaged(path: Path, error: BaseException) -> GroundTruthError:
    return GroundTruthError(
        path,
        f"a damaged pickle ({str(error) or type(error).__name__})",
        "a whole file",
        "fetch it from its publisher again",
    )
