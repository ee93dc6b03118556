"""How fast this machine trains on somebody's images, measured in some seconds."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_kedro.core.cores import available_cores
from ssl_kedro.core.race import seconds_of
from ssl_kedro.encoders.base import Encoder
from ssl_kedro.evaluation.linear_probe import LinearProbe, ProbeConfig
from ssl_kedro.images.decode import decoded_image
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.pipelines.gated.nodes import planned_method
from ssl_kedro.pipelines.gated.own.plan import Candidate, Speed
from ssl_kedro.pipelines.gated.parameters import EncoderPipelineParameters
from ssl_kedro.pipelines.gated.preparation import select_execution, summarise_data
from ssl_kedro.pipelines.gated.records import DataSummary, Training
from ssl_kedro.training.batches import BatchSource
from ssl_kedro.training.config import Execution
from ssl_kedro.training.loop import train_epoch
from ssl_kedro.training.planned import EncoderTraining
from ssl_kedro.training.step import TrainingStep

# Seconds that each measurement goes on for, after a first round that does not count.
_EACH_S = 3.0
# Batches of a round: images are drawn from the sample again and again.
_ROUND = 2
# Images of a forward pass.
_FORWARD = 64
_NO_RATE = 1e-12
# Beyond these a run uses several processes to decode (images/decode_files.py).
_MANY_FILES = 2000
# Seconds of compiling and timing one network in one precision with all engines, and of all that
# hardly depends on images and machine: starting, tables, figures and the page. Estimates: they
# have not been measured yet, and make a short plan less certain than a long one.
_A_NETWORK_S, _REST_S = 6.0, 20.0


class Trial:
    """Measures candidates.

    Args:
        sample: image files that can be read.
        counts: of all images, by part: "train" and "eval".
        classes: how many there are; 0 without labels.
        parameters_of: the run's parameters for a candidate.
        tell: takes a line about what is being measured.
    """

    def __init__(
        self,
        sample: tuple[Path, ...],
        counts: Mapping[str, int],
        classes: int,
        parameters_of: Callable[[Candidate], EncoderPipelineParameters],
        tell: Callable[[str], None],
    ) -> None:
        self._sample, self._counts, self._classes = sample, counts, classes
        self._parameters_of, self._tell = parameters_of, tell
        self._execution: Execution | None = None

    @property
    def computed(self) -> dict[str, Any]:
        """How trainings compute, as parameters of them say it."""
        found = self._execution
        return (
            {} if found is None else {n: getattr(found, n) for n in ("precision", "memory_format")}
        )

    def __call__(self, way: Candidate) -> Speed:
        """Seconds of each training for an image, and of the other stages for all of them."""
        self._tell(f"Trying {way.size} px and width {way.width} for some seconds ...")
        parameters = self._parameters_of(way)
        reading = seconds_of(lambda: self._decoded(way.size))
        a_file = reading() / len(self._sample)
        images = self._decoded(way.size)
        summary = _summary(parameters, images)
        if self._execution is None:
            self._execution = select_execution(parameters, summary)
        methods = (parameters.dense_method, parameters.peers[parameters.for_every_budget].method)
        trainings = {
            name: self._training(parameters, summary, images, name, self._execution)
            for name in methods
        }
        encoder = planned_method(parameters, summary, Training(methods[0], None, 0)).build().encoder
        return Speed(trainings, self._other(parameters, encoder, images, a_file))

    def _decoded(self, size: int) -> np.ndarray:
        return np.stack([decoded_image(path, size) for path in self._sample])

    def _training(
        self,
        parameters: EncoderPipelineParameters,
        summary: DataSummary,
        images: np.ndarray,
        name: str,
        execution: Execution,
    ) -> float:
        """Seconds for one image of a pass."""
        # Rates so small that however many steps are taken, the weights stay as good as they were.
        recipe = replace(parameters.train_config(name), lr=_NO_RATE, warmup_lr=0.0)
        plan = planned_method(parameters, summary, Training(name, None, parameters.seed))
        method = plan.build()
        count = _ROUND * recipe.batch_size
        rows = np.resize(np.arange(len(images)), count)
        device = torch.device(execution.device)
        source = BatchSource(images[rows], recipe.batch_size, device, parameters.seed)
        step = TrainingStep(method, recipe, execution, source.batches_per_epoch)
        drawn = EncoderTraining(
            method=plan,
            views=parameters.views,
            recipe=recipe,
            execution=execution,
            seed=parameters.seed,
            label=name,
            identity={},
        ).drawn_views(method)
        return _each(lambda: train_epoch(step, source, drawn, 0, lambda _: None)) / count

    def _other(
        self,
        parameters: EncoderPipelineParameters,
        encoder: Encoder,
        images: np.ndarray,
        a_file: float,
    ) -> dict[str, float]:
        """Seconds of each further stage."""
        count = sum(self._counts.values())
        processes = available_cores() if count > _MANY_FILES else 1
        forward = _forward(encoder, torch.from_numpy(images[:_FORWARD]))
        budgets = parameters.frontier.budgets
        networks = 2 + len(budgets)
        judged = 0.0
        if self._classes and (probe := parameters.probe) is not None:
            steps = probe.epochs * -(-self._counts["train"] // probe.batch_size)
            judged = (
                networks * steps * _probe_step(probe, encoder.feature_dimensions, self._classes)
            )
        precisions = len(parameters.inference.precisions)
        return {
            "reading images": a_file * count / processes,
            "features and evaluation": forward * count * (2 + sum(budgets)) + judged,
            "timing networks": networks * precisions * _A_NETWORK_S,
            "the rest": _REST_S,
        }


@torch.inference_mode()
def _forward(encoder: Encoder, images: Tensor) -> float:
    """Seconds of the dense branch for one image."""
    encoder.eval()
    return _each(lambda: encoder.dense(images), seconds=1.0) / len(images)


def _summary(parameters: EncoderPipelineParameters, images: np.ndarray) -> DataSummary:
    found = ImageSet(images, None, (), parameters.data.source)
    return summarise_data(found, found, found)


def _probe_step(config: ProbeConfig, dimensions: int, classes: int) -> float:
    """Seconds of a step of all runs of the linear evaluation."""
    probe = LinearProbe(dimensions, classes, config, seed=0)
    features = torch.rand(1, config.batch_size, dimensions)
    labels = torch.zeros(1, config.batch_size, dtype=torch.int64)
    return _each(lambda: probe.step(features, labels, 0.1), seconds=0.3)


def _each(call: Callable[[], Any], seconds: float = _EACH_S) -> float:
    """Median seconds of a call; the first, which allocates and picks kernels, does not count."""
    timed = seconds_of(call)
    timed()
    began, times = time.perf_counter(), [timed()]
    while time.perf_counter() - began < seconds:
        times.append(timed())
    return float(np.median(times))
