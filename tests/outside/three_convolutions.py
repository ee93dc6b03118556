"""A backbone as another package would add it: three gated convolutions, each with a second one.

It shares no code with the backbones of the project but what the protocol gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Unpack

import torch
from torch import Tensor, nn

from ssl_kedro.core.config import Range
from ssl_kedro.encoders.base import Backbone, BackboneOptions, Branch, EncoderShape
from ssl_kedro.encoders.folding import FoldedEncoder, FoldedUnit, folded, folded_gate
from ssl_kedro.encoders.gated_resnet import Projection
from ssl_kedro.gating.cost import BlockCost, NetworkCost

PLACES = ("near", "far", "last")


@dataclass(frozen=True)
class ThreeShape(EncoderShape):
    architecture: ClassVar[str] = "three_convolutions"

    channels: Annotated[int, Range(at_least=2)] = 4


class Pair(nn.Module):
    def __init__(self, given: int, made: int, step: int, branches: Sequence[Branch]) -> None:
        super().__init__()
        self.step = step
        self.gated_conv = nn.Conv2d(given, made, 3, step, 1, bias=False)
        self.second = nn.Conv2d(made, made, 3, 1, 1, bias=False)
        self.norms = nn.ModuleDict(
            {b: nn.ModuleList([nn.BatchNorm2d(made), nn.BatchNorm2d(made)]) for b in branches}
        )
        self.across = self.across_norm = None
        if step > 1:
            self.across = Projection(given, made, step)
            self.across_norm = nn.BatchNorm2d(made)


class ThreeConvolutions(Backbone):
    config_type = ThreeShape
    config: ThreeShape

    def __init__(self, config: ThreeShape, **options: Unpack[BackboneOptions]) -> None:
        super().__init__(config, **options)
        c = config.channels
        self.feature_dimensions = 2 * c
        self.first = nn.Conv2d(3, c, 3, 1, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(c)
        sizes = [(c, c, 1), (c, 2 * c, 2), (2 * c, 2 * c, 1)]
        self.pairs = nn.ModuleList(Pair(*size, self.branches) for size in sizes)
        gates = [self.new_gate(given, made) for given, made, _ in sizes]
        self.deciders = nn.ModuleList(gate for gate in gates if gate is not None)

    def maps(
        self,
        images: Tensor,
        branch: Branch,
        generator: torch.Generator | None = None,
        masks: Sequence[Tensor] | None = None,
    ) -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
        self.check_branch(branch)
        x = torch.relu(self.first_norm(self.first(self.laid_out(images, self.first))))
        applied, decided = [], []
        for index, pair in enumerate(self.pairs):
            mask = None if masks is None else masks[index]
            decision = None if mask is None else mask > 0
            if mask is None and branch == "gated":
                logits = self.gates()[index].logits(x)
                mask, decision = self.gates()[index].sample(logits, generator), logits >= 0
            norms = pair.norms[branch]
            inner = torch.relu(norms[0](pair.gated_conv(x)))
            if mask is not None:
                inner = inner * mask[:, :, None, None]
                applied.append(mask)
                decided.append(decision)
            beside = x if pair.across is None else pair.across_norm(pair.across(x))
            x = torch.relu(norms[1](pair.second(inner)) + beside)
        return x, tuple(applied), tuple(decided)

    def cost(self, image_size: int | None = None) -> NetworkCost:
        side = image_size or self.image_size
        stem = side * side * self.first.weight.numel()
        blocks = []
        for index, (name, pair) in enumerate(zip(PLACES, self.pairs, strict=True)):
            side = (side - 1) // pair.step + 1
            made, given = pair.gated_conv.weight.shape[:2]
            blocks.append(
                BlockCost(
                    name=name,
                    channels=made,
                    macs_per_channel=9 * side * side * (given + made),
                    shortcut=0 if pair.across is None else side * side * given * made,
                    gate=self.gates()[index].macs if self.gates() else 0,
                )
            )
        return NetworkCost(stem, tuple(blocks))

    def folded(self, branch: Branch) -> FoldedEncoder:
        self.check_branch(branch)
        units = []
        for index, (name, pair) in enumerate(zip(PLACES, self.pairs, strict=True)):
            norms, across = pair.norms[branch], None
            if pair.across is not None:
                across = folded(pair.across, pair.across_norm)
            units.append(
                FoldedUnit(
                    name=name,
                    stride=pair.step,
                    layers=(folded(pair.gated_conv, norms[0]), folded(pair.second, norms[1])),
                    shortcut=across,
                    gates=(folded_gate(self.gates()[index] if self.gates() else None),),
                )
            )
        first = folded(self.first, self.first_norm)
        mean, std, side = self.pixel_mean, self.pixel_std, self.image_size
        return FoldedEncoder("cifar_pad1", first, tuple(units), mean, std, side)
