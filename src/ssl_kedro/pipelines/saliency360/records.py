"""What passes between the nodes of chapter 4; each is a JSON file."""

from dataclasses import dataclass, field

from ssl_kedro.saliency.evaluation import Estimate, Estimates, Scores
from ssl_kedro.saliency.gating_time import GatingTime

# A row an epoch, of numbers by name.
History = list[dict[str, int | float]]
# What models are compared with, in the order of tables.
BASELINES = ("uniform", "equator", "mean", "ceiling")


@dataclass(frozen=True)
class SourceSummary:
    """Numbers of what a source of panoramas holds; its fingerprint changes with that.

    Files of a kind that is not read are ``passed_over``, by ending.
    """

    panoramas: int
    scenes: int
    splits: dict[str, int]
    fingerprint: str
    passed_over: dict[str, int] = field(default_factory=dict)


Data = dict[str, SourceSummary]


@dataclass(frozen=True)
class TruthSummary:
    """How many panoramas have what; trainings wait for it."""

    panoramas: int
    made_from_fixations: int
    with_fixations: int
    fixations: int


@dataclass(frozen=True)
class Training:
    """How an encoder or a decoder was trained, and on how many images.

    Args:
        temperature: of a contrastive loss.
        cached: whether a frozen encoder's maps were kept in memory.
    """

    history: History = field(default_factory=list)
    epochs: int = 0
    seconds: float = 0.0
    images: int = 0
    temperature: float | None = None
    precision: str | None = None
    device: str | None = None
    cached: bool | None = None


@dataclass(frozen=True)
class Scored:
    """Scores of one model or baseline on single panoramas, by mode and metric.

    There is one a panorama, None where it has none. ``encoder_macs`` is a model's mean over them.
    """

    names: list[str]
    scenes: list[str]
    scores: Scores
    encoder_macs: float | None = None


Baselines = dict[str, Scored]


@dataclass(frozen=True)
class StageTime:
    """Median milliseconds of one stage of the run time a panorama, ``batch`` panoramas at a time.

    The device is as it calls itself, the threads are PyTorch's, the picture is its file's size.
    """

    stage: str
    model: str
    batch: int
    ms: float
    device: str
    threads: int
    picture: str = ""


StageTimes = list[StageTime]
# Of a gated encoder; none where it has no masks.
GatingTimes = list[GatingTime]


@dataclass(frozen=True)
class TestedData:
    """A data set that models are tested on; None = not known.

    Args:
        folds: 0 = the given split.
        truth: what predictions are compared with, in words.
        role: "main", or "out_of_distribution".
        skipped: (name, reason) of panoramas that could not be decoded.
        sigma_deg: of the Gaussian that fixations were smoothed with; None = maps as published.
        published: name in the thesis' tables, "" = not among them.
        differs: what of data and protocol is not the thesis'.
    """

    images: int
    scenes: int
    folds: int
    viewers: int | None
    fixations: int | None
    truth: str
    role: str
    skipped: list[tuple[str, str]]
    sigma_deg: float | None = None
    published: str = ""
    differs: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class EncoderResult(Training):
    """An encoder, how it was pre-trained, and what it costs a panorama.

    Args:
        width: share of the thesis' channels; None of a network from elsewhere.
        macs: mean over the tested panoramas.
        masked: they are what the masks of a gated branch leave.
        file: of one from elsewhere, whose branches it says which belong together.
        gating: beside its dense branch, of one with masks.
    """

    kind: str
    architecture: str
    width: float | None
    local_weight: float
    attention: bool
    projections: bool
    chance_loss: float
    macs: int
    parameters: int
    masked: bool = False
    file: str | None = None
    gating: GatingTime | None = None


@dataclass(frozen=True, kw_only=True)
class ModelResult(Training):
    """An encoder with a decoder, how the decoder was trained, and what both cost a panorama.

    ``differs`` says what of the networks and their trainings is not the thesis'.
    """

    encoder: str
    decoder: str
    fine_tune: bool
    recipe: list[str]
    decoder_macs: int
    encoder_macs: int
    decoder_parameters: int
    differs: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class PerImage:
    """Scores of all models and baselines on single panoramas; see :class:`Scored`."""

    names: list[str]
    scenes: list[str]
    scores: dict[str, Scores]


@dataclass(frozen=True)
class Results:
    """Everything that tables and report are made of, data sets, encoders and models by name.

    Args:
        recipe: "best", "text", or quirks of the authors' code.
        image: "height" and "width" that networks see, in px.
        intervals: "level" and "resamples" of the bootstrap over scenes.
        datasets: the run's own first.
        scores: means by data set and by model or baseline.
        differences: the same less the equator prior, paired by panorama.
        runtime: of the deployed model.
        panoramas: of all sources.
        given: names of models whose maps somebody else made.
    """

    seed: int
    recipe: str
    image: dict[str, int]
    intervals: dict[str, float | int]
    datasets: dict[str, TestedData]
    encoders: dict[str, EncoderResult]
    models: dict[str, ModelResult]
    scores: dict[str, dict[str, Estimates]]
    differences: dict[str, dict[str, Estimates]]
    per_image: dict[str, PerImage]
    runtime: list[StageTime]
    panoramas: Data
    given: list[str] = field(default_factory=list)

    @property
    def main(self) -> str:
        """Name of the run's own data."""
        return next(name for name, found in self.datasets.items() if found.role == "main")

    def mode(self, dataset: str) -> str:
        """Mode that reports show: by solid angle, where it was scored."""
        modes = next(iter(self.scores[dataset].values()), {})
        return "sphere" if "sphere" in modes or not modes else next(iter(modes))

    def estimate(self, name: str, metric: str) -> Estimate:
        """Of a model or baseline on the run's own data, unknown where it was not measured."""
        modes = self.scores.get(self.main, {}).get(name, {})
        return modes.get(self.mode(self.main), {}).get(metric) or Estimate()
