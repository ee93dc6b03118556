"""Parameters of the saliency360 pipeline."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from ssl_kedro.core.config import Config, ConfigError, Range
from ssl_kedro.encoders.frozen import origin_of
from ssl_kedro.encoders.importers import KINDS
from ssl_kedro.pipelines.parameters import (
    budget_list,
    checked_device,
    checked_graphs,
    checked_workers,
    name_list,
    without_nulls,
)
from ssl_kedro.pipelines.saliency360 import checks, plans
from ssl_kedro.pipelines.saliency360.recipes import RecipeParameters
from ssl_kedro.pipelines.saliency360.records import BASELINES
from ssl_kedro.saliency.bands import latitude_bands
from ssl_kedro.saliency.folds import part_names
from ssl_kedro.saliency.maps import MODES, Mode
from ssl_kedro.saliency.predict.prediction import Output, PredictConfig
from ssl_kedro.saliency.sources.config import SourceConfig
from ssl_kedro.training.config import TrainConfig

# The global head of a VGG halves its maps and pools 2 x 2: they need 3 rows of 16 px.
_VGG_ROWS_PX = 48
# Settings of a training that have no other value here.
_ONE = {"gate_lr_factor": "there are no gates"}
_OF_DECODERS = "decoders are trained in one process; train.{} is that of the pre-training"
_NO_NULLS = BeforeValidator(without_nulls)


@dataclass(frozen=True)
class ImageConfig(Config):
    """Size at which networks see panoramas, in px; multiples of 16 (thesis 4.3.2: 160 x 320).

    The width is twice the height.
    """

    height: Annotated[int, Range(at_least=16, at_most=2048)] = 160
    width: Annotated[int, Range(at_least=32, at_most=4096)] = 320

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("height", "width"):
            if getattr(self, name) % 16:
                raise ConfigError(name, getattr(self, name), "a multiple of 16")
        if self.width != 2 * self.height:
            expected = f"{2 * self.height}, twice the height: panoramas are 360 x 180 degrees"
            raise ConfigError("width", self.width, expected)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width


@dataclass(frozen=True)
class TruthConfig(Config):
    """What predictions are compared with.

    Args:
        source: "maps" as published, made from "fixations", or "auto": maps where there are any.
        sigma_deg: of the Gaussian on the sphere that fixations are smoothed with.
        height: rows of the maps that scores are computed on; columns are twice as many.
    """

    source: Literal["auto", "maps", "fixations"] = "auto"
    sigma_deg: Annotated[float, Range(above=0, at_most=90)] = 3.34
    height: Annotated[int, Range(at_least=16, at_most=2048)] = 160


@dataclass(frozen=True)
class ScoreConfig(Config):
    """How predictions are scored.

    Args:
        modes: "sphere" weighs pixels by solid angle, "planar" as the MIT benchmark, "authors" as
            the thesis' code.
        resamples: of the bootstrap over scenes.
        confidence: of the intervals.
        ceiling_repeats: random halves of the viewers.
        bands_deg: distances from the equator at which bands of latitude meet, ascending.
    """

    modes: Annotated[tuple[Mode, ...], Field(min_length=1), BeforeValidator(name_list)] = MODES
    resamples: Annotated[int, Range(at_least=1, at_most=100_000)] = 2000
    confidence: Annotated[float, Range(above=0, below=1)] = 0.95
    ceiling_repeats: Annotated[int, Range(at_least=1, at_most=1000)] = 5
    bands_deg: Annotated[tuple[float, ...], BeforeValidator(budget_list)] = (30.0, 60.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            latitude_bands(self.bands_deg)
        except ValueError as error:
            expected = "ascending latitudes between 0 and 90"
            raise ConfigError("bands_deg", [*self.bands_deg], expected) from error


@dataclass(frozen=True)
class PredictParameters(PredictConfig):
    """What to predict for; ``outputs`` may be one string, as "map;overlay"."""

    outputs: Annotated[tuple[Output, ...], BeforeValidator(name_list)] = PredictConfig.outputs


@dataclass(frozen=True)
class GalleryConfig(Config):
    """What the report shows.

    Args:
        panoramas: how many.
        poles: of how many of them the surroundings of the poles.
        pole_deg: how far from each pole; up to the equator.
    """

    panoramas: Annotated[int, Range(at_least=1, at_most=24)] = 6
    poles: Annotated[int, Range(at_least=1, at_most=12)] = 2
    pole_deg: Annotated[float, Range(above=0, below=90)] = 45.0


class Saliency360Parameters(RecipeParameters):
    """Everything of chapter 4 that a user may want to change.

    What encoders and models are made with comes from :class:`RecipeParameters`.

    Args:
        seed: of generated panoramas, weights, order, views, folds and draws.
        dataset: name of the data in results.
        data: panoramas with maps or fixations, and unlabelled ones.
        unlabelled: further panoramas for pre-training, by name.
        also_test_on: further panoramas that the models are only tested on, by name.
        pretrain_on: "unlabelled" panoramas, or "all": also those that decoders are trained
            and tested on, whose maps the pre-training never sees.
        folds: 0 = the given split; k = every scene is tested once by a decoder that has seen
            the other folds only.
        image: size that networks see.
        train, decoder_train: recipes of the pre-training and of the decoders.
        truth: what predictions are compared with.
        cache_mb: features of a frozen encoder are kept while a decoder is trained, if they
            take at most so much memory; else they are computed in each epoch.
        deploy: model that predicts and is exported.
        score: metrics and intervals.
        predict: what to predict, with ``--tags predict``.
        gallery: of the report.
        max_skipped: share of panoramas that may be unreadable.
    """

    seed: Annotated[int, Field(ge=0)] = 0
    dataset: str = "generated"
    data: SourceConfig = field(default_factory=SourceConfig)
    unlabelled: Annotated[dict[str, SourceConfig], _NO_NULLS] = Field(default_factory=dict)
    also_test_on: Annotated[dict[str, SourceConfig], _NO_NULLS] = Field(default_factory=dict)
    pretrain_on: Literal["unlabelled", "all"] = "all"
    folds: Annotated[int, Field(ge=0, le=100)] = 0
    image: ImageConfig = field(default_factory=ImageConfig)
    truth: TruthConfig = field(default_factory=TruthConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    decoder_train: TrainConfig = field(default_factory=TrainConfig)
    cache_mb: Annotated[int, Field(ge=0)] = 8000
    deploy: str = "contrastive"
    score: ScoreConfig = field(default_factory=ScoreConfig)
    predict: PredictParameters = field(default_factory=PredictParameters)
    gallery: GalleryConfig = field(default_factory=GalleryConfig)
    max_skipped: Annotated[float, Field(ge=0, le=1)] = 0.01

    @model_validator(mode="after")
    def _check(self) -> Self:
        for key, recipe in (("train", self.train), ("decoder_train", self.decoder_train)):
            checked_device(recipe.device)
            checked_graphs(recipe, key)
            alone = {n: _OF_DECODERS.format(n) for n in ("workers", "nodes")}
            for name, why in (_ONE | (alone if key == "decoder_train" else {})).items():
                if (value := getattr(recipe, name)) != 1:
                    raise ConfigError(f"{key}.{name}", value, f"1: {why}")
        checked_workers(self.train)
        taken = ("pretraining", self.dataset)
        checks.check_names("dataset", (self.dataset,))
        checks.check_names("unlabelled", self.unlabelled, *taken)
        checks.check_names("also_test_on", self.also_test_on, *taken, *self.unlabelled)
        checks.check_names("encoders", self.encoders)
        checks.check_names("models", self.models, *BASELINES, *self.datasets)
        if self.folds == 1:
            raise ConfigError("folds", 1, "0 (the given split) or at least 2")
        checks.check_plans(self)
        parts = sorted({model.part for model in self.models.values()} - {plans.MAIN})
        for name in self.ablations:
            checks.check_known("ablations", name, ("all", *parts))
        trained = [name for name, model in self.models.items() if model.kind == "trained"]
        checks.check_known("deploy", self.deploy, trained)
        return self

    @property
    def further_tags(self) -> tuple[str, ...]:
        """Parts that models belong to, and what is done with a model."""
        return ("predict", "export", *(model.part for model in self.models.values()))

    def check_missing(self, name: str) -> None:
        """Refuse to deploy a model that no run makes, and encoders whose file is not there."""
        _, kind, item, *_ = [*name.split("."), "", ""]
        if kind == "models" and item == self.deploy:
            known = ", ".join(self.chosen_models())
            expected = f"a model of this run ({known}), of its ablations, or of an earlier run"
            raise ConfigError("deploy", self.deploy, expected)
        if kind == "encoders" and name.endswith(".file"):
            plan = self.encoders[item]
            expected = "a bundle folder that exists"
            if plan.kind in KINDS:
                expected = f"a file that exists, from {origin_of(plan.kind)}"
            raise ConfigError(f"encoders.{item}.file", plan.file, expected)
        if kind == "models" and name.endswith(".map_folder"):
            raise ConfigError(f"models.{item}.folder", self.models[item].folder, "one that exists")

    def check_seen(self, node: str, constants: Mapping[str, Any], seen: Mapping[str, Any]) -> None:
        """See :func:`~ssl_kedro.pipelines.saliency360.checks.check_seen`."""
        checks.check_seen(self, node, seen)
        if node == "given_encoder" and "file" in seen:
            checks.checked_network(self, constants["encoder"], seen["file"])
        if node == "read_maps" and {"source", "folder"} <= {*seen}:
            checks.check_maps(self, seen["source"], seen["folder"], own=constants["own"])

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names of the data that models are tested on, the run's own first."""
        return (self.dataset, *self.also_test_on)

    def covered(self, model: str) -> tuple[str, ...]:
        """Names of the data that a model predicts; others' maps may be of some only."""
        plan = self.models[model]
        return tuple(name for name in self.datasets if plan.covers(name, self.dataset))

    @property
    def parts(self) -> tuple[str, ...]:
        """Parts that each model is trained on."""
        return part_names(self.folds)

    @property
    def deployed_part(self) -> str:
        """The part whose decoder is used."""
        return self.parts[-1]

    def check_size(self, name: str) -> None:
        """Refuse to pre-train an encoder on images that its heads cannot halve once more.

        Raises:
            ConfigError: a VGG, whose maps have fewer than 3 rows.
        """
        height, vgg = self.image.height, self.encoder_config(name).architecture == "vgg16"
        vgg = vgg and self.contrast_of(name).heads == "authors"
        if vgg and self.encoders[name].kind == "contrastive" and height < _VGG_ROWS_PX:
            expected = f"at least {_VGG_ROWS_PX}, to pre-train encoders.{name}, a VGG-16"
            raise ConfigError("image.height", height, expected)
