"""What passes between the nodes that time and export encoders, and lies as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, cast

from ssl_kedro.core.precision import Precision
from ssl_kedro.evaluation.forms import Judgement
from ssl_kedro.evaluation.paired import Verdict
from ssl_kedro.inference.comparison import Comparison, NetworkName
from ssl_kedro.inference.engines.probe import EngineName, Probe
from ssl_kedro.inference.export import ExportReport, FileReport
from ssl_kedro.inference.forcing import ForcingReport
from ssl_kedro.inference.planned import PlannedNetwork
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
    def of(cls, network: PlannedNetwork) -> "ChannelCounts":
        """Counts of one network."""
        blocks = network.plan.layers
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
        threshold: least share of training images on which a kept channel is open; None = the
            budget cannot be met.
        reason: why there is none beside the gated network; "" where there is.
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


class Gates(NamedTuple):
    """What was found about an encoder's gates; see :class:`Measurement`."""

    channels: ChannelCounts
    static: StaticNetwork
    forced: ForcedGates


@dataclass(frozen=True)
class Form:
    """One of an encoder's networks in one precision, as certain engines compute it.

    Args:
        network: its name.
        precision: that it computes in.
        engines: that ran it fastest at some batch size; of f32 all give the same features.
        accuracies: on the evaluation images, on features of whole images: of PyTorch in f32, of
            such an engine in other precisions.
        judgement: against the same network in f32; None for that itself.
    """

    network: NetworkName
    precision: Precision
    engines: tuple[EngineName, ...]
    accuracies: WrittenAccuracies
    judgement: Judgement | None = None


@dataclass(frozen=True)
class Footprint:
    """What a network in a precision takes.

    Args:
        file_bytes: of its ONNX file; None where onnx is not installed. bf16 is read from the file
            in float32.
        memory_mb: by batch size the resident memory that a process of its own takes at most, in
            MB, while the fastest engine is loaded and runs, less what it took before; None where
            the system does not tell.
    """

    file_bytes: int | None
    memory_mb: dict[str, float | None]


@dataclass(frozen=True)
class Measurement:
    """What the networks of one encoder cost and are worth.

    Args:
        usage_images: training images over which the gates were counted; 0 without gates.
        image_size: side in px.
        macs: mean an image, by network: "dense" is that of the run's shape.
        accuracies: in f32, of the gated network with its gates forced, and of the static one.
        batches: times by batch size.
        channels: of the compact gated network; None without gates, as are the next two.
        static: which channels the static network keeps, or why there is none.
        forced: what forcing gates changes.
        forms: every network of the encoder in every precision that was measured.
        footprints: file and memory of each, by :func:`~ssl_kedro.inference.comparison.network_key`.
    """

    usage_images: int
    image_size: int
    macs: dict[NetworkName, float]
    accuracies: dict[NetworkName, WrittenAccuracies]
    batches: dict[str, Comparison]
    channels: ChannelCounts | None = None
    static: StaticNetwork | None = None
    forced: ForcedGates | None = None
    forms: tuple[Form, ...] = ()
    footprints: dict[str, Footprint] = field(default_factory=dict)

    @property
    def gates(self) -> Gates | None:
        """What was found about the gates; None without any."""
        if self.channels is None or self.static is None or self.forced is None:
            return None
        return Gates(self.channels, self.static, self.forced)

    def verdict(self, network: NetworkName, precision: Precision) -> Verdict | None:
        """The worst on any engine that was fastest at some batch size; None = nobody judged it."""
        same = self._same(network, precision)
        found = {form.judgement.verdict for form in same if form.judgement is not None}
        order: tuple[Verdict, ...] = ("loses", "undecided", "holds")
        return next((one for one in order if one in found), None)

    def offered(self, network: NetworkName, precision: Precision) -> bool | None:
        """Whether a user may run it; None = it was not measured.

        int8 has to hold, bf16 is kept unless it loses.
        """
        if not self._same(network, precision):
            return None
        allowed = {None, "holds", "undecided"} if precision == "bf16" else {None, "holds"}
        return self.verdict(network, precision) in allowed

    def _same(self, network: NetworkName, precision: Precision) -> list[Form]:
        return [f for f in self.forms if (f.network, f.precision) == (network, precision)]

    def form(self, network: NetworkName, precision: Precision, engine: EngineName) -> Form | None:
        """A network as an engine computes it, or else as another one does in this precision."""
        same = self._same(network, precision)
        return next((f for f in same if engine in f.engines), same[0] if same else None)


