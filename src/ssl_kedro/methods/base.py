"""What the training loop knows of a method, and the shapes most methods share."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ssl_kedro.core.collectives import batch_variances, loss_average
from ssl_kedro.core.config import Config, Range
from ssl_kedro.core.progress import Progress
from ssl_kedro.encoders.base import Branch, Encoder, Encoding
from ssl_kedro.encoders.factory import EncoderSetup
from ssl_kedro.encoders.starting import start_from
from ssl_kedro.gating.budget import BudgetPenalty, GateConfig, opening_at

# A forward pass and the backward pass, which costs two.
TRAINED_PASS = 3


@dataclass(frozen=True)
class ExpanderConfig(Config):
    """Shape of the expander, the head between features and embedding.

    Args:
        hidden: width of its two hidden layers (thesis: 2048).
        output: dimensions of the embedding (thesis: 2048).
    """

    hidden: Annotated[int, Range(at_least=2, at_most=16_384)] = 2048
    output: Annotated[int, Range(at_least=2, at_most=16_384)] = 2048


@dataclass(frozen=True)
class NoOptions(Config):
    """Of a method that has no parameters of its own."""


@dataclass(frozen=True)
class MethodConfig(Config):
    """Everything a method may be told; each reads the parts that concern it.

    Args:
        expander: shape of the head.
        gates: gates and their penalty.
        options: the method's own parameters, of its ``options_type``; None = its defaults.
    """

    expander: ExpanderConfig = field(default_factory=ExpanderConfig)
    gates: GateConfig = field(default_factory=GateConfig)
    options: Config | None = None


Views = tuple[Tensor, ...]  # of the same images, float (N, 3, H, W) in [0, 1]
Loss = tuple[Tensor, dict[str, Tensor]]  # a scalar, and its named terms without gradient


class StepResult(NamedTuple):
    """A step's loss and named scalars to log (detached, still on the device)."""

    loss: Tensor
    scalars: dict[str, Tensor]


class Trainable(nn.Module, ABC):
    """What the training loop calls: views and the progress of training in, a loss out.

    ``view_count``: views of an image that a step takes.
    ``recordable``: nothing in the forward pass waits for the device or takes a number from the
    host that changes from step to step, so that a step can be a CUDA graph. ``compilable``: all
    steps have the same shapes, so that they are compiled once.
    """

    view_count: int = 2
    recordable: ClassVar[bool] = True
    compilable: ClassVar[bool] = True

    @abstractmethod
    def forward(
        self, views: Views, progress: Progress, generator: torch.Generator | None = None
    ) -> StepResult:
        """Loss of one batch.

        Args:
            views: ``view_count`` of the same images, float (N, 3, H, W) in [0, 1] each.
            progress: share of training done, in [0, 1); a number, or a scalar tensor on the
                views' device.
            generator: source of the gates' noise, on the views' device.
        """

    def before_step(self, progress: float, indices: Tensor) -> None:
        """Called before each forward pass of the training.

        Args:
            progress: share of training done, in [0, 1), for state that follows it.
            indices: int64 (N,) on the CPU, which of the training images the batch holds, for
                methods that remember them.
        """

    def after_update(self, images: Tensor, progress: float) -> None:
        """Called after each update of the weights, for state that follows them.

        Args:
            images: uint8 (N, 3, H, W), the batch that the update came from, not augmented.
            progress: share of training done with this update, in (0, 1].
        """

    def gate_parameters(self) -> list[nn.Parameter]:
        """Parameters of the gates: no weight decay, and a learning rate of their own."""
        return []

    def constant_rate_parameters(self) -> list[nn.Parameter]:
        """Parameters whose learning rate stays at its peak while the others' follow a cosine."""
        return []

    def rate_factors(self) -> Sequence[tuple[float, list[nn.Parameter]]]:
        """Parameters whose learning rate is another multiple of the recipe's, with that factor."""
        return []

    def take_weight_decay(self, weight_decay: float) -> Sequence[nn.Parameter]:  # noqa: ARG002
        """Parameters whose weight decay is in the loss from now on, in place of the optimiser's.

        Args:
            weight_decay: as the recipe has it.
        """
        return []

    @property
    @abstractmethod
    def macs_per_image(self) -> int:
        """Multiply-accumulates of one training step over its images, by the usual count."""


