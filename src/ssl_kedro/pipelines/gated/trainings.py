"""From parameters to methods: what one training is, and what identifies it."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from ssl_kedro.encoders.base import Encoder
from ssl_kedro.encoders.factory import EncoderSetup, shape_values
from ssl_kedro.methods.base import Method, MethodPlan
from ssl_kedro.pipelines.gated.parameters import EncoderPipelineParameters
from ssl_kedro.training.config import execution_identity, recipe_identity

Json = dict[str, Any]


@dataclass(frozen=True)
class Training:
    """One training, as the graph binds it to a node.

    Args:
        method: its name.
        budget: t_d, or None for a dense method.
        seed: of weights, order, views and gate noise.
        gates: gate parameters that differ from the run's own.
    """

    method: str
    budget: float | None
    seed: int
    gates: Mapping[str, float | str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Name on the progress bar."""
        at = "" if self.budget is None else f" at {self.budget:.0%}"
        changed = "".join(f", {key} {value}" for key, value in self.gates.items())
        return f"{self.method}{at}{changed}, seed {self.seed}"


def new_method(
    parameters: EncoderPipelineParameters,
    data: Json,
    training: Training,
    *,
    teacher: Encoder | None = None,
    inner_channels: tuple[int, ...] | None = None,
) -> Method:
    """A method with fresh weights for the images that ``data`` describes."""
    return planned_method(
        parameters, data, training, teacher=teacher, inner_channels=inner_channels
    ).build()


def planned_method(
    parameters: EncoderPipelineParameters,
    data: Json,
    training: Training,
    *,
    teacher: Encoder | None = None,
    inner_channels: tuple[int, ...] | None = None,
) -> MethodPlan:
    """What :func:`new_method` builds, before it is built."""
    shape = parameters.encoder
    if inner_channels is not None:
        shape = shape.thinned(inner_channels)
    setup = EncoderSetup(
        config=shape,
        image_size=parameters.image_size,
        pixel_mean=tuple(data["pixel_mean"]),
        pixel_std=tuple(data["pixel_std"]),
        teacher=teacher,
    )
    config = parameters.method_config(training.method, training.gates)
    return MethodPlan(training.method, setup, config, training.budget, training.seed)


def training_identity(
    parameters: EncoderPipelineParameters, data: Json, execution: Json, training: Training
) -> Json:
    """What decides a training's numbers; a checkpoint of another identity is not resumed."""
    method = dataclasses.asdict(parameters.method_config(training.method, training.gates))
    # Beside the method's own options, and for every method: where checkpoints have them.
    for name, shared in parameters.shared_options.items():
        method[name] = method["options"].pop(name, dataclasses.asdict(shared))
    recipe: Json = {
        "views": dataclasses.asdict(parameters.views),
        "encoder": shape_values(parameters.encoder),
        "method": method,
        "train": dataclasses.asdict(parameters.train_config(training.method)),
    }
    return recipe_identity(recipe) | {
        "name": training.method,
        "budget": training.budget,
        "seed": training.seed,
        "data": data["fingerprints"]["pretrain"],
        "device": execution["device"],
        **execution_identity(execution),
    }


def weight_fingerprint(encoder: nn.Module) -> str:
    """Short hash of an encoder's weights."""
    digest = hashlib.sha256()
    for name, value in sorted(encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