@dataclass(frozen=True)
class Deployment:
    """What a user should run.

    Args:
        why: in a sentence.
        model: key of the model; "" = there is nothing to choose by.
        network: of its encoder.
        precision: that it computes in.
        engines: the fastest, by batch size.
        ms_per_image: on these.
        ratio: time of the fastest dense network that holds over its own, by batch size: the dense
            baseline's, or the model's own.
        f32_ratio: the same of the dense network in f32.
        measure: what it was chosen by: "linear", "knn" or "neighbours".
        accuracy: by that, as a fraction; the mean over seeds, on the engine of the lowest.
        seeds: how many; files and times are of the first.
        best: model, network and precision of the most accurate.
        best_accuracy: of that.
        within: points that the accuracy may be below the best.
    """

    why: str
    model: str = ""
    network: str = ""
    precision: str = ""
    engines: dict[str, str] = field(default_factory=dict)
    ms_per_image: dict[str, float] = field(default_factory=dict)
    ratio: dict[str, float] = field(default_factory=dict)
    f32_ratio: dict[str, float] = field(default_factory=dict)
    measure: str = ""
    accuracy: float | None = None
    seeds: int = 1
    best: str = ""
    best_accuracy: float | None = None
    within: float = 0.0


@dataclass(frozen=True)
class Export:
    """Files of one encoder's compact and static networks.

    Args:
        folder: where they lie.
        files: how far each is from the network in f32, by "compact" (a folder, of encoders with
            gates) and the names of its networks; those that hold in int8 also as "<network>_int8"
            and, where the C++ kernel ran them, "<network>_int8_kernel" (a folder).
        static_share: cost of the static network, share of the dense one's; None without one
            beside the gated network.
    """

    folder: str
    files: dict[str, ExportReport | FileReport]
    static_share: float | None


def why_missing(measurements: Mapping[str, Measurement]) -> dict[str, str]:
    """Why networks could not be timed in a precision, by that."""
    found: dict[str, str] = {}
    for measured in measurements.values():
        for compared in measured.batches.values():
            found |= {key.rpartition(" ")[2]: why for key, why in compared.missing.items()}
    return found


def of_gated(measurements: Mapping[str, Measurement]) -> dict[str, tuple[Measurement, Gates]]:
    """Those of encoders with gates."""
    return {k: (of, of.gates) for k, of in measurements.items() if of.gates is not None}


@dataclass(frozen=True)
class DeployedFiles:
    """The folder to deploy.

    Args:
        folder: where it lies.
        files: names in it by role: "onnx", and "kernel" for the C++ kernel.
        bytes: of all of it.
    """

    folder: str
    files: dict[str, str]
    bytes: int


@dataclass(frozen=True)
class HubFolder:
    """The network to deploy as a folder of the Hugging Face Hub.

    Args:
        folder: where it lies.
        file: its check; None = nothing was written.
        why: nothing was.
        sent: address of the page that it was sent to; "" = it was not.
    """

    folder: str
    file: FileReport | None = None
    why: str = ""
    sent: str = ""


# Of all models, by their names in the metrics, "dual.budget_30".
Measurements = dict[str, Measurement]
Exports = dict[str, Export]
# Races of the dense network, by batch size.
DenseEngines = dict[str, Probe]
