"""Parameters of the saliency360 pipeline."""

import dataclasses
from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BeforeValidator, Field, model_validator

from ssl_kedro.augment.config import PanoramaViewConfig
from ssl_kedro.core.config import Config, ConfigError
from ssl_kedro.encoders.frozen import origin_of
from ssl_kedro.encoders.importers import KINDS
from ssl_kedro.encoders.panorama_encoder import PanoramaEncoderConfig
from ssl_kedro.encoders.saliency_model import DecoderConfig
from ssl_kedro.methods.panorama_contrast import ContrastConfig
from ssl_kedro.methods.saliency_decoding import DecodingConfig
from ssl_kedro.pipelines.parameters import (
    Names,
    PipelineParameters,
    checked_device,
    checked_graphs,
    checked_workers,
    without_nulls,
)
from ssl_kedro.pipelines.saliency360 import checks, plans
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
C = TypeVar("C", bound=Config)


class Saliency360Parameters(PipelineParameters):
    """Everything of chapter 4 that a user may want to change.

    Args:
        seed: of generated panoramas, weights, order, views, folds and draws.
        dataset: name of the data in results.
        recipe: "best", "text" (as the thesis prints it), "authors", or some of the authors'
            quirks by name.
        data: panoramas with maps or fixations, and unlabelled ones, of one source or several.
        unlabelled: further panoramas for pre-training, by name.
        also_test_on: further sources by name, whose test parts the models are only tested on.
        pretrain_on: "unlabelled" panoramas, "train": also those that decoders are trained on, or
            "all": also those that they are tested on. No pre-training ever sees a map.
        folds: 0 = the given split; k = every scene is tested once by a decoder that has seen
            the other folds only.
        image: size that networks see.
        truth: what predictions are compared with.
        encoder, decoder: shapes of the networks.
        contrast, views, train: objective, views and recipe of the pre-training.
        decoding, decoder_train: loss and augmentation, and recipe, of the decoders.
        cache_mb: features of a frozen encoder are kept while a decoder is trained, if they
            take at most so much memory; else they are computed in each epoch.
        encoders, models: by name.
        ablations: parts of ``models`` beyond "main"; "all" = every one.
        deploy: model that predicts and is exported.
        score: metrics and intervals.
        timing: what the run time is measured on.
        predict: what to predict, with ``--tags predict``.
        gallery: of the report.
        max_skipped: share of panoramas that may be unreadable.
    """

    seed: Annotated[int, Field(ge=0)] = 0
    dataset: str = "generated"
    recipe: Annotated[tuple[plans.Quirk, ...], BeforeValidator(plans.named_quirks)] = ()
    data: JoinedConfig = field(default_factory=JoinedConfig)
    unlabelled: Annotated[dict[str, SourceConfig], _NO_NULLS] = Field(default_factory=dict)
    also_test_on: Annotated[dict[str, SourceConfig], _NO_NULLS] = Field(default_factory=dict)
    pretrain_on: Literal["unlabelled", "train", "all"] = "all"
    folds: Annotated[int, Field(ge=0, le=100)] = 0
    image: ImageConfig = field(default_factory=ImageConfig)
    truth: TruthConfig = field(default_factory=TruthConfig)
    encoder: PanoramaEncoderConfig = field(default_factory=PanoramaEncoderConfig)
    contrast: ContrastConfig = field(default_factory=ContrastConfig)
    views: PanoramaViewConfig = field(default_factory=PanoramaViewConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    decoding: DecodingConfig = field(default_factory=DecodingConfig)
    decoder_train: TrainConfig = field(default_factory=TrainConfig)
    cache_mb: Annotated[int, Field(ge=0)] = 8000
    encoders: Annotated[dict[str, plans.EncoderPlan], _NO_NULLS] = Field(default_factory=dict)
    models: Annotated[dict[str, plans.ModelPlan], _NO_NULLS] = Field(default_factory=dict)
    ablations: Names = ()
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
        for name, model in self.models.items():
            checks.check_known(f"models.{name}.encoder", model.encoder, self.encoders)
            checks.check_names(f"models.{name}.part", model.part)
            plans.check_recipe(f"models.{name}.recipe", model.recipe, plans.DECODING_QUIRKS)
        for name, encoder in self.encoders.items():
            self.contrast_of(name)
            plans.check_recipe(f"encoders.{name}.recipe", encoder.recipe, plans.VIEW_QUIRKS)
        parts = sorted({p for model in self.models.values() for p in model.part} - {plans.MAIN})
        for name in self.ablations:
            checks.check_known("ablations", name, ("all", *parts))
        checks.check_known("deploy", self.deploy, self.models)
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

    def check_seen(self, node: str, constants: Mapping[str, Any], seen: Mapping[str, Any]) -> None:
        """See :func:`~ssl_kedro.pipelines.saliency360.checks.check_seen`."""
        checks.check_seen(self, node, seen)
        if node == "given_encoder" and "file" in seen:
            checks.checked_network(self, constants["encoder"], seen["file"])

    def chosen_models(self, asked: tuple[str, ...] = ()) -> dict[str, plans.ModelPlan]:
        """Models of the run: the main ones and those of ablations that are asked for."""
        wanted = {plans.MAIN, *self.ablations, *asked}
        everything = "all" in self.ablations
        return {n: m for n, m in self.models.items() if everything or wanted & {*m.part}}

    def chosen_encoders(self, asked: tuple[str, ...] = ()) -> dict[str, plans.EncoderPlan]:
        """Encoders that these models need."""
        needed = {model.encoder for model in self.chosen_models(asked).values()}
        return {name: plan for name, plan in self.encoders.items() if name in needed}

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

    @property
    def parts(self) -> tuple[str, ...]:
        """Parts that each model is trained on."""
        return part_names(self.folds)

    @property
    def deployed_part(self) -> str:
        """The part whose decoder is used."""
        return self.parts[-1]

    def encoder_config(self, name: str) -> PanoramaEncoderConfig:
        """Shape of an encoder."""
        return _changed(self.encoder, self.encoders[name], "architecture", "longitude_padding")

    def check_size(self, name: str) -> None:
        """Refuse to pre-train an encoder on images that its heads cannot halve once more.

        Raises:
            ConfigError: a VGG, whose maps have fewer than 3 rows.
        """
        height, vgg = self.image.height, self.encoder_config(name).architecture == "vgg16"
        if vgg and self.encoders[name].kind == "contrastive" and height < _VGG_ROWS_PX:
            expected = f"at least {_VGG_ROWS_PX}, to pre-train encoders.{name}, a VGG-16"
            raise ConfigError("image.height", height, expected)

    def contrast_of(self, name: str) -> ContrastConfig:
        """Contrastive objective of an encoder."""
        return _changed(self.contrast, self.encoders[name], "local_weight", "attention")

    def views_of(self, name: str) -> PanoramaViewConfig:
        """Views that an encoder is pre-trained on."""
        recipe = self._recipe_of(self.encoders[name])
        return dataclasses.replace(
            _changed(self.views, self.encoders[name], "projections"),
            authors_crop=self.views.authors_crop or "centre_crop" in recipe,
            nearest_projection=self.views.nearest_projection or "nearest_projection" in recipe,
        )

    def decoder_config(self, name: str) -> DecoderConfig:
        """Shape of a model's decoder."""
        kind = self.models[name].decoder or self.decoder.kind
        return dataclasses.replace(self.decoder, kind=kind)

    def decoding_of(self, name: str) -> DecodingConfig:
        """Loss of a model's decoder."""
        last = self.decoding.last_sample_only or "last_sample_loss" in self.recipe_of(name)
        return dataclasses.replace(self.decoding, last_sample_only=last)

    def recipe_of(self, model: str) -> tuple[plans.Quirk, ...]:
        """Quirks that a model is made with, those of its encoder among them."""
        plan = self.models[model]
        views = set(self._recipe_of(self.encoders[plan.encoder])) & set(plans.VIEW_QUIRKS)
        own = views | (set(self._recipe_of(plan)) - set(plans.VIEW_QUIRKS))
        return tuple(quirk for quirk in plans.QUIRKS if quirk in own)

    def _recipe_of(self, plan: plans.EncoderPlan | plans.ModelPlan) -> tuple[plans.Quirk, ...]:
        return self.recipe if plan.recipe is None else plan.recipe


def _changed(config: C, plan: plans.EncoderPlan, *names: str) -> C:
    """A configuration with what a plan says instead; None = as it is."""
    found = {name: getattr(plan, name) for name in names}
    return dataclasses.replace(config, **{k: v for k, v in found.items() if v is not None})
