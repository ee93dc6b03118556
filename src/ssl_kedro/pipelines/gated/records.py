"""What passes between the nodes of chapters 5 and 6, and lies as JSON in their results."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import SerializerFunctionWrapHandler, WrapSerializer

from ssl_kedro.encoders.base import Branch
from ssl_kedro.evaluation.accuracies import Accuracies, Costs
from ssl_kedro.evaluation.features import BlockUsage


def _measured_only(value: object, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
    return {name: found for name, found in write(value).items() if found is not None}


# Files name only what was measured: nothing without labels.
WrittenAccuracies = Annotated[Accuracies, WrapSerializer(_measured_only)]


@dataclass(frozen=True)
class Training:
    """One training, as the graph binds it to a node.

    Args:
        method: its name.
        budget: t_d, or None for a dense method.
        seed: of weights, order, views and gate noise.
        gates: gate parameters that differ from the run's own.
        width: of the encoder, where it is narrower than the run's own.
        train: fields of the method's recipe that it has otherwise.
        options: of the method, that it has otherwise.
        derived: how its encoder is cut from that of another training, "pruned", "narrowed" or
            "budgeted"; "" = it is trained itself.
    """

    method: str
    budget: float | None
    seed: int
    gates: Mapping[str, Any] = field(default_factory=dict)
    width: int | None = None
    train: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    derived: str = ""

    @property
    def label(self) -> str:
        """Name on the progress bar."""
        at = f" {self.derived}" if self.derived else ""
        at += "" if self.budget is None else f" at {self.budget:.0%}"
        at += "" if self.width is None else f" of width {self.width}"
        differing = {**self.gates, **self.options, **self.train}
        changed = "".join(f", {key} {value}" for key, value in differing.items())
        return f"{self.method}{at}{changed}, seed {self.seed}"


@dataclass(frozen=True)
class DataSummary:
    """The images of a run.

    Args:
        source: name of their source.
        labelled: whether training and evaluation images have labels.
        class_names: in the order of the labels.
        image_size: side in px.
        pixel_mean: of each channel of the pre-training images, in [0, 1].
        pixel_std: the same.
        images: how many, by part: pretrain, train, eval.
        fingerprints: by part.
        skipped: path and reason of each file that could not be read.
        passed_over: numbers of files of a kind that is not read, by ending.
    """

    source: str
    labelled: bool
    class_names: tuple[str, ...]
    image_size: int
    pixel_mean: tuple[float, float, float]
    pixel_std: tuple[float, float, float]
    images: dict[str, int]
    fingerprints: dict[str, str]
    skipped: tuple[tuple[str, str], ...] = ()
    passed_over: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingSummary:
    """How a training went.

    Args:
        epochs: that were trained.
        seconds: that they took.
        images_per_second: median over the epochs.
        macs: multiply-accumulates of all steps.
        collapsed: whether all embeddings have become nearly one point.
    """

    epochs: int
    seconds: float
    images_per_second: float
    macs: int
    collapsed: bool


@dataclass(frozen=True)
class TrainingRecord(TrainingSummary):
    """How a training went, epoch by epoch.

    Args:
        history: losses and rates of each epoch, by name.
    """

    history: list[dict[str, float]]

    @property
    def summary(self) -> TrainingSummary:
        """All but the epochs."""
        return TrainingSummary(
            self.epochs, self.seconds, self.images_per_second, self.macs, self.collapsed
        )


@dataclass(frozen=True)
class Evaluation:
    """One trained encoder.

    Args:
        method: that trained it.
        budget: t_d; None = it has no gates.
        seed: of its training.
        branches: accuracies of each branch.
        macs: what an image costs.
        channel_usage: of each block's gates over the evaluation images; empty without gates.
        parameters: numbers in the encoder.
        training: how it went.
    """

    method: str
    budget: float | None
    seed: int
    branches: dict[Branch, WrittenAccuracies]
    macs: Costs
    channel_usage: tuple[BlockUsage, ...]
    parameters: int
    training: TrainingSummary


@dataclass(frozen=True)
class WithLabels:
    """What one branch makes of a share of the labels; accuracies are top-1 in [0, 1].

    Args:
        share: of the labels.
        labels: how many these are.
        fine_tuned: all weights and a linear layer trained with them.
        linear: a linear layer on features that stay as they are, mean of the probe's runs.
        knn: nearest neighbours among the images that have a label.
        macs: multiply-accumulates of an image after fine-tuning, mean over the evaluation images.
        dense_macs: of the whole network with every channel.
    """

    share: float
    labels: int
    fine_tuned: float
    linear: float
    knn: float
    macs: float
    dense_macs: int


# Of one encoder, by branch, one a share of the labels.
FineTunings = dict[Branch, tuple[WithLabels, ...]]
# Labels of each share, by the share as a word.
LabelCounts = dict[str, int]


# Of all models, by their names in the metrics, "dual.budget_30".
Evaluations = dict[str, Evaluation]
Histories = dict[str, list[dict[str, float]]]
# Of networks that are cut from others, by their names in the metrics.
Usages = dict[str, tuple[BlockUsage, ...]]
# Linear accuracies on another data set, one a run of the probe.
TransferAccuracies = dict[Branch, tuple[float, ...]]
