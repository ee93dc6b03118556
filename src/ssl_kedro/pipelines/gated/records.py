"""What passes between the nodes of chapters 5 and 6, and lies as JSON in their results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, cast

from pydantic import SerializerFunctionWrapHandler, TypeAdapter, WrapSerializer

from ssl_kedro.encoders.base import Branch
from ssl_kedro.evaluation.accuracies import Accuracies, Costs
from ssl_kedro.evaluation.features import BlockUsage
from ssl_kedro.inference.comparison import Comparison, NetworkName
from ssl_kedro.inference.engines.probe import Probe
from ssl_kedro.inference.export import ExportReport, FileReport
from ssl_kedro.inference.forcing import ForcingReport
from ssl_kedro.inference.network import CompactNetwork


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
class ChannelCounts:
    """Inner channels of a compact network, over all blocks.

    Args:
        all: of the encoder.
        always_on: forced open.
        dependent: left to their gates.
        removed: forced shut.
    """

    all: int
    always_on: int
    dependent: int
    removed: int

    @classmethod
    def of(cls, network: CompactNetwork) -> ChannelCounts:
        """Counts of one network."""
        blocks = network.plan.blocks
        return cls(
            all=sum(block.channels for block in blocks),
            always_on=sum(block.always_on for block in blocks),
            dependent=network.plan.dependent,
            removed=sum(block.channels - len(block.kept) for block in blocks),
        )


@dataclass(frozen=True)
class StaticNetwork:
    """The plain narrow network.

    Args:
        budget: share of the dense MACs that it may cost.
        threshold: least share of training images on which a kept channel is open; None = there
            is no network.
        reason: why there is none; "" where there is.
    """

    budget: float
    threshold: float | None
    reason: str


@dataclass(frozen=True)
class ForcedGates:
    """What forcing gates does on the evaluation images.

    Args:
        images: how many.
        changed_images: share of them on which a mask is changed.
        opened_share: share of the decisions of gates forced shut that would be open.
        changed_gates: mean number an image that are forced another way.
        followed_gates: mean number an image that decide another way because of it.
        feature_change: mean over images of |compact - gated| / |gated|.
        largest_change: the largest of these.
        blocks: see :meth:`~ssl_kedro.inference.forcing.ForcingReport.rows`.
    """

    images: int
    changed_images: float
    opened_share: float
    changed_gates: float
    followed_gates: float
    feature_change: float
    largest_change: float
    blocks: list[dict[str, str | int | float]]

    @classmethod
    def of(cls, report: ForcingReport) -> ForcedGates:
        """A report as shares."""
        rows = report.rows()
        off = sum(cast(int, row["forced_off"]) for row in rows) * report.images
        opened = sum(cast(int, row["opened"]) for row in rows)
        return cls(
            images=report.images,
            changed_images=report.changed_images / report.images,
            opened_share=opened / max(1, off),
            changed_gates=report.changed_gates,
            followed_gates=report.followed_gates,
            feature_change=report.feature_change,
            largest_change=report.largest_change,
            blocks=rows,
        )


@dataclass(frozen=True)
class NetworkTime(Probe):
    """One network on its best engine, and the race which that won.

    Args:
        ms: median milliseconds of a batch.
        measured_ratio: time of the dense network over its own.
    """

    ms: float
    measured_ratio: float


@dataclass(frozen=True)
class BatchTimes:
    """Networks side by side at one batch size.

    Args:
        batch_size: images a batch.
        threads: of each engine.
        chosen: what to run, "gated" or "dense".
        ratio: time of the dense network over that of what is chosen.
        networks: by name.
    """

    batch_size: int
    threads: int
    chosen: NetworkName
    ratio: float
    networks: dict[NetworkName, NetworkTime]

    @classmethod
    def of(cls, comparison: Comparison) -> BatchTimes:
        """Milliseconds, engines and ratios of a comparison."""
        return cls(
            comparison.batch_size,
            comparison.threads,
            comparison.chosen,
            comparison.ratio,
            {
                name: NetworkTime(
                    **vars(timing.probe),
                    ms=timing.ms,
                    measured_ratio=comparison.measured_ratio(name),
                )
                for name, timing in comparison.timings.items()
            },
        )


@dataclass(frozen=True)
class Measurement:
    """What gating one encoder gains in time.

    Args:
        usage_images: training images over which the gates were counted.
        image_size: side in px.
        channels: of the compact gated network.
        macs: mean an image, by network: dense, gated and, where there is one, static.
        accuracies: of the gated network with its gates forced, and of the static one.
        static: which channels that keeps, or why there is none.
        forced: what forcing gates changes.
        batches: times by batch size.
    """

    usage_images: int
    image_size: int
    channels: ChannelCounts
    macs: dict[NetworkName, float]
    accuracies: dict[NetworkName, WrittenAccuracies]
    static: StaticNetwork
    forced: ForcedGates
    batches: dict[str, BatchTimes]


@dataclass(frozen=True)
class Export:
    """Files of one encoder's compact and static networks.

    Args:
        folder: where they lie.
        files: how far each is from the network, by "compact", "gated" and "static".
        static_share: cost of the static network, share of the dense one's.
    """

    folder: str
    files: dict[str, ExportReport | FileReport]
    static_share: float


# Of all models, by their names in the metrics, "dual.budget_30".
Evaluations = dict[str, Evaluation]
Histories = dict[str, list[dict[str, float]]]
Measurements = dict[str, Measurement]
Exports = dict[str, Export]
# Races of the dense network, by batch size.
DenseEngines = dict[str, Probe]
# Linear accuracies on another data set, one a run of the probe.
TransferAccuracies = dict[Branch, tuple[float, ...]]


def plain(value: Any) -> Any:
    """A record, or a dictionary of them, as its JSON has it."""
    if isinstance(value, dict):
        return {name: plain(found) for name, found in value.items()}
    return TypeAdapter(type(value)).dump_python(value, mode="json")
