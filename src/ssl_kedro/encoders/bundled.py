"""What a network says of itself so that it can be saved, and kinds of saved networks by format."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self, TypeVar

import torch
from torch import Tensor, nn

from ssl_kedro.core.plugins import modules

# What bundles say of the images that a network takes.
INPUT = "uint8 or float in [0, 1], (N, 3, H, W), RGB; normalised inside"
_KINDS: "dict[str, type[Bundled]]" = {}


class Bundled(nn.Module):
    """A network with a place on disk; :mod:`ssl_kedro.encoders.bundle` reads and writes it.

    A class with a ``bundle_format`` is a kind of bundle. ``bundle_name`` is what messages call it.
    """

    bundle_format: ClassVar[str]
    bundle_name: ClassVar[str] = "bundle"

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "bundle_format" in cls.__dict__:
            _KINDS[cls.bundle_format] = cls

    @property
    def bundled(self) -> "Bundled":
        """What is saved in its place: itself, unless it only looks at another network."""
        return self

    def description(self) -> dict[str, Any]:
        """What it is rebuilt from, as JSON has it.

        Raises:
            TypeError: it is of a kind that has no format.
        """
        raise TypeError(f"there is no bundle format for a {type(self).__name__}")

    @classmethod
    def from_description(cls, values: Mapping[str, Any]) -> Self:  # noqa: ARG003
        """The network of a description, with weights still to be loaded.

        Raises:
            KeyError, TypeError, ValueError: the description is damaged, or of a kind that has no
                format.
        """
        raise TypeError(f"there is no bundle format for a {cls.__name__}")

    def make_room(self, weights: Mapping[str, Tensor]) -> None:
        """Called before weights are loaded, for buffers whose size they decide."""


class Normalised(Bundled):
    """A network that takes pixels as uint8, or as float in [0, 1], and normalises them itself.

    Whoever holds it need not know the statistics of its images.

    Args:
        pixel_mean: per channel, in [0, 1].
        pixel_std: per channel, in [0, 1].
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, pixel_mean: Sequence[float], pixel_std: Sequence[float]) -> None:
        super().__init__()
        for name, values in (("pixel_mean", pixel_mean), ("pixel_std", pixel_std)):
            tensor = torch.tensor(values, dtype=torch.float32).view(1, 3, 1, 1)
            self.register_buffer(name, tensor)

    def normalised(self, images: Tensor) -> Tensor:
        """Pixels as the layers expect them.

        Raises:
            ValueError: not (N, 3, H, W).
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"expected images of shape (N, 3, H, W), found {tuple(images.shape)}")
        scale = 255.0 if images.dtype == torch.uint8 else 1.0
        return (images / scale - self.pixel_mean) / self.pixel_std


B = TypeVar("B", bound=Bundled)


def kinds_of(*bases: type[B], found: object) -> dict[str, type[B]]:
    """Kinds of bundles below some bases, by format.

    Args:
        bases: such as ``Encoder``.
        found: the format that is looked for: modules that may add it are imported if need be.
    """
    if found not in _KINDS:
        list(modules("ssl_kedro.encoders"))
    return {name: kind for name, kind in sorted(_KINDS.items()) if issubclass(kind, bases)}
