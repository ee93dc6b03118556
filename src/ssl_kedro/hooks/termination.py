"""Ending in order when the process is asked to end."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType


def exit_on_sigterm() -> Callable[[], None] | None:
    """Make SIGTERM end the interpreter in order; returns what undoes it.

    Only where nobody else handles the signal, and only in the main thread, where Python
    allows it. A second SIGTERM ends the process at once.
    """
    if threading.current_thread() is not threading.main_thread():
        return None
    if signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        return None

    process = os.getpid()

    def leave(signum: int, _: FrameType | None) -> None:
        signal.signal(signum, signal.SIG_DFL)
        if os.getpid() != process:
            os.kill(os.getpid(), signum)  # a forked worker ends as it always would
        sys.exit(128 + signum)

    def restore() -> None:
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and signal.getsignal(signal.SIGTERM) is leave:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    signal.signal(signal.SIGTERM, leave)
    return restore
