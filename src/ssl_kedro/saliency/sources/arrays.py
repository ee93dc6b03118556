"""Arrays in files, read without running anything that they contain."""

from __future__ import annotations

from pathlib import Path
from tokenize import TokenError

import numpy as np

from ssl_kedro.saliency.sources.errors import SaliencyDataError

# What NumPy raises on headers that are cut or changed.
_FAULTS = (
    OSError,
    ValueError,
    EOFError,
    SyntaxError,
    TypeError,
    LookupError,
    OverflowError,
    TokenError,
)


def array_header(path: Path) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    """Shape and type of a ``.npy`` file; its values are not read.

    Raises:
        SaliencyDataError: not such a file, damaged, or not of real numbers.
    """
    values = _mapped(path)
    return values.shape, values.dtype


def read_array(path: Path) -> np.ndarray:
    """The numbers in a ``.npy`` file.

    Raises:
        SaliencyDataError: as :func:`array_header`.
    """
    return np.array(_mapped(path))


def _mapped(path: Path) -> np.ndarray:
    try:
        # Maps the values: only what is used is read. Python objects cannot be mapped.
        values = np.lib.format.open_memmap(path, mode="r")
    except _FAULTS as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise SaliencyDataError(
            path,
            found=f"no array of numbers ({reason})",
            expected="an array saved by numpy.save, without Python objects",
            remedy="save the numbers again with numpy.save(path, array, allow_pickle=False)",
        ) from error
    if values.dtype.kind not in "fiub":
        raise SaliencyDataError(
            path,
            found="values that are not real numbers",
            expected="an array of real numbers",
            remedy="save the numbers alone with numpy.save",
        )
    return values
