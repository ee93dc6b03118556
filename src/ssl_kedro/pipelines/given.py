"""Constants in graphs: a node's function with some of its arguments bound."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, update_wrapper
from typing import Any


def given(function: Callable[..., Any], **constants: Any) -> Callable[..., Any]:
    """Function with constants bound, under its own name."""
    return update_wrapper(partial(function, **constants), function)
