"""What the rest of the project knows of an encoder: branches, features, maps, gates and cost.

A backbone is one file: a subclass of :class:`EncoderShape` that says how parameters name and shape
it, and one of :class:`Backbone`. :mod:`ssl_kedro.encoders.factory` finds it.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple, Self, TypedDict

import torch
from torch import Generator, Tensor, nn

from ssl_kedro.core.config import Config, ConfigError, Range, restored
from ssl_kedro.core.errors import InputError
from ssl_kedro.encoders.bundled import INPUT, Bundled, Normalised
from ssl_kedro.gating.cost import NetworkCost
from ssl_kedro.gating.gate import ChannelGate, Gate, StaticGate, global_average
from ssl_kedro.images.inputs import ImageInput, image_batch

if TYPE_CHECKING:
    from ssl_kedro.encoders.classifier import Classifier, Guess
    from ssl_kedro.encoders.folding import FoldedEncoder
    from ssl_kedro.encoders.vit_folding import FoldedViT

Branch = Literal["dense", "gated"]
# Source of the gates' training noise; None is torch's default generator.
Noise = Generator | None
# Masks instead of the gates' own, one (N or 1, C_l) a block; None leaves the choice to the gates.
Forced = Sequence[Tensor] | None
# Maps (N, D, h, w) or their means (N, D), masks that were applied, decisions of the gates.
Masked = tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]
# Images that pass through a network together when features are asked for.
_AT_ONCE = 256
# What a bundle says of a backbone beside its shape.
_SETTINGS = (
    *("branches", "image_size", "gate_reduction", "gate_temperature"),
    "gate_input_dependent",
)
# Side in px of an image; maps of larger ones would take tens of gigabytes each.
SIDE = Range(at_least=1, at_most=2**14)


class Encoding(NamedTuple):
    """What a batch of images becomes.

    Args:
        features: (N, D).
        masks: for the gated branch, one (N, C_l) mask a block, with its gradient.
        decisions: for the gated branch, one boolean (N, C_l) a block: the same gates without
            training noise, which is what evaluation will use. Equal to the masks outside
            training.
    """

    features: Tensor
    masks: tuple[Tensor, ...]
    decisions: tuple[Tensor, ...]


class Encoder(Bundled, ABC):
    """Images in, feature vectors out, through a dense branch, a gated branch, or both.

    ``image_size`` is the side in px of the images it is made for, ``feature_dimensions`` the
    length of a feature vector and the number of channels of the maps, ``classifier`` what names the
    classes of its features, where it has that.
    """

    bundle_name = "encoder bundle"
    branches: tuple[Branch, ...]
    image_size: int
    feature_dimensions: int
    classifier: Classifier | None = None

    @abstractmethod
    def maps(
        self, images: Tensor, branch: Branch, generator: Noise = None, masks: Forced = None
    ) -> Masked:
        """Maps of the last block (N, D, h, w); features are their mean, or what a backbone says.

        With them the masks that were applied and the gates' decisions, as in :class:`Encoding`;
        arguments are those of :meth:`forward`.
        """

    def forward(
        self, images: Tensor, branch: Branch, generator: Noise = None, masks: Forced = None
    ) -> Encoding:
        """Encode images through one branch.

        Args:
            images: (N, 3, H, W), uint8 or float in [0, 1].
            branch: "dense" or "gated".
            generator: source of the gates' training noise.
            masks: forced masks instead of the gates' own, one (N or 1, C_l) a block.

        Raises:
            ValueError: the encoder has no such branch, or images have the wrong shape.
        """
        x, applied, decided = self.maps(images, branch, generator, masks)
        return Encoding(global_average(x), applied, decided)

    @abstractmethod
    def cost(self, image_size: int | None = None) -> NetworkCost:
        """Prices of stem and blocks for one square image.

        Args:
            image_size: side in px; None = the size it is made for.
        """

    def gates(self) -> list[Gate]:
        """The gates in the order of the blocks; empty without a gated branch."""
        return [module for module in self.modules() if isinstance(module, Gate)]

    def folded(self, branch: Branch) -> FoldedEncoder | FoldedViT:  # noqa: ARG002
        """A branch as plain weights of gated residual units or of a transformer, for compaction.

        Raises:
            TypeError: it is made of something else.
            ValueError: the encoder has no such branch.
        """
        raise TypeError(
            "expected an encoder of gated residual units or a vision transformer, found a "
            f"{type(self).__name__}; only gated encoders are made faster"
        )

    def member(self, branch: Branch) -> Encoder:  # noqa: ARG002
        """The encoder that serves a branch: itself, or one of a pair."""
        return self

    def readme(self) -> dict[str, Any]:
        """What a bundle tells beside what it is rebuilt from."""
        return {
            "feature_dimensions": self.feature_dimensions,
            "input": INPUT,
            "dense_macs": self.cost().dense,
        }

    def check_branch(self, branch: Branch) -> None:
        """Raise ValueError where there is no such branch."""
        if branch not in self.branches:
            raise ValueError(f"this encoder has no {branch!r} branch, only {self.branches}")

    def dense(self, images: ImageInput) -> Tensor:
        """Features with every channel computed; see :meth:`features`."""
        return self.features(images, "dense")

    def gated(self, images: ImageInput) -> Tensor:
        """Features with the channels that the gates open; see :meth:`features`."""
        return self.features(images, "gated")

    @torch.no_grad()
    def features(self, images: ImageInput, branch: Branch) -> Tensor:
        """Features of images as a person has them at hand; no gradient.

        Args:
            images: paths, Pillow images, arrays or tensors; see
                :func:`~ssl_kedro.images.inputs.image_batch`.
            branch: "dense" or "gated".

        Returns:
            float (N, D), on the encoder's device.

        Raises:
            InputError: images of another size than the encoder is made for, or no images.
            ValueError: the encoder has no such branch.
        """
        self.check_branch(branch)
        device = next(self.parameters()).device
        parts = torch.split(image_batch(images, self.image_size), _AT_ONCE)
        return torch.cat([self(part.to(device), branch).features for part in parts])

    def classify(self, images: ImageInput, branch: Branch | None = None) -> list[str]:
        """Class name of each image, the likeliest; see :meth:`guesses`."""
        return [likeliest.name for (likeliest,) in self.guesses(images, branch, top=1)]

    def guesses(
        self, images: ImageInput, branch: Branch | None = None, top: int = 5
    ) -> list[list[Guess]]:
        """Names and probabilities of the likeliest classes of each image, likeliest first.

        Args:
            images: as :meth:`features` takes them.
            branch: "dense" or "gated"; None = its last with a linear layer, the gated one where
                it has both.
            top: how many classes; all of them where it has fewer.

        Raises:
            InputError: the encoder was saved without a trained linear layer, or unusable images.
            ValueError: no such branch, or ``top`` below 1.
        """
        if self.classifier is None:
            raise InputError(
                "classifier",
                "an encoder without a trained linear layer",
                "one that was kept with class names",
                "run the pipeline with keep_head=true and load the folder `classifier` beside "
                "`encoder`, or train one by ssl.add_classifier(encoder, images)",
            )
        if top < 1:
            raise ValueError(f"top = {top}: expected at least 1")
        branch = branch or self.classifier.default_branch(self.branches)
        return self.classifier.guesses(self.features(images, branch), branch, top)


@dataclass(frozen=True)
class EncoderShape(Config):
    """Shape of a backbone, as parameters give it under ``encoder``.

    ``architecture`` is the backbone's name there, ``native`` whether it is made of residual units,
    which alone the C++ kernel computes.
    """

    architecture: ClassVar[str]
    native: ClassVar[bool] = True

    @property
    def side_step(self) -> int:
        """What images' sides are multiples of, in px."""
        return 1

    def check_side(self, key: str, side: int) -> None:
        """Refuse images of a side in px that the backbone cannot take.

        Raises:
            ConfigError: naming the key.
        """
        if side % self.side_step:
            expected = f"a multiple of the encoder's patch, {self.side_step} px"
            raise ConfigError(key, side, expected)

    def thinned(self, inner_channels: Sequence[int]) -> Self:  # noqa: ARG002
        """The shape with so many channels in each block, for students of distillation.

        Raises:
            ConfigError: the backbone has no thinner shapes.
        """
        raise ConfigError(
            "architecture", self.architecture, "one whose blocks can be thinned, for students"
        )

    def narrowed(self, width: int) -> Self:  # noqa: ARG002
        """The shape with another width and all that follows from it in proportion.

        Raises:
            ConfigError: the backbone has no width, or none so small.
        """
        raise ConfigError(
            "architecture", self.architecture, "one that has a width, for narrower networks"
        )


