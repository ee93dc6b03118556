"""ResNets under the names of torchvision and timm, which have the same layers."""

import re

import torch
from torch import Tensor

from ssl_kedro.core.errors import InputError
from ssl_kedro.encoders.base import Encoder
from ssl_kedro.encoders.gated_resnet import GatedResNet18

# Their name of each by its blocks a stage; of 64 channels, which their names mean.
ARCHITECTURES = {
    ("basic", (2, 2, 2, 2)): "resnet18",
    ("basic", (3, 4, 6, 3)): "resnet34",
    ("bottleneck", (3, 4, 6, 3)): "resnet50",
    ("bottleneck", (3, 4, 23, 3)): "resnet101",
    ("bottleneck", (3, 8, 36, 3)): "resnet152",
}
WIDTH = 64
_OURS = (
    (r"conv1\.", "stem.0."),
    (r"bn1\.", "stem.1."),
    (r"layer(\d)\.(\d+)\.(bn[123])\.", r"blocks.layer\1_\2.\3.dense."),
    (r"layer(\d)\.(\d+)\.", r"blocks.layer\1_\2."),
)
_THEIRS = (
    (r"stem\.0\.", "conv1."),
    (r"stem\.1\.", "bn1."),
    (r"blocks\.layer(\d)_(\d+)\.(bn[123])\.dense\.", r"layer\1.\2.\3."),
    (r"blocks\.layer(\d)_(\d+)\.", r"layer\1.\2."),
)


def encoder_name(name: str) -> str:
    """Name in a dense encoder of what torchvision calls so; others stay as they are."""
    return _renamed(name, _OURS)


def named_architecture(encoder: Encoder) -> str:
    """What torchvision and timm call an encoder's dense branch, "resnet18"; "" = they have none."""
    source = encoder.member("dense") if "dense" in encoder.branches else None
    shape = source.config if isinstance(source, GatedResNet18) else None
    if shape is None or shape.inner_channels is not None:
        return ""
    whole = (shape.stem, shape.width) == ("imagenet", WIDTH)
    return ARCHITECTURES.get((shape.block, shape.stages), "") if whole else ""


@torch.no_grad()
def torchvision_weights(encoder: Encoder) -> dict[str, Tensor]:
    """The dense branch under torchvision's and timm's names.

    There is no classifier (``fc``): give ``num_classes=0`` to timm, or set ``fc`` to an identity in
    torchvision. Pixels have to be normalised by the encoder's own ``pixel_mean`` and ``pixel_std``.

    Args:
        encoder: with a dense branch; left as it was.

    Returns:
        Copies on the CPU, contiguous.

    Raises:
        InputError: they have no network of its shape.
        ValueError: it has no dense branch.
    """
    encoder.check_branch("dense")
    if not named_architecture(encoder):
        shape = getattr(encoder.member("dense"), "config", None)
        raise InputError(
            "encoder to write for torchvision and timm",
            str(shape or type(encoder).__name__),
            f"one that they have: stem imagenet, width {WIDTH}, all channels, "
            f"with the blocks of {', '.join(ARCHITECTURES.values())}",
            "write it with code of its own: ssl_kedro.inference.export.export_bundle",
        )
    return {
        _renamed(name, _THEIRS): value.detach().cpu().clone().contiguous()
        for name, value in encoder.member("dense").state_dict().items()
        if "." in name and not re.search(r"\.(gated|gate2?)\.", name)
    }


def _renamed(name: str, patterns: tuple[tuple[str, str], ...]) -> str:
    for pattern, other in patterns:
        if re.match(pattern, name):
            return re.sub(f"^{pattern}", other, name)
    return name
