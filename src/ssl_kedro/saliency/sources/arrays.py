"""Arrays in files, read without running anything that they contain."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ssl_kedro.saliency.sources.errors import SaliencyDataError


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
        # A file of length 0 cannot be mapped, and says so in its own way.
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, TypeError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise SaliencyDataError(
            path,
            found=f"no array of numbers ({reason})",
            expected="an array saved by numpy.save, without Python objects",
            remedy="save the numbers again with numpy.save(path, array, allow_pickle=False)",
        ) from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiub":
        raise SaliencyDataError(
            path,
            found="values that are not real numbers",
            expected="an array of real numbers",
            remedy="save the numbers alone with numpy.save",
        )
    return values
