"""NumPy arrays, and states of other libraries' objects, in pickles that run nothing.

What a pickle says of an array is kept as it comes and checked once the pickle has ended. NumPy,
and the library whose object it is, are not called by the pickle.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ssl_kedro.core.pickles import InertObject

_TYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")


class _DataType:
    """A type of numbers, as the pickle claims it."""

    def __init__(self, name: Any = "", *_: Any) -> None:
        self.name, self.order = name, "|"

    def __setstate__(self, state: Any) -> None:
        self.order = state[1] if isinstance(state, tuple) and len(state) > 1 else "?"

    @property
    def known(self) -> bool:
        return self.name in _TYPES and self.order in ("<", "|", ">", "=")


class PickledArray:
    """An array, as the pickle claims it."""

    def __init__(self, *_: Any) -> None:
        self._state: Any = None

    def __setstate__(self, state: Any) -> None:
        self._state = state

    def values(self) -> np.ndarray | InertObject:
        """The array, a copy; a stand-in where it holds something other than numbers.

        Raises:
            ValueError: what the pickle claims does not fit together.
        """
        match self._state:
            case (_, tuple(shape), _DataType(known=True) as kind, fortran, bytes(raw)):
                dtype = np.dtype(f"{kind.order}{kind.name}")
            case _:
                return InertObject()
        if any(type(n) is not int or n < 0 for n in shape):
            raise ValueError(f"an array of shape {shape}")
        if math.prod(shape) * dtype.itemsize != len(raw):
            raise ValueError(f"an array of shape {shape} in {len(raw)} bytes")
        return np.array(np.frombuffer(raw, dtype).reshape(shape, order="F" if fortran else "C"))


class KeptState(InertObject):
    """In the place of an object whose attributes are read: ``state`` has them, as plain values."""

    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _latin() -> Callable[..., bytes]:
    """Reader of bytes as protocol 2, which ``torch.save`` writes, has them: as text."""

    def encoded(text: Any, codec: Any = "latin1") -> bytes:
        if not isinstance(text, str) or codec != "latin1":
            raise ValueError("bytes in another form than Python writes")
        return text.encode("latin1")

    return encoded


def _fresh(base: type, name: str = "") -> Callable[[], type]:
    """A class of its own for each pickle, so that none can change what others use."""
    return lambda: type(base.__name__, (base,), {"name": name})


# NumPy and scikit-learn have moved what is meant since files were published.
ARRAYS: Mapping[str, Callable[[], Any]] = {
    "_codecs.encode": _latin,
    "numpy.ndarray": _fresh(InertObject, "numpy.ndarray"),
    "numpy.dtype": _fresh(_DataType),
    "numpy.core.multiarray._reconstruct": _fresh(PickledArray),
    "numpy._core.multiarray._reconstruct": _fresh(PickledArray),
    **{
        name: _fresh(KeptState, name)
        for name in ("sklearn.decomposition.pca.PCA", "sklearn.decomposition._pca.PCA")
    },
}
