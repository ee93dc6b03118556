"""Pickles read without running anything that they hold.

A pickle is a program that names classes and functions to call. Here a name never leads to the
real thing. What a pickle may hold beside plain data is what its reader allows: names that have
a meaning there, and perhaps any others, which become stand-ins that take any arguments and do
nothing. It is checked twice: each instruction before any is followed, and each name as it comes.
"""

import io
import pickle
import pickletools
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

# What unpickling and pickletools raise on damaged files.
DAMAGE = (
    pickle.UnpicklingError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    AttributeError,
    OverflowError,
    MemoryError,
    RecursionError,
    struct.error,
)
MOST_BYTES = 1 << 28  # of instructions; published files have less than one million
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


class RefusedPickleError(ValueError):
    """A pickle that holds what its reader does not allow; the text begins "a pickle ..."."""


class InertObject:
    """In the place of an object of another library; ``name`` says of which class."""

    name = ""

    def __new__(cls, *_: Any, **__: Any) -> "InertObject":
        """Any arguments, none of them looked at."""
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __call__(self, *_: Any, **__: Any) -> "InertObject":
        """Itself: the result of calling what stands for nothing."""
        return self

    def _nothing(self, *_: Any) -> None:
        """Nothing is kept."""

    __setstate__ = __setitem__ = append = extend = add = _nothing

    def __repr__(self) -> str:
        return f"<stand-in for {self.name}>"


@dataclass(frozen=True)
class Allowed:
    """What a pickle may hold beside lists, dictionaries, strings and numbers.

    Args:
        names: "module.name" -> what makes its meaning, anew for every pickle, so that none can
            change what others use.
        foreign: any other name stands for :class:`InertObject`; else it is refused.
        outside: meaning of a reference to what lies outside the pickle; None refuses it.
    """

    names: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    foreign: bool = False
    outside: Callable[[Any], Any] | None = None


PLAIN = Allowed()


def unpickled(file: BinaryIO, allowed: Allowed = PLAIN) -> Any:
    """Follow the one pickle that begins where a file stands, and stop behind it.

    Raises:
        RefusedPickleError: it holds what is not allowed, or claims more memory than it fills.
        Those of ``DAMAGE``: it is damaged.
    """
    start = file.tell()
    for code, argument, place in pickletools.genops(file):
        at = int(place or 0) - start
        if at > MOST_BYTES:
            raise RefusedPickleError(f"a pickle of more than {MOST_BYTES} bytes")
        if code.name.startswith("EXT") or (allowed == PLAIN and code.name not in _PLAIN):
            what = f" {argument!r}"[:80] if isinstance(argument, str) else ""
            raise RefusedPickleError(
                f"a pickle with the instruction {code.name}{what} at byte {at}"
            )
        # The unpickler allocates its memo up to the number that it is given.
        if code.name.endswith("PUT") and int(argument or 0) > at:
            raise RefusedPickleError(f"a pickle with a memo of {argument} entries")
    end = file.tell()
    file.seek(start)
    return InertUnpickler(io.BytesIO(file.read(end - start)), allowed).load()


def looks_like_pickle(data: bytes) -> bool:
    """Whether content is a pickle: it says so, or is a whole program of pickle instructions."""
    if data[:1] == pickle.PROTO:
        return True
    try:
        for _ in pickletools.genops(data):
            pass
    except DAMAGE:
        return False
    return True


class InertUnpickler(pickle.Unpickler):
    """Finds nothing but what its reader allows, and makes that itself."""

    def __init__(self, file: BinaryIO, allowed: Allowed = PLAIN) -> None:
        # Python 2 wrote names as bytes; UTF-8 reads the ASCII ones and says where it cannot.
        super().__init__(file, encoding="utf-8", buffers=None)
        self._allowed = allowed
        self._made: dict[str, Any] = {}

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """What a name means in this pickle."""
        name = f"{module_name}.{global_name}"
        if name not in self._made:
            if name in self._allowed.names:
                self._made[name] = self._allowed.names[name]()
            elif self._allowed.foreign:
                self._made[name] = type("StandIn", (InertObject,), {"name": name})
            else:
                raise RefusedPickleError(f"a pickle that asks for {name}")
        return self._made[name]

    def persistent_load(self, pid: Any, /) -> Any:
        """What a reference to the outside means."""
        if self._allowed.outside is None:
            raise RefusedPickleError(f"a pickle that refers to the outside object {pid!r}"[:120])
        return self._allowed.outside(pid)
