"""Node of Table 6.3: students that distil a teacher into the channels that gates learnt."""

from __future__ import annotations

from typing import Any

import numpy as np

from ssl_kedro.encoders.base import Encoder
from ssl_kedro.evaluation.channel_usage import mean_open_channels
from ssl_kedro.evaluation.features import gate_record
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters
from ssl_kedro.pipelines.gated.nodes import run_training
from ssl_kedro.pipelines.gated.trainings import (
    Training,
    planned_method,
    training_identity,
    weight_fingerprint,
)
from ssl_kedro.training.checkpoints import CheckpointStore
from ssl_kedro.training.epoch_log import EpochLog

Json = dict[str, Any]
Arrays = dict[str, np.ndarray]


def distil(
    parameters: DualGatingParameters,
    data: Json,
    execution: Json,
    images: ImageSet,
    checkpoints: CheckpointStore,
    log: EpochLog,
    teacher: Encoder,
    gate_features: Arrays,
    *,
    training: Training,
) -> tuple[Encoder, Json]:
    """Train a student with the channels that learnt gates open on average."""
    channels = mean_open_channels(gate_record(gate_features, "train"))
    plan = planned_method(parameters, data, training, teacher=teacher, inner_channels=channels)
    identity = training_identity(parameters, data, execution, training) | {
        "inner_channels": list(channels),
        "teacher": weight_fingerprint(teacher),
    }
    return run_training(parameters, execution, images, checkpoints, log, training, plan, identity)
