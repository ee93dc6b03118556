"""Errors that a user can mend are printed as one message, not as a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any

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
        wrapped = getattr(sys.excepthook, "func", None) is _print_shortly
        if not wrapped and not os.environ.get(TRACEBACK_VARIABLE):
            sys.excepthook = partial(_print_shortly, sys.excepthook)


def _print_shortly(
    fallback: Callable[..., Any],
    kind: type[BaseException],
    error: BaseException,
    traceback: TracebackType | None,
) -> None:
    message = mendable_message(error)
    if message is None:
        fallback(kind, error, traceback)
        return
    sys.stderr.write(f"\nError: {message}\n(Set {TRACEBACK_VARIABLE}=1 to see the traceback.)\n")


def mendable_message(error: BaseException | None) -> str | None:
    """Text of the first error in the chain of causes that a user can mend, else None."""
    while error is not None:
        if isinstance(error, UserError):
            return str(error)
        error = error.__cause__
    return None
