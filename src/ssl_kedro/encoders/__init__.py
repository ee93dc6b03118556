"""Encoders: images in, feature vectors out.

``gated_<architecture>(...)`` makes the factory of a backbone that methods are given:
``ssl_kedro.encoders.gated_resnet18(width=8)``.
"""

import importlib
from functools import partial
from typing import Any


def __getattr__(name: str) -> Any:
    if not name.startswith("gated_") or name in ("gated_resnet", "gated_vit"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    factory = importlib.import_module("ssl_kedro.encoders.factory")
    return partial(factory.encoder_setup, name.removeprefix("gated_"))
