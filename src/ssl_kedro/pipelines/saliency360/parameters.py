"""Parameters of the saliency360 pipeline."""

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from ssl_kedro.core.config import ConfigError
from ssl_kedro.encoders.frozen import origin_of
from ssl_kedro.encoders.importers import KINDS
from ssl_kedro.pipelines.parameters import (
    checked_device,
    checked_graphs,
    checked_workers,
    without_nulls,
)
from ssl_kedro.pipelines.saliency360 import checks, plans
from ssl_kedro.pipelines.saliency360.recipes import RecipeParameters
from ssl_kedro.pipelines.saliency360.records import BASELINES
from ssl_kedro.pipelines.saliency360.sections import (
    GalleryConfig,
    ImageConfig,
    PredictParameters,
    ScoreConfig,
    TimingConfig,
    TruthConfig,
)
from ssl_kedro.saliency.folds import part_names
from ssl_kedro.saliency.panoramas import Split
from ssl_kedro.saliency.sources.config import JoinedConfig, SourceConfig
from ssl_kedro.training.config import TrainConfig

# The global head of a VGG halves its maps and pools 2 x 2: they need 3 rows of 16 px.
_VGG_ROWS_PX = 48
# Settings of a training that have no other value here.
_ONE = {"gate_lr_factor": "there are no gates"}
_OF_DECODERS = "decoders are trained in one process; train.{} is that of the pre-training"
_NO_NULLS = BeforeValidator(without_nulls)


class Saliency360Parameters(RecipeParameters):
    """Everything of chapter 4 that a user may want to change.

    What encoders and models are made with comes from :class:`RecipeParameters`.

    Args:
        seed: of generated panoramas, weights, order, views, folds and draws.
        dataset: name of the data in results.
        data: panoramas with maps or fixations, and unlabelled ones, of one source or several.
        unlabelled: further panoramas for pre-training, by name.
        also_test_on: further sources by name, whose test parts the models are only tested on.
        pretrain_on: "unlabelled" panoramas, "train": also those that decoders are trained on, or
            "all": also those that they are tested on. No pre-training ever sees a map.
        folds: 0 = the given split; k = every scene is tested once by a decoder that has seen
            the other folds only.
        image: size that networks see.
        train, decoder_train: recipes of the pre-training and of the decoders.
        truth: what predictions are compared with.
        cache_mb: features of a frozen encoder are kept while a decoder is trained, if they
            take at most so much memory; else they are computed in each epoch.
        deploy: model that predicts and is exported.
        score: metrics and intervals.
        timing: what the run time is measured on.
        predict: what to predict, with ``--tags predict``.
        gallery: of the report.
        max_skipped: share of panoramas that may be unreadable.
    """

    seed: Annotated[int, Field(ge=0)] = 0
    dataset: str = "generated"
    data: JoinedConfig = field(default_factory=JoinedConfig)
    unlabelled: Annotated[dict[str, SourceConfig], _NO_NULLS] = Field(default_factory=dict)
    also_test_on: Annotated[dict[str, SourceConfig], _NO_NULLS] = Field(default_factory=dict)
    pretrain_on: Literal["unlabelled", "train", "all"] = "all"
    folds: Annotated[int, Field(ge=0, le=100)] = 0
    image: ImageConfig = field(default_factory=ImageConfig)
    truth: TruthConfig = field(default_factory=TruthConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    decoder_train: TrainConfig = field(default_factory=TrainConfig)
    cache_mb: Annotated[int, Field(ge=0)] = 8000
    deploy: str = "contrastive"
    score: ScoreConfig = field(default_factory=ScoreConfig)
    timing: TimingConfig = field(default_factory=TimingConfig)
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
        if self.folds and self.pretrain_on == "train":
            expected = '"unlabelled" or "all": each panorama is tested in one of the folds'
            raise ConfigError("pretrain_on", self.pretrain_on, expected)
        if self.timing.data is not None:
            checks.check_known("timing.data", self.timing.data, self.datasets)
        checks.check_plans(self)
        parts = sorted({p for model in self.models.values() for p in model.part} - {plans.MAIN})
        for name in self.ablations:
            checks.check_known("ablations", name, ("all", *parts))
        trained = [name for name, model in self.models.items() if model.kind == "trained"]
        checks.check_known("deploy", self.deploy, trained)
        return self

    @property
    def further_tags(self) -> tuple[str, ...]:
        """Parts that models belong to, and what is done with a model."""
        parts = (part for model in self.models.values() for part in model.part)
        return ("predict", "export", *parts)

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

    def configs_of(self, dataset: str) -> tuple[SourceConfig, ...]:
        """The sources that tested data are made of."""
        return (self.data if dataset == self.dataset else self.also_test_on[dataset]).parts

    @property
    def pretraining_splits(self) -> tuple[Split, ...]:
        """Splits that encoders are pre-trained on; of those that are tested only for "all"."""
        more: dict[str, tuple[Split, ...]] = {"train": ("train",), "all": ("train", "test")}
        return ("unlabelled", *more.get(self.pretrain_on, ()))

    @property
    def learnt_from(self) -> dict[str, tuple[Split, ...]]:
        """Splits of each source that an encoder or a decoder learns from."""
        splits = self.pretraining_splits
        return {self.dataset: (*splits, "train"), **dict.fromkeys(self.unlabelled, splits)}

    @property
    def tested(self) -> dict[str, tuple[Split, ...]]:
        """Splits of each source that nothing may learn from.

        The run's own are not among them where ``pretrain_on`` or folds say otherwise.
        """
        own = () if self.folds or "test" in self.pretraining_splits else (self.dataset,)
        return dict.fromkeys((*own, *self.also_test_on), ("test",))

    @property
    def timed(self) -> str:
        """Name of the data whose panoramas are timed."""
        return self.timing.data or self.dataset

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
