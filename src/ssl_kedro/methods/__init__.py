"""Self-supervised methods: encoder, heads and objective, one file each.

Each class is at hand under its name: ``ssl_kedro.methods.DualGating``.
"""

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    if name[:1].isupper():
        plan = importlib.import_module("ssl_kedro.methods.plan")
        for method in plan.method_classes().values():
            if method.__name__ == name:
                return method
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
