"""Efficient self-supervised learning of images: one encoder, usable dense and gated.

What a notebook needs stands here; nothing heavy is loaded before it is used. A training on
generated textures, the encoder on disk, its features at 30 % of the multiply-accumulates:

>>> import ssl_kedro as ssl
>>> images = ssl.load_images("textures", split="train")
>>> method = ssl.methods.Nested(ssl.encoders.gated_resnet18(width=8))
>>> result = ssl.train(method, images, ssl.Views(), ssl.Recipe(epochs=6, batch_size=32))
>>> ssl.save_encoder(result.encoder, "encoder")
>>> features = ssl.load_encoder("encoder").gated(images[:10], budget=0.3)
>>> features.shape
torch.Size([10, 64])
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssl_kedro import encoders, methods
    from ssl_kedro.api import Recipe, add_classifier, embed, train
    from ssl_kedro.augment.config import ViewConfig as Views
    from ssl_kedro.encoders.bundle import load_encoder, save_encoder
    from ssl_kedro.images.by_name import load_images

__version__ = "0.1.0"
__all__ = [
    "Recipe",
    "Views",
    "add_classifier",
    "embed",
    "encoders",
    "load_encoder",
    "load_images",
    "methods",
    "save_encoder",
    "train",
]

# Name -> the module that holds it, and its name there.
_PLACES = {
    "Recipe": ("ssl_kedro.api", "Recipe"),
    "Views": ("ssl_kedro.augment.config", "ViewConfig"),
    "add_classifier": ("ssl_kedro.api", "add_classifier"),
    "embed": ("ssl_kedro.api", "embed"),
    "load_encoder": ("ssl_kedro.encoders.bundle", "load_encoder"),
    "load_images": ("ssl_kedro.images.by_name", "load_images"),
    "save_encoder": ("ssl_kedro.encoders.bundle", "save_encoder"),
    "train": ("ssl_kedro.api", "train"),
}


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        module, attribute = _PLACES[name]
        return getattr(importlib.import_module(module), attribute)
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