class Method(Trainable):
    """A self-supervised method: owns its encoder, its heads and its objective.

    A subclass in a module of its own in this package is a new method; its ``name`` is how
    parameters refer to it, its ``options_type`` the parameters that only it has.

    ``encoder_passes`` is the work on an image in a step, in forward passes of the encoder: each
    view goes forward (1) and backward (2).

    Args:
        setup: makes the encoder.
        config: heads, loss and gates; None = the thesis', with an expander four times as wide as
            the features (2048 for the 512 of ResNet-18).
        budget: t_d, wanted share of the dense cost; needed where a branch is gated.

    Raises:
        ValueError: a gated branch without a budget, or a budget out of reach.
        TypeError: ``config.options`` are those of another method.
    """

    name: ClassVar[str]
    options_type: ClassVar[type[Config]] = NoOptions
    encoder_passes: ClassVar[int] = 2 * TRAINED_PASS
    options: Any

    def __init__(
        self,
        setup: EncoderSetup,
        config: MethodConfig | None = None,
        budget: float | None = None,
    ) -> None:
        super().__init__()
        self.view_size = setup.view_size or setup.image_size
        self.encoder: Encoder = self.new_encoder(setup, config or MethodConfig())
        self.begins_trained = setup.start is not None
        if setup.start is not None:
            start_from(self.encoder, setup.start)
        if config is None:
            wide = 4 * self.encoder.feature_dimensions
            config = MethodConfig(ExpanderConfig(wide, wide))
        self.options = self.options_type() if config.options is None else config.options
        if not isinstance(self.options, self.options_type):
            expected, found = self.options_type.__name__, type(self.options).__name__
            raise TypeError(f"expected {expected}, found {found}")
        self.config = replace(config, options=self.options)
        self.limit_cost(budget)
        self.add_heads()

    @classmethod
    def check_batch(cls, config: MethodConfig, rows: int, processes: int) -> None:
        """Refuse batches that the method cannot take, with these heads; before any work.

        Args:
            config: with options of its ``options_type``.
            rows: images of a batch, of all processes together.
            processes: that share each batch.

        Raises:
            ConfigError: naming the option.
        """

    @abstractmethod
    def new_encoder(self, setup: EncoderSetup, config: MethodConfig) -> Encoder:
        """The encoder with the branches that the method trains."""

    def limit_cost(self, budget: float | None) -> None:
        """Take notice of the budget; there is nothing to do without gates."""

    def add_heads(self) -> None:
        """Build what stands behind ``self.encoder``, as ``self.config`` says."""

    def after_training(self, images: np.ndarray) -> None:
        """Called once when the training is over, for what is measured on the trained network.

        Args:
            images: uint8 (N, 3, H, W), some thousand of the training images, not augmented.
        """

    def gate_parameters(self) -> list[nn.Parameter]:
        """Parameters of the encoder's gates; see :class:`Trainable`."""
        return [p for gate in self.encoder.gates() for p in gate.parameters()]

    @property
    def macs_per_image(self) -> int:
        """Of the encoder, whose channels are all computed; heads and losses are not counted."""
        return self.encoder_passes * training_macs(self.encoder, self.view_size)


def training_macs(encoder: Encoder, view_size: int) -> int:
    """MACs of one forward pass in training: every channel, and the gates."""
    cost = encoder.cost(view_size)
    return cost.dense + sum(block.gate for block in cost.blocks)


