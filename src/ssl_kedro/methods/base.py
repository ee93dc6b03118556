"""What the training loop knows of a method, and the shape most methods share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from ssl_kedro.core.config import Config, Range
from ssl_kedro.encoders.gated_resnet import Branch, EncoderConfig, GatedResNet18
from ssl_kedro.gating.budget import GateConfig, gate_objective
from ssl_kedro.gating.cost import NetworkCost, check_budget
from ssl_kedro.losses.vicreg import VICRegConfig


@dataclass(frozen=True)
class ExpanderConfig(Config):
    """Shape of the expander, the head between features and embedding.

    Args:
        hidden: width of its two hidden layers (thesis: 2048).
        output: dimensions of the embedding (thesis: 2048).
    """

    hidden: Annotated[int, Range(at_least=2)] = 2048
    output: Annotated[int, Range(at_least=2)] = 2048


@dataclass(frozen=True)
class MethodConfig(Config):
    """Everything a method may be told; each reads the parts that concern it."""

    expander: ExpanderConfig = field(default_factory=ExpanderConfig)
    vicreg: VICRegConfig = field(default_factory=VICRegConfig)
    gates: GateConfig = field(default_factory=GateConfig)


@dataclass(frozen=True)
class EncoderSetup:
    """What an encoder is built from: its shape and the images it will see."""

    config: EncoderConfig
    image_size: int
    pixel_mean: tuple[float, float, float]
    pixel_std: tuple[float, float, float]


class StepResult(NamedTuple):
    """A step's loss and named scalars to log (detached, still on the device)."""

    loss: Tensor
    scalars: dict[str, Tensor]


class Method(nn.Module, ABC):
    """A self-supervised method: owns its encoder, its heads and its objective.

    The training loop calls it with two views and the progress of training, and knows nothing
    else of it. A subclass in a module of its own in this package is a new method; its
    ``name`` is how parameters refer to it.
    """

    name: ClassVar[str]
    encoder: GatedResNet18

    @abstractmethod
    def forward(
        self,
        view_1: Tensor,
        view_2: Tensor,
        progress: float,
        generator: torch.Generator | None = None,
    ) -> StepResult:
        """Loss of one batch.

        Args:
            view_1: float (N, 3, H, W) in [0, 1].
            view_2: the other view of the same images.
            progress: share of training done, in [0, 1).
            generator: source of the gates' noise, on the views' device.
        """

    def gate_parameters(self) -> list[nn.Parameter]:
        """Parameters of the gates: no weight decay, and a learning rate of their own."""
        gates = [block.gate for _, block in self.encoder.residual_blocks()]
        return [p for gate in gates if gate is not None for p in gate.parameters()]


class SymmetricMethod(Method):
    """Two views through a branch each, one shared expander, one loss, gates on a budget.

    Subclasses say which branch each view takes and what the loss on the embeddings is.

    Args:
        setup: the encoder to build.
        config: heads, loss and gates.
        budget: t_d, wanted share of the dense cost; needed where a branch is gated.

    Raises:
        ValueError: a gated branch without a budget, or a budget out of reach.
    """

    view_branches: ClassVar[tuple[Branch, Branch]]

    def __init__(self, setup: EncoderSetup, config: MethodConfig, budget: float | None) -> None:
        super().__init__()
        self.config = config
        branches = tuple(sorted(set(self.view_branches)))
        self.encoder = build_encoder(setup, config.gates, branches)
        self.cost: NetworkCost = self.encoder.cost()
        self.budget = budget
        if "gated" in branches:
            if budget is None:
                raise ValueError(f"method {self.name!r} has a gated branch and needs a budget")
            check_budget(budget, self.cost)
        self.expander = expander(self.encoder.feature_dimensions, config.expander)

    @abstractmethod
    def embedding_loss(self, z_1: Tensor, z_2: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss on two embeddings (N, D) and its named terms."""

    def forward(
        self,
        view_1: Tensor,
        view_2: Tensor,
        progress: float,
        generator: torch.Generator | None = None,
    ) -> StepResult:
        """Embedding loss plus L_G on every gated view; see :class:`Method`."""
        embeddings, mask_sets = [], []
        for view, branch in zip((view_1, view_2), self.view_branches, strict=True):
            encoding = self.encoder(view, branch, generator)
            embeddings.append(self.expander(encoding.features))
            if encoding.masks:
                mask_sets.append(encoding.masks)
        with torch.autocast(view_1.device.type, enabled=False):
            loss, scalars = self.embedding_loss(embeddings[0].float(), embeddings[1].float())
            if mask_sets:
                gate_loss, ratio = self._gate_loss(mask_sets, progress)
                loss = loss + gate_loss
                scalars |= {"gate_loss": gate_loss.detach(), "flop_ratio": ratio.detach()}
        scalars["embedding_std"] = normalised_deviation(embeddings[-1].detach())
        return StepResult(loss, scalars)

    def _gate_loss(
        self, mask_sets: Sequence[tuple[Tensor, ...]], progress: float
    ) -> tuple[Tensor, Tensor]:
        """L_G summed over the gated views, and their mean cost ratio."""
        if self.budget is None:
            raise ValueError("masks without a budget")
        pairs = [
            gate_objective(masks, self.cost, self.budget, self.config.gates, progress)
            for masks in mask_sets
        ]
        total = torch.stack([objective for objective, _ in pairs]).sum()
        return total, torch.stack([ratio for _, ratio in pairs]).mean()


def build_encoder(
    setup: EncoderSetup, gates: GateConfig, branches: Sequence[Branch]
) -> GatedResNet18:
    """Encoder from its setup, with the gates' shape."""
    return GatedResNet18(
        setup.config,
        branches=branches,
        image_size=setup.image_size,
        pixel_mean=setup.pixel_mean,
        pixel_std=setup.pixel_std,
        gate_reduction=gates.reduction,
        gate_temperature=gates.temperature,
    )


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


def normalised_deviation(z: Tensor) -> Tensor:
    """Mean std over dimensions of L2-normalised embeddings, times sqrt(D).

    About 1 for embeddings spread evenly on the sphere, 0 when all have collapsed to one
    point (SimSiam's collapse measure, Chen & He 2021, scaled to be free of D).
    """
    z = nn.functional.normalize(z.float(), dim=1)
    deviation: Tensor = z.std(dim=0).mean() * z.shape[1] ** 0.5
    return deviation
