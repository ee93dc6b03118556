"""Backbones by name, and the factory that methods are given.

A backbone is found in this package or in a module that another package names in the entry point
group "ssl_kedro.encoders".
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Unpack

import torch

from ssl_kedro.core.config import ConfigError, restored
from ssl_kedro.core.plugins import classes
from ssl_kedro.encoders.base import Backbone, BackboneOptions, Branch, Encoder, EncoderShape
from ssl_kedro.encoders.gated_resnet import GatedResNet18
from ssl_kedro.gating.budget import GateConfig
from ssl_kedro.gating.cost import NetworkCost

DEFAULT: type[Backbone] = GatedResNet18
_LATER = ("separate_norms", "stages", "block")


def backbone(architecture: str) -> type[Backbone]:
    """The backbone of a name.

    Raises:
        ConfigError: there is none.
    """
    if architecture == DEFAULT.config_type.architecture:
        return DEFAULT  # without a look at what else there is
    found = classes("ssl_kedro.encoders", Backbone)  # type: ignore[type-abstract]
    known = {kind.config_type.architecture: kind for kind in found}
    if architecture not in known:
        raise ConfigError("architecture", architecture, f"one of {', '.join(sorted(known))}")
    return known[architecture]


def new_backbone(shape: EncoderShape, **options: Unpack[BackboneOptions]) -> Backbone:
    """A backbone of a shape, with weights from torch's default generator."""
    return backbone(shape.architecture)(shape, **options)


def shape_values(shape: EncoderShape) -> dict[str, Any]:
    """A shape as plain values; the default architecture is not named, as it never was."""
    default = shape.architecture == DEFAULT.config_type.architecture
    named = {} if default else {"architecture": shape.architecture}
    usual = {field.name: field.default for field in dataclasses.fields(shape)}
    values = dataclasses.asdict(shape).items()
    # What every run had before it could be chosen has no name in theirs.
    return named | {n: v for n, v in values if n not in _LATER or v != usual[n]}


def shape_type(values: Mapping[str, Any]) -> type[EncoderShape]:
    """Type of the shape that values describe.

    Raises:
        ConfigError: there is no such architecture.
    """
    return backbone(values.get("architecture", DEFAULT.config_type.architecture)).config_type


def own_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """A shape's values without its name, and without what only the default architecture has."""
    own, default = (
        {field.name for field in dataclasses.fields(kind)}
        for kind in (shape_type(values), DEFAULT.config_type)
    )
    foreign = {"architecture", *(default - own)}
    return {name: value for name, value in values.items() if name not in foreign}


def sketch(
    shape: EncoderShape, image_size: int, gate_reduction: int, *, gate_input_dependent: bool = True
) -> Backbone:
    """An encoder with gates that has no values: no memory is taken for its weights."""
    with torch.device("meta"):
        return new_backbone(
            shape,
            image_size=image_size,
            gate_reduction=gate_reduction,
            gate_input_dependent=gate_input_dependent,
        )


def cost_at(
    shape: EncoderShape, image_size: int, gate_reduction: int, *, gate_input_dependent: bool = True
) -> NetworkCost:
    """Cost of an encoder that is not built."""
    return sketch(
        shape, image_size, gate_reduction, gate_input_dependent=gate_input_dependent
    ).cost()


@dataclass(frozen=True)
class GateOverhead:
    """What gates add to an encoder.

    Args:
        parameters: of the gates.
        all_parameters: of the encoder with them, and with one set of norms.
        macs: of the gates for an image.
        dense_macs: of the network without them.
    """

    parameters: int
    all_parameters: int
    macs: int
    dense_macs: int


def gate_overhead(shape: EncoderShape, image_size: int, gates: GateConfig) -> GateOverhead:
    """What gates add to an encoder of a shape for images of a size in px."""
    given = gates.reduction, gates.input_dependent
    encoder = sketch(shape, image_size, given[0], gate_input_dependent=given[1])
    with torch.device("meta"):
        dense = new_backbone(shape, branches=("dense",), image_size=image_size)
    added = sum(value.numel() for gate in encoder.gates() for value in gate.parameters())
    cost = encoder.cost()
    return GateOverhead(
        added,
        added + sum(value.numel() for value in dense.parameters()),
        sum(block.gate for block in cost.blocks),
        cost.dense,
    )


@dataclass(frozen=True)
class EncoderSetup:
    """What a method makes its encoder with: a shape and the images it will see.

    Args:
        config: shape of the encoder.
        image_size: side in px of the images that the encoder is for.
        pixel_mean: per channel, in [0, 1].
        pixel_std: per channel, in [0, 1].
        teacher: a trained encoder, for methods that distil; others ignore it.
        view_size: side in px of the views it is trained on; None = that of the images.
        start: a trained encoder whose dense weights it begins with; see
            :func:`~ssl_kedro.encoders.starting.start_from`.
    """

    config: EncoderShape
    image_size: int = 32
    pixel_mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    pixel_std: tuple[float, float, float] = (0.25, 0.25, 0.25)
    teacher: Encoder | None = None
    view_size: int | None = None
    start: Encoder | None = None

    def build(self, branches: Sequence[Branch], gates: GateConfig) -> Backbone:
        """An encoder with these branches, its weights from torch's default generator."""
        return new_backbone(
            self.config,
            branches=branches,
            image_size=self.image_size,
            pixel_mean=self.pixel_mean,
            pixel_std=self.pixel_std,
            gate_reduction=gates.reduction,
            gate_temperature=gates.temperature,
            gate_input_dependent=gates.input_dependent,
        )

    def as_json(self) -> dict[str, Any]:
        """Plain values, without teacher and start."""
        names = ("image_size", "pixel_mean", "pixel_std", "view_size")
        images = {name: getattr(self, name) for name in names}
        return {"encoder": shape_values(self.config)} | images


def encoder_setup(
    architecture: str, *, image_size: int = 32, start: Encoder | None = None, **shape: Any
) -> EncoderSetup:
    """What a method makes an encoder of this architecture with.

    Args:
        architecture: as parameters name it, "resnet18".
        image_size: side in px of the images that the encoder is for.
        start: a trained encoder whose dense weights it begins with.
        shape: fields of the architecture's shape, such as ``width``.

    Raises:
        ConfigError: no such architecture, or a value that it cannot have.
        TypeError: no such field.
    """
    return EncoderSetup(backbone(architecture).config_type(**shape), image_size, start=start)


def setup_from_json(
    values: Mapping[str, Any], teacher: Encoder | None, start: Encoder | None = None
) -> EncoderSetup:
    """The setup that :meth:`EncoderSetup.as_json` wrote."""
    shape = restored(shape_type(values["encoder"]), own_fields(values["encoder"]))
    mean, std = tuple(values["pixel_mean"]), tuple(values["pixel_std"])
    sizes = values["image_size"], values["view_size"]
    return EncoderSetup(shape, sizes[0], mean, std, teacher, sizes[1], start)