@dataclass(frozen=True)
class _Limits(Config):
    """Refuses options of a backbone that no network can have."""

    image_size: Annotated[int, SIDE]
    gate_reduction: Annotated[int, Range(at_least=1)]
    gate_temperature: Annotated[float, Range(above=0, below=math.inf)]
    gate_input_dependent: Literal[True, False]


class BackboneOptions(TypedDict, total=False):
    """Arguments of every backbone besides its shape."""

    branches: Sequence[Branch]
    image_size: int
    pixel_mean: Sequence[float]
    pixel_std: Sequence[float]
    gate_reduction: int
    gate_temperature: float
    gate_input_dependent: bool


class Backbone(Normalised, Encoder):
    """An encoder that is built from a shape; a subclass in a module of its own is a new one.

    Args:
        config: shape, of the backbone's ``config_type``.
        branches: which branches exist; each has its own batch norms in the blocks.
        image_size: side in px of the images it is made for; fixes the printed costs.
        pixel_mean: per channel, in [0, 1].
        pixel_std: per channel, in [0, 1].
        gate_reduction: r of the gates.
        gate_temperature: of the gates in training.
        gate_input_dependent: whether gates look at the image; else each channel has one logit.

    Raises:
        ValueError: no branch, or an unknown one.
        ConfigError: an image size below 1 or above 16384, a reduction below 1, or a temperature
            that is not above 0 and finite.
    """

    config_type: ClassVar[type[EncoderShape]]
    config: EncoderShape

    def __init__(
        self,
        config: EncoderShape,
        *,
        branches: Sequence[Branch] = ("dense", "gated"),
        image_size: int = 32,
        pixel_mean: Sequence[float] = (0.5, 0.5, 0.5),
        pixel_std: Sequence[float] = (0.25, 0.25, 0.25),
        gate_reduction: int = 4,
        gate_temperature: float = 2 / 3,
        gate_input_dependent: bool = True,
    ) -> None:
        super().__init__(pixel_mean, pixel_std)
        if not branches or set(branches) - {"dense", "gated"}:
            raise ValueError(f"branches = {tuple(branches)}: expected dense, gated or both")
        _Limits(image_size, gate_reduction, gate_temperature, gate_input_dependent)
        config.check_side("image_size", image_size)
        self.config = config
        self.branches: tuple[Branch, ...] = tuple(branches)
        self.image_size = image_size
        self.gate_reduction = gate_reduction
        self.gate_temperature = gate_temperature
        self.gate_input_dependent = gate_input_dependent

    def __init_subclass__(cls, **options: Any) -> None:
        if "config_type" in cls.__dict__:
            cls.bundle_format = f"ssl_kedro gated_{cls.config_type.architecture} v1"
        super().__init_subclass__(**options)

    def description(self) -> dict[str, Any]:
        """Shape and settings, and what readers of the file may want to know."""
        settings = {name: getattr(self, name) for name in _SETTINGS}
        return {"encoder": dataclasses.asdict(self.config)} | settings | self.readme()

    @classmethod
    def from_description(cls, values: Mapping[str, Any]) -> Self:
        """See :class:`~ssl_kedro.encoders.bundled.Bundled`."""
        # Bundles from before there was a choice do not name it.
        known = {"gate_input_dependent": True} | dict(values)
        settings: Any = {name: known[name] for name in _SETTINGS}
        return cls(restored(cls.config_type, values["encoder"]), **settings)

    def new_gate(self, in_channels: int, channels: int) -> Gate | None:
        """A gate over channels, fed by a block's input; None without a gated branch."""
        if "gated" not in self.branches:
            return None
        temperature = self.gate_temperature
        if not self.gate_input_dependent:
            return StaticGate(channels, temperature=temperature)
        reduction = self.gate_reduction
        return ChannelGate(in_channels, channels, reduction=reduction, temperature=temperature)

    def adopted(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Dense weights of another encoder by name, as one of this shape would have them.

        What does not fit stays as it is, for whoever compares the shapes.
        """
        return dict(weights)

    def laid_out(self, images: Tensor, first: nn.Conv2d) -> Tensor:
        """Normalised pixels in the layout that the first layer's weight was put in."""
        channels_last = first.weight.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        return self.normalised(images).contiguous(memory_format=layout)


def mask_and_decision(
    gate: Gate | None, x: Tensor, branch: Branch, generator: Noise, mask: Tensor | None
) -> tuple[Tensor | None, Tensor | None]:
    """The mask of a unit and its gate's decision; both None when dense.

    Args:
        gate: of the unit.
        x: its input, (N, C, H, W).
        branch: that x goes through.
        generator: source of the gate's training noise.
        mask: a forced one, which is its own decision.
    """
    if mask is not None:
        return mask, mask > 0
    if branch != "gated" or gate is None:
        return None, None
    logits = gate.logits(x)
    return gate.sample(logits, generator), logits.detach() >= 0
