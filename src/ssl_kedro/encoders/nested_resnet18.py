"""ResNet-18 whose inner channels stand in order: any budget computes the first of each block.

Ordered representations (Rippel, Gelbart & Adams 2014, "Learning Ordered Representations with Nested
Dropout") in the channels that gates switch: the residual stream keeps its width, and so do the
features. A gate that looks at no image and has its order from the start is what is left of a gate;
what it serves is not one budget but all of them. :mod:`ssl_kedro.methods.nested` trains it.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Unpack, cast

import numpy as np
import torch
from torch import Tensor, nn

from ssl_kedro.encoders.base import BackboneOptions
from ssl_kedro.encoders.cutting import (
    cut_encoder,
    features_by,
    first_channels,
    without_memory,
)
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.gating.cost import NetworkCost
from ssl_kedro.images.inputs import ImageInput

# Shares of the dense MACs that norms are calibrated at; statistics change little between them.
BUDGETS = (0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.65, 0.8)


@dataclass(frozen=True)
class NestedConfig(EncoderConfig):
    """Shape of the whole network; fields are those of a ResNet-18."""

    architecture: ClassVar[str] = "nested_resnet18"


def nested(shape: EncoderConfig) -> NestedConfig:
    """The shape of a ResNet-18 as one whose channels stand in order."""
    return NestedConfig(**dataclasses.asdict(shape))


class NestedResNet18(GatedResNet18):
    """A ResNet-18 that is used whole, or at any budget by the first channels of its blocks.

    Channel k (from 0) of a block with C inner channels has rank (k + 1/2) / C. A budget opens
    channels of all blocks by rank, equal ranks from the first block on, for as long as they are
    paid for. As in dual gating the whole network, the dense branch, and the others have batch norms
    of their own in the blocks. All budgets share the weights of theirs; for the statistics
    :meth:`calibrate` has those of some budgets, between which is interpolated.

    Arguments are those of :class:`~ssl_kedro.encoders.base.Backbone`; there are no gates.
    """

    config_type = NestedConfig
    config: NestedConfig
    budgets: Tensor
    statistics: Tensor

    def __init__(self, config: EncoderConfig, **options: Unpack[BackboneOptions]) -> None:
        super().__init__(config, **options)
        for _, block in self.residual_blocks():
            for _, norms in block.layers():
                norms["gated"] = nn.BatchNorm2d(cast(nn.BatchNorm2d, norms["dense"]).num_features)
        # Of each calibrated budget (B,), ascending: mean and variance of every norm's input, norms
        # one after the other, (B, 2, channels). A closed channel has those of the next budget.
        self.register_buffer("budgets", torch.empty(0))
        self.register_buffer("statistics", torch.empty(0, 2, 0))

    @property
    def smallest_budget(self) -> float:
        """Share of the dense MACs that is left with one channel a block."""
        cost = self.cost()
        return float(self._costs(cost)[0] / cost.dense)

    def shape_at(self, budget: float, image_size: int | None = None) -> EncoderConfig:
        """The plain ResNet-18 that a budget pays for.

        Args:
            budget: largest share of the dense MACs, in (0, 1].
            image_size: side in px at which MACs are counted; None = that of the training images.

        Raises:
            ValueError: no share, or below what one channel a block costs.
        """
        cost = self.cost(image_size)
        macs = self._costs(cost)
        if not macs[0] / cost.dense <= budget <= 1:
            raise ValueError(
                f"budget = {budget}: expected a share of the dense MACs from "
                f"{macs[0] / cost.dense:.3f}, which one channel a block costs, to 1"
            )
        opened = int(np.searchsorted(macs, budget * cost.dense * (1 + 1e-9), side="right")) - 1
        counts = np.bincount(self._order(cost)[:opened], minlength=len(cost.blocks)) + 1
        plain = EncoderConfig(**dataclasses.asdict(self.config))
        return plain.thinned([int(count) for count in counts])

    def narrow_features(self, images: Tensor, budget: float) -> Tensor:
        """Features (N, D) in training, with gradients to the open channels alone.

        Args:
            images: (N, 3, H, W), uint8 or float in [0, 1].
            budget: as in :meth:`shape_at`.
        """
        return features_by(self, self._weights_of(self.shape_at(budget)), images)

    def at_budget(
        self,
        budget: float,
        images: np.ndarray | None = None,
        *,
        image_size: int | None = None,
        batch_size: int = 512,
        device: torch.device | str = "cpu",
    ) -> GatedResNet18:
        """A plain dense encoder of the channels that a budget pays for.

        Args:
            budget: as in :meth:`shape_at`.
            images: uint8 (N, 3, H, W), such as 2,000 training images, that batch norms are
                re-estimated on; None = between those of the calibrated budgets.
            image_size: as in :meth:`shape_at`.
            batch_size: as in :func:`~ssl_kedro.encoders.recalibration.recalibrated`.
            device: where to re-estimate.

        Returns:
            The encoder, which shares no memory with this one, on the CPU, in evaluation mode.

        Raises:
            ValueError: a budget out of reach, no images, or neither images nor a calibration.
        """
        shape = self.shape_at(budget, image_size)
        thin, weights = without_memory(shape, self.image_size), self._weights_of(shape)
        if images is not None:
            return cut_encoder(thin, weights, images, batch_size=batch_size, device=device)
        if not len(self.budgets):
            raise ValueError(
                "this encoder was not calibrated: call calibrate(images) with some of its training "
                "images, or give them here"
            )
        channels = [norm.num_features for _, norm in _norms(self)]
        parts = torch.split(self._statistics_at(budget), channels, dim=1)
        for (name, _), (mean, variance) in zip(_norms(self), parts, strict=True):
            kept = len(weights[f"{name}.weight"])
            weights |= {f"{name}.running_mean": mean[:kept], f"{name}.running_var": variance[:kept]}
        own = {name: value.detach().cpu().clone() for name, value in weights.items()}
        thin.load_state_dict(own, assign=True)
        return thin.eval()

    def calibrate(
        self,
        images: np.ndarray,
        budgets: Sequence[float] = BUDGETS,
        *,
        device: torch.device | str = "cpu",
    ) -> None:
        """Re-estimate the statistics of batch norms at some budgets, for use at all of them.

        Args:
            images: uint8 (N, 3, H, W), such as 2,000 training images.
            budgets: as in :meth:`shape_at`; those out of reach are left out, 1 is always there.
            device: where to compute.

        Raises:
            ValueError: no images.
        """
        least = self.smallest_budget
        wanted = sorted({least, 1.0, *(budget for budget in budgets if least <= budget < 1)})
        found: list[list[Tensor]] = []
        for budget in reversed(wanted):
            thin = self.at_budget(budget, images, device=device)
            own = [torch.stack(_statistics(norm)) for _, norm in _norms(thin)]
            # Closed channels have what they have at the next larger budget.
            wider = found[-1] if found else own
            found.append(
                [
                    torch.cat([some, more[:, some.shape[1] :]], dim=1)
                    for some, more in zip(own, wider, strict=True)
                ]
            )
        place = self.pixel_mean.device
        self.budgets = torch.tensor(wanted, dtype=torch.float64, device=place)
        self.statistics = torch.stack([torch.cat(parts, dim=1) for parts in found[::-1]]).to(place)

    def gated(self, images: ImageInput, budget: float | None = None) -> Tensor:
        """Features with the channels that a budget pays for; see :meth:`Encoder.features`.

        Args:
            images: as there.
            budget: largest share of the dense MACs, from :attr:`smallest_budget` to 1.

        Raises:
            ValueError: no budget, one out of reach, or the encoder was not calibrated.
        """
        if budget is None:
            raise ValueError(
                f"expected a budget, a share of the dense MACs from {self.smallest_budget:.3f} "
                "to 1: encoder.gated(images, budget=0.3)"
            )
        return self.at_budget(budget).to(self.pixel_mean.device).dense(images)

    def readme(self) -> dict[str, Any]:
        """What a bundle tells beside what it is rebuilt from."""
        calibrated = [round(budget, 4) for budget in self.budgets.tolist()]
        known = {"budgets": calibrated} if calibrated else {}
        return super().readme() | known

    def make_room(self, weights: Mapping[str, Tensor]) -> None:
        """As many calibrated budgets as the weights have."""
        for name in ("budgets", "statistics"):
            if name in weights:
                setattr(self, name, torch.empty_like(weights[name]))

    def _weights_of(self, shape: EncoderConfig) -> dict[str, Tensor]:
        """Those of the plain ResNet-18 that a budget pays for, as views."""
        weights, state = first_channels(self, shape), self.state_dict(keep_vars=True)
        for name, value in weights.items():
            if ".dense." in name:
                own = state[name.replace(".dense.", ".gated.")]
                weights[name] = own[: len(value)] if value.ndim else own
        return weights

    def _statistics_at(self, budget: float) -> Tensor:
        """Mean and variance of every norm's input (2, channels), linear between two budgets."""
        right = min(int(torch.searchsorted(self.budgets, budget)), len(self.budgets) - 1)
        left = max(0, right - 1)
        low, high = float(self.budgets[left]), float(self.budgets[right])
        share = (budget - low) / (high - low) if high > low else 0.0
        return torch.lerp(self.statistics[left], self.statistics[right], max(0.0, share))

    def _order(self, cost: NetworkCost) -> np.ndarray:
        """The mask of every channel but the first of each, as they are opened."""
        ranks = [(np.arange(1, block.channels) + 0.5) / block.channels for block in cost.blocks]
        blocks = np.repeat(np.arange(len(ranks)), [len(rank) for rank in ranks])
        return blocks[np.argsort(np.concatenate(ranks), kind="stable")]

    def _costs(self, cost: NetworkCost) -> np.ndarray:
        """MACs with one channel a block, and after each channel that is opened."""
        opened = self._order(cost)
        counts = [
            1 + np.concatenate([[0], np.cumsum(opened == b)]) for b in range(len(cost.blocks))
        ]
        return cost.at(counts)


def _norms(encoder: GatedResNet18) -> list[tuple[str, nn.BatchNorm2d]]:
    """By the names that they have in a plain encoder."""
    found = encoder.named_modules()
    return [(n, m) for n, m in found if isinstance(m, nn.BatchNorm2d) and ".gated" not in n]


def _statistics(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    return cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
