"""Trainings small enough to be run in several processes within a test."""

from __future__ import annotations

from typing import Any

import numpy as np

from small_methods import budget_of, small_options
from ssl_kedro.augment.config import PanoramaViewConfig, ViewConfig
from ssl_kedro.encoders.base import Encoder
from ssl_kedro.encoders.factory import EncoderSetup
from ssl_kedro.encoders.gated_resnet import EncoderConfig
from ssl_kedro.encoders.panorama_encoder import PanoramaEncoderConfig
from ssl_kedro.gating.budget import GateConfig
from ssl_kedro.methods.base import ExpanderConfig, MethodConfig
from ssl_kedro.methods.panorama_contrast import ContrastConfig, ContrastPlan
from ssl_kedro.methods.plan import MethodPlan, method_classes
from ssl_kedro.training.config import Execution, TrainConfig
from ssl_kedro.training.planned import EncoderTraining, PanoramaTraining, PlannedTraining


def images(count: int = 40) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 3, 16, 16), dtype=np.uint8)


def training(
    name: str = "vicreg", *, teacher: Encoder | None = None, **changes: object
) -> EncoderTraining:
    """Three epochs of five steps, at a learning rate that lets no rounding grow."""
    setup = EncoderSetup(EncoderConfig(width=4), 16, (0.5,) * 3, (0.25,) * 3, teacher)
    kind = method_classes()[name].options_type
    options = small_options(name) or (kind() if kind.__dataclass_fields__ else None)
    config = MethodConfig(ExpanderConfig(16, 16), gates=GateConfig(warmup=0.2), options=options)
    recipe = {
        "epochs": 3,
        "batch_size": 8,
        "optimiser": "sgd",
        "lr": 0.01,
        "warmup_epochs": 0,
        "precision": "fp32",
    }
    return EncoderTraining(
        method=MethodPlan(name, setup, config, budget_of(name), seed=3),
        views=ViewConfig(noise=0.01),
        recipe=TrainConfig(**(recipe | changes)),  # type: ignore[arg-type]
        execution=Execution("cpu", "fp32"),
        seed=5,
        label=f"{name} in a test",
        identity={"name": name, "seed": 3},
    )


PANORAMAS = "panoramas"


def panoramas(count: int = 20) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 3, 48, 96), dtype=np.uint8)


def panorama_training(**changes: object) -> PanoramaTraining:
    """Three epochs of two steps.

    Of a VGG: over eight images the 60 norms of a ResNet make a half of 1e-7 of its weights.
    """
    encoder = PanoramaEncoderConfig("vgg16", width=0.1, longitude_padding="circular")
    contrast = ContrastConfig(negatives=12, embedding=8, head_end="batch_norm", temperature=None)
    recipe = {"epochs": 3, "batch_size": 8, "optimiser": "sgd", "lr": 0.01, "warmup_epochs": 0}
    return PanoramaTraining(
        method=ContrastPlan(encoder, contrast, 20, (48, 96), seed=3),
        views=PanoramaViewConfig(),
        recipe=TrainConfig(**(recipe | {"precision": "fp32"} | changes)),  # type: ignore[arg-type]
        execution=Execution("cpu", "fp32"),
        seed=5,
        label="panoramas in a test",
        identity={"name": PANORAMAS, "seed": 3},
    )


def planned(name: str = "vicreg", **changes: object) -> tuple[PlannedTraining[Any], np.ndarray]:
    """A training and its images."""
    if name == PANORAMAS:
        return panorama_training(**changes), panoramas()
    return training(name, **changes), images()
