"""One training for any width: universally slimmable self-supervision in the VICReg setting.

After US3L (Cao, Sun & Zhou, "Three Guidelines You Should Know for Universally Slimmable
Self-Supervised Learning", CVPR 2023), as its authors' code has it. A step draws a few widths; the
widest pass trains by the base loss, the narrower ones learn what the widest says of the other view,
through a head of their own. Docs/adr/0028 says what follows the paper and what does not.

The form for another base loss is one more file; see :mod:`ssl_kedro.methods.simsiam_slim`.
"""

import copy
import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, cast

import torch
from torch import Tensor, nn

from ssl_kedro.core.collectives import loss_average
from ssl_kedro.core.config import WEIGHT, Config, ConfigError, Range
from ssl_kedro.core.progress import Progress
from ssl_kedro.encoders.base import Branch
from ssl_kedro.encoders.factory import EncoderSetup
from ssl_kedro.encoders.gated_resnet import EncoderConfig
from ssl_kedro.encoders.slimmable_resnet18 import SlimmableResNet18, slimmable
from ssl_kedro.methods.base import (
    TRAINED_PASS,
    MethodConfig,
    StepResult,
    TwoViewMethod,
    Views,
    normalised_deviation,
)
from ssl_kedro.methods.simsiam import predictor
from ssl_kedro.methods.vicreg import VICReg, VICRegOptions

# Narrower ones are no ResNet-18 of ours.
_NARROWEST = 2
# Share of the training over which the groups' decay spreads (authors' code).
_RAMP = 0.5


@dataclass(frozen=True)
class SlimOptions(Config):
    """Parameters of a slimmable method; defaults are the authors' code's for CIFAR.

    Args:
        smallest: width of the narrowest network over the whole, rounded up to channels.
        passes: networks trained in a step: the widest, the narrowest of the stage (the sandwich
            rule, Yu & Huang 2019), and random widths between them.
        stages: equal parts of the training. In the first only the widest network is trained, then
            the range grows in equal steps down to ``smallest`` (dynamic sampling); 1 = the whole
            range from the start.
        distillation: weight of what a narrow pass learns from the widest, relative to the base
            loss.
        base: weight of the base loss of a narrow pass itself (0 in the authors' code).
        momentum: of the network that is the target, an exponential moving average of the widest
            one, for guidance that changes slowly; 0 = the widest pass of the same step (in-place
            distillation).
        groups: of output channels, by which weight decay differs (group regularisation).
        spread: by how much of ``train.weight_decay`` the decay falls from a group to the next.
            Channels at the back serve few widths, and are given more freedom. The decay is in the
            loss, so that AdamW is refused: it would divide the decay by the size of gradients.
    """

    smallest: Annotated[float, Range(above=0, below=1)] = 0.25
    passes: Annotated[int, Range(at_least=2, at_most=64)] = 3
    stages: Annotated[int, Range(at_least=1, at_most=1000)] = 4
    distillation: Annotated[float, WEIGHT] = 1.0
    base: Annotated[float, WEIGHT] = 0.0
    momentum: Annotated[float, Range(at_least=0, below=1)] = 0.99
    groups: Annotated[int, Range(at_least=1, at_most=1024)] = 8
    spread: Annotated[float, Range(at_least=0, at_most=1)] = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.spread * (self.groups - 1) > 1:
            most = f"at most 1 / {self.groups - 1}: the last of {self.groups} groups decays by what"
            raise ConfigError("spread", self.spread, f"{most} is left")


