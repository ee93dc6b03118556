"""Parameters of the dual_gating pipeline."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ssl_kedro.augment.config import ViewConfig
from ssl_kedro.encoders.gated_resnet import EncoderConfig
from ssl_kedro.evaluation.config import EmbeddingConfig, KnnConfig
from ssl_kedro.evaluation.linear_probe import ProbeConfig
from ssl_kedro.gating.budget import GateConfig
from ssl_kedro.images.config import DataConfig
from ssl_kedro.losses.vicreg import VICRegConfig
from ssl_kedro.methods.base import ExpanderConfig, MethodConfig
from ssl_kedro.pipelines.parameters import (
    Budgets,
    PipelineParameters,
    checked_budgets,
    checked_device,
    cost_at,
)
from ssl_kedro.training.config import TrainConfig

PublishedData = Literal["CIFAR-10", "CIFAR-100", "STL-10", "ImageNet-100"]


class DualGatingParameters(PipelineParameters):
    """Everything of chapter 6 that a user may want to change.

    Args:
        seed: of weights, order, views, gate noise, subsets and probes.
        budgets: target budgets t_d, shares of the dense cost, as a list or "0.1;0.3".
        published: data set of the thesis whose figures stand beside the measured ones.
        published_data_is_ours: whether the measured data is that data set, so that
            differences mean something.
    """

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    budgets: Budgets = (0.1, 0.3, 0.5)
    data: DataConfig = DataConfig()
    views: ViewConfig = ViewConfig()
    encoder: EncoderConfig = EncoderConfig()
    expander: ExpanderConfig = ExpanderConfig()
    vicreg: VICRegConfig = VICRegConfig()
    gates: GateConfig = GateConfig()
    train: TrainConfig = TrainConfig()
    probe: ProbeConfig = ProbeConfig()
    knn: KnnConfig = KnnConfig()
    embedding: EmbeddingConfig = EmbeddingConfig()
    published: PublishedData = "CIFAR-10"
    published_data_is_ours: bool = False

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        size = self.views.size or self.data.size
        checked_budgets(self.budgets, cost_at(self.encoder, size, self.gates.reduction))
        checked_device(self.train.device)
        return self

    @property
    def method_config(self) -> MethodConfig:
        """The parts that methods read."""
        return MethodConfig(self.expander, self.vicreg, self.gates)

    @property
    def image_size(self) -> int:
        """Side in px of the images that the encoder sees in training."""
        return self.views.size or self.data.size
