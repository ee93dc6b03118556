"""How this process handles memory: what tensors give back, and what loading modules makes."""

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# glibc's names of the two settings (malloc.h), and the largest threshold it takes.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_MAPPED = 1 << 30


def keep_freed_memory() -> bool:
    """Let this process keep freed memory for the next tensor instead of returning it.

    By default glibc asks the kernel for every block past 32 MB and returns it when it is
    freed; the kernel then clears the same pages again for the next layer. Extracting maps at
    724 pixels takes half the time without that, at the price of a process that stays at its peak.

    Returns:
        Whether it was set: False where the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has none
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST_MAPPED)) and bool(
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    )


@contextmanager
def loading() -> Iterator[None]:
    """Load modules within the block without the search for garbage in cycles.

    What modules make stays. The collector would go through it again and again, a fifth of the time
    to the first node; it is told to leave it alone from here on.
    """
    enabled, before = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > before:
            gc.freeze()
        if enabled:
            gc.enable()
