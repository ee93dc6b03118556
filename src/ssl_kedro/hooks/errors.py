"""Errors that a user can mend are printed as one message, not as a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from types import TracebackType

from kedro.framework.hooks import hook_impl

from ssl_kedro.core.errors import UserError

TRACEBACK_VARIABLE = "SSL_KEDRO_TRACEBACK"


class ErrorMessageHook:
    """Shortens what ``kedro run`` prints when the cause is the user's input.

    Wrong parameters, unusable images, a checkpoint of another run or a diverged training
    name key, value and remedy; fifty lines of framework above them hide that. With
    ``SSL_KEDRO_TRACEBACK=1`` the traceback is printed as always. The exception itself is not
    touched: callers of the Python API see it unchanged.
    """

    @hook_impl
    def after_context_created(self) -> None:
        """Wrap the interpreter's handler of uncaught exceptions, once."""
        if os.environ.get(TRACEBACK_VARIABLE) or isinstance(sys.excepthook, _ShortMessages):
            return
        sys.excepthook = _ShortMessages()


class _ShortMessages:
    """An exception hook that falls back to the one it found."""

    def __init__(self) -> None:
        self._fallback = sys.excepthook

    def __call__(
        self,
        kind: type[BaseException],
        error: BaseException,
        traceback: TracebackType | None,
    ) -> None:
        message = mendable_message(error)
        if message is None:
            self._fallback(kind, error, traceback)
            return
        sys.stderr.write(
            f"\nError: {message}\n(Set {TRACEBACK_VARIABLE}=1 to see the traceback.)\n"
        )


def mendable_message(error: BaseException) -> str | None:
    """Text of the first error in the chain of causes that a user can mend, else None."""
    for cause in _chain(error):
        if isinstance(cause, UserError):
            return str(cause)
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