class SlimmableMethod(TwoViewMethod):
    """A dense method whose encoder is trained at sampled widths.

    Mixed in before a method of two dense views, whose embedding and objective it takes. Widths come
    from the step's generator: alike in all processes, and the same after a restart.
    """

    options: SlimOptions
    # Widths come from the host, and change the shapes of a step.
    recordable = False
    compilable = False
    view_branches: ClassVar[tuple[Branch, Branch]] = ("dense", "dense")
    encoder: SlimmableResNet18

    @property
    @abstractmethod
    def head(self) -> nn.Module:
        """What embeds features; its first parameter is a linear layer's weight."""

    @abstractmethod
    def distance(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Loss of a narrow pass' prediction (N, D) of a constant target (N, D), float32."""

    def new_encoder(self, setup: EncoderSetup, config: MethodConfig) -> SlimmableResNet18:
        """The whole network; a plain ResNet-18's shape will do.

        Raises:
            ConfigError: another architecture, or an encoder too narrow to be narrowed.
        """
        shape = setup.config
        if not isinstance(shape, EncoderConfig):
            raise ConfigError("architecture", shape.architecture, "a ResNet, to be cut to widths")
        options = config.options if isinstance(config.options, SlimOptions) else SlimOptions()
        self.narrowest = max(_NARROWEST, math.ceil(options.smallest * shape.width))
        if self.narrowest >= shape.width:
            raise ConfigError("width", shape.width, f"more than the narrowest, {self.narrowest}")
        return SlimmableResNet18(
            slimmable(shape),
            branches=("dense",),
            image_size=setup.image_size,
            pixel_mean=setup.pixel_mean,
            pixel_std=setup.pixel_std,
        )

    def add_heads(self) -> None:
        """The base method's, the distillation head, and the network that is the target."""
        super().add_heads()
        expander = self.config.expander
        self.distillation_head = predictor(expander, expander.hidden)
        self.target: nn.ModuleDict | None = None
        if self.options.momentum > 0:
            self.target = nn.ModuleDict(
                {"encoder": copy.deepcopy(self.encoder), "head": copy.deepcopy(self.head)}
            ).requires_grad_(False)
        groups = [_groups(w.shape[0], self.options.groups) for w in self._convolutions()]
        self.register_buffer("group", torch.cat(groups), persistent=False)
        self.weight_decay = 0.0

    def forward(
        self, views: Views, progress: Progress, generator: torch.Generator | None = None
    ) -> StepResult:
        """Base loss of the widest pass, and of each narrower one what it learns from that."""
        wide = [self.embedded(self.encoder(view, "dense").features) for view in views]
        loss, scalars = self.objective(views, *wide)
        done = float(progress)
        widths = self.sampled_widths(done, generator, views[0].device)
        distillation = torch.zeros((), device=loss.device)
        targets = self._targets(views, wide) if widths else wide
        for width in widths:
            narrow = [self.embedded_at(view, width) for view in views]
            distillation = distillation + self._distilled(narrow, targets)
            if self.options.base > 0:
                loss = loss + self.options.base * self.objective(views, *narrow)[0]
        scalars |= {"distillation": distillation.detach()}
        scalars["embedding_std"] = normalised_deviation(*wide)
        loss = loss + self.options.distillation * distillation
        return StepResult(loss + self.group_regularisation(done), scalars)

    def embedded_at(self, view: Tensor, width: int) -> Tensor:
        """The embedding (N, D) of a view through the network of a width."""
        features = self.encoder.narrow_features(view, width)
        name, weight = next(iter(self.head.named_parameters()))
        first = {name: weight[:, : features.shape[1]]}
        embedding: Tensor = torch.func.functional_call(self.head, first, (features,))
        return embedding

    def lowest_width(self, progress: float) -> int:
        """The narrowest width that may be drawn, given the share of training done, in [0, 1)."""
        stages = self.options.stages
        return self._lowest_of_stage(min(int(progress * stages), stages - 1))

    def _lowest_of_stage(self, stage: int) -> int:
        stages, whole = self.options.stages, self.encoder.config.width
        reached = stage / (stages - 1) if stages > 1 else 1
        return whole - math.floor(reached * (whole - self.narrowest))

    def sampled_widths(
        self, progress: float, generator: torch.Generator | None, device: torch.device
    ) -> list[int]:
        """Widths below the whole that a step trains.

        The lowest of the stage, and whole numbers between it and the whole, each as likely.
        """
        lowest, whole = self.lowest_width(progress), self.encoder.config.width
        if lowest == whole:
            return []
        between = range(lowest + 1, whole)
        count = self.options.passes - 2 if between else 0
        drawn = torch.rand(count, generator=generator, device=device).tolist() if count else []
        return [lowest, *(between[int(u * len(between))] for u in drawn)]

    def take_weight_decay(self, weight_decay: float) -> Sequence[nn.Parameter]:
        """The convolutions', whose decay differs by group; see :class:`Method`."""
        self.weight_decay = weight_decay
        return self._convolutions()

    def group_regularisation(self, progress: float) -> Tensor:
        """Half of sum over convolutions of w_g |W_g|^2, whose gradient is a weight decay of w_g.

        W_g are the filters of group g of a convolution's output channels, in order, and
        w_g = weight_decay (1 - spread g min(1, progress / .5)) (authors' ``GroupReg``, linear).
        """
        squares = [weight.square().sum(dim=(1, 2, 3)) for weight in self._convolutions()]
        spread = self.options.spread * min(1.0, progress / _RAMP)
        group = cast(Tensor, self.group)
        return self.weight_decay / 2 * ((1 - spread * group) * torch.cat(squares)).sum()

    @torch.no_grad()
    def after_update(self, images: Tensor, progress: float) -> None:
        """Move the target towards the whole network."""
        super().after_update(images, progress)
        if self.target is not None:
            online: list[Tensor] = [*self.encoder.parameters(), *self.head.parameters()]
            moving: list[Tensor] = [*self.target.parameters()]
            torch._foreach_lerp_(moving, online, 1 - self.options.momentum)

    @property
    def macs_per_image(self) -> int:
        """Expected over the widths that are drawn, stage by stage; heads are not counted."""
        whole = self.encoder.config.width
        wide = self.encoder.cost(self.view_size).dense
        total = 0.0
        for stage in range(self.options.stages):
            passes = [float(wide)]
            lowest = self._lowest_of_stage(stage)
            if lowest < whole:
                narrow = [
                    self.encoder.cost_at(c, self.view_size).dense for c in range(lowest, whole)
                ]
                drawn = sum(narrow[1:]) / max(1, len(narrow) - 1)
                passes += [narrow[0], *[drawn] * (self.options.passes - 2)]
                total += 2 * wide * (self.target is not None)
            total += 2 * TRAINED_PASS * sum(passes)
        return round(total / self.options.stages)

    def _targets(self, views: Views, wide: Sequence[Tensor]) -> list[Tensor]:
        """What the narrow passes are to say of the views."""
        if self.target is None:
            return [z.detach().float() for z in wide]
        with torch.no_grad():
            return [
                self.target["head"](self.target["encoder"](view, "dense").features).float()
                for view in views
            ]

    def _distilled(self, narrow: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
        """Mean distance of each view's prediction to the target of the other."""
        predictions = [self.distillation_head(z).float() for z in narrow]
        with torch.autocast(targets[0].device.type, enabled=False):
            first = self.distance(predictions[0], targets[1])
            return (first + self.distance(predictions[1], targets[0])) / 2

    def _convolutions(self) -> list[nn.Parameter]:
        convolutions = (m for m in self.encoder.modules() if isinstance(m, nn.Conv2d))
        return [cast(nn.Parameter, convolution.weight) for convolution in convolutions]


def _groups(channels: int, count: int) -> Tensor:
    """Group of each channel, float (channels,): as equal as they can be, in order."""
    return (torch.arange(channels) * count // channels).float()


@dataclass(frozen=True)
class VICRegSlimOptions(SlimOptions, VICRegOptions):
    """Parameters of VICReg and of a slimmable method."""


class Slim(SlimmableMethod, VICReg):
    """VICReg of the widest pass; narrow passes regress onto its embeddings."""

    name = "slim"
    options_type = VICRegSlimOptions
    options: VICRegSlimOptions
    encoder: SlimmableResNet18

    @property
    def head(self) -> nn.Module:
        """The expander."""
        return self.expander

    def distance(self, prediction: Tensor, target: Tensor) -> Tensor:
        """VICReg's invariance term, weighted as there."""
        return self.options.vicreg.invariance * loss_average((prediction - target).square().mean())
