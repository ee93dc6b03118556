"""A process that reads a MATLAB 5 file, by ``python -m`` and this module's name.

SciPy's compiled reader ends the interpreter on some damaged files, and allocates what a file
claims to hold. Here both end only this process, whose memory and time are bounded.

Protocol: names of variables as arguments, the file on standard input; JSON on standard output,
``{"variables": {name: value}}`` or ``{"error": text}``. A value is a list of numbers in column
order, a text, a list of the values of a cell or of a char matrix' rows, or a list of a struct
array's entries by field.
"""

import contextlib
import io
import json
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

# INSTRE, the largest published file, takes 8 MB once it is inflated.
MOST_MEMORY_BYTES = 2**30
MOST_ANSWER_BYTES = 2**28
MOST_SECONDS = 60


def main() -> None:
    """Answer for one file."""
    import scipy.io  # noqa: F401, PLC0415  its libraries need address space, not memory

    _limit_memory()
    try:
        found = variables(sys.stdin.buffer.read(), sys.argv[1:])
        answer = json.dumps({"variables": found})
        if len(answer) > MOST_ANSWER_BYTES:
            raise ValueError(f"its variables are larger than {MOST_ANSWER_BYTES} bytes")
    except Exception as error:  # noqa: BLE001  whatever damage makes of it
        answer = json.dumps({"error": str(error) or type(error).__name__})
    sys.stdout.write(answer)


def variables(data: bytes, names: Sequence[str]) -> dict[str, Any]:
    """Values of those variables that a file has, as JSON can say them."""
    from scipy.io import loadmat  # noqa: PLC0415  the process that starts this one needs none

    # MATLAB stores characters as numbers of two bytes, in the file's order.
    codec = "utf-16-le" if data[126:128] == b"IM" else "utf-16-be"
    found = loadmat(io.BytesIO(data), variable_names=list(names), uint16_codec=codec)
    return {name: _plain(found[name]) for name in names if name in found}


def _limit_memory() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):  # not on Windows
        import resource  # noqa: PLC0415

        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))


def _plain(value: np.ndarray) -> Any:
    """What an array of SciPy's holds, as JSON can say it."""
    entries = value.ravel(order="F")
    if value.dtype.names:
        return [{name: _plain(entry[name]) for name in value.dtype.names} for entry in entries]
    if value.dtype.kind == "O":
        return [_plain(cell) for cell in entries]
    if value.dtype.kind == "U":
        return [str(row).rstrip() for row in entries] if len(entries) > 1 else "".join(entries)
    return entries.tolist()


if __name__ == "__main__":
    main()
