"""What passes between the nodes that time and export encoders, and lies as JSON."""

from dataclasses import dataclass
from typing import cast

from ssl_kedro.inference.comparison import Comparison, NetworkName
from ssl_kedro.inference.engines.probe import Probe
from ssl_kedro.inference.export import ExportReport, FileReport
from ssl_kedro.inference.forcing import ForcingReport
from ssl_kedro.inference.network import CompactNetwork
from ssl_kedro.pipelines.gated.records import WrittenAccuracies


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
    def of(cls, network: CompactNetwork) -> "ChannelCounts":
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
    def of(cls, report: ForcingReport) -> "ForcedGates":
        """A report as shares."""
        rows = report.rows()
        off = sum(cast(int, row["forced_off"]) for row in rows) * report.images
        opened = sum(cast(int, row["opened"]) for row in rows)
        shares = {
            "changed_images": report.changed_images / report.images,
            "opened_share": opened / max(1, off),
        }
        return cls(**vars(report) | shares | {"blocks": rows})


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
    batches: dict[str, Comparison]


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
Measurements = dict[str, Measurement]
Exports = dict[str, Export]
# Races of the dense network, by batch size.
DenseEngines = dict[str, Probe]