class TwoViewMethod(Method):
    """An encoder, a branch and an embedding for each view, and a budget for the gated ones.

    Subclasses say which branch each view takes, what embeds its features, and the objective.
    """

    view_branches: ClassVar[tuple[Branch, Branch]]

    def embedded(self, features: Tensor) -> Tensor:
        """The embedding (N, D) of a view's features; the features themselves without a head."""
        return features

    @abstractmethod
    def objective(self, views: Views, z_1: Tensor, z_2: Tensor) -> Loss:
        """Loss on two embeddings (N, D) of views (N, 3, H, W), and its named terms."""

    def forward(
        self, views: Views, progress: Progress, generator: torch.Generator | None = None
    ) -> StepResult:
        """The objective plus L_G on every gated view; see :class:`Trainable`."""
        encodings = [
            self.encoder(view, branch, generator)
            for view, branch in zip(views, self.view_branches, strict=True)
        ]
        embeddings = [self.embedded(encoding.features) for encoding in encodings]
        loss, scalars = self.objective(views, *embeddings)
        with torch.autocast(views[0].device.type, enabled=False):
            result = self.with_penalty(loss, scalars, encodings, progress)
        result.scalars["embedding_std"] = normalised_deviation(*embeddings)
        first, second = (encoding.decisions for encoding in encodings)
        if first and second:
            result.scalars["gate_agreement"] = agreement(first, second)
        return result

    def new_encoder(self, setup: EncoderSetup, config: MethodConfig) -> Encoder:
        """The encoder with the branches that the views need."""
        return setup.build(tuple(sorted(set(self.view_branches))), config.gates)

    def limit_cost(self, budget: float | None) -> None:
        """Hold gated views to a budget; see :class:`Method`."""
        self.penalty: BudgetPenalty | None = None
        if "gated" in self.view_branches:
            if budget is None:
                raise ValueError(f"method {self.name!r} has a gated branch and needs a budget")
            self.penalty = BudgetPenalty(self.encoder.cost(), budget, self.config.gates)

    def before_step(self, progress: float, indices: Tensor) -> None:  # noqa: ARG002
        """Let the gates open wide at first, as far as the warm-up says."""
        for gate in self.encoder.gates():
            gate.opening = opening_at(progress, self.config.gates.warmup)
        if self.penalty is not None:
            self.penalty.begin_step(progress)

    @torch.no_grad()
    def after_update(self, images: Tensor, progress: float) -> None:
        """Now and then, tell the penalty what the gates cost as they are deployed."""
        if self.penalty is not None and self.penalty.wants_deployed_cost(progress):
            training = self.encoder.training
            self.encoder.eval()
            masks = self.encoder(images, "gated").masks
            self.encoder.train(training)
            self.penalty.observe_deployed(masks)

    def with_penalty(
        self,
        loss: Tensor,
        scalars: dict[str, Tensor],
        encodings: Sequence[Encoding],
        progress: Progress,
    ) -> StepResult:
        """Loss plus the budget penalty of every gated encoding."""
        terms = [
            self.penalty(encoding.masks, encoding.decisions, progress)
            for encoding in encodings
            if encoding.masks and self.penalty is not None
        ]
        for penalty, _ in terms:
            loss = loss + penalty
        # Summed penalties, means of everything else.
        for name in terms[0][1] if terms else ():
            values = torch.stack([found[name] for _, found in terms])
            scalars[name] = values.sum() if name == "gate_loss" else values.mean()
        return StepResult(loss, scalars)


class SymmetricMethod(TwoViewMethod):
    """Two views, one shared expander, one loss on the two embeddings.

    Subclasses say which branch each view takes and what the loss on the embeddings is.
    """

    def add_heads(self) -> None:
        """The expander."""
        self.expander = expander(self.encoder.feature_dimensions, self.config.expander)

    def embedded(self, features: Tensor) -> Tensor:
        """Features through the expander."""
        embedding: Tensor = self.expander(features)
        return embedding

    def objective(self, views: Views, z_1: Tensor, z_2: Tensor) -> Loss:
        """The loss on the embeddings, in float32 whatever the precision around it."""
        with torch.autocast(views[0].device.type, enabled=False):
            return self.embedding_loss(z_1.float(), z_2.float())

    @abstractmethod
    def embedding_loss(self, z_1: Tensor, z_2: Tensor) -> Loss:
        """Loss on two embeddings (N, D) in float32 and its named terms."""


def expander(in_dimensions: int, config: ExpanderConfig) -> nn.Sequential:
    """Three linear layers with BN and ReLU between them (VICReg's expander)."""
    return nn.Sequential(
        nn.Linear(in_dimensions, config.hidden),
        nn.BatchNorm1d(config.hidden),
        nn.ReLU(inplace=True),
        nn.Linear(config.hidden, config.hidden),
        nn.BatchNorm1d(config.hidden),
        nn.ReLU(inplace=True),
        nn.Linear(config.hidden, config.output),
    )


def normalised_deviation(*embeddings: Tensor) -> Tensor:
    """Mean std over dimensions of L2-normalised embeddings, times sqrt(D), the least of all views.

    About 1 for embeddings spread evenly on the sphere, 0 when all have collapsed to one
    point (SimSiam's collapse measure, Chen & He 2021, scaled to be free of D).

    Args:
        embeddings: (N, D) each. No gradient.
    """
    directions = [nn.functional.normalize(z.detach().float(), dim=1) for z in embeddings]
    spreads = [
        variance.sqrt().mean() * len(variance) ** 0.5 for variance in batch_variances(directions)
    ]
    return torch.stack(spreads).min()


def agreement(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """Share of decisions that are alike for two views of an image, mean over blocks.

    Args:
        first: of one view, boolean (N, C_l) a block.
        second: of the other.
    """
    alike = [(a == b).float().mean() for a, b in zip(first, second, strict=True)]
    return loss_average(torch.stack(alike).mean())
