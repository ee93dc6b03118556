"""What encoders and models of chapter 4 are made with: settings, recipes, and each one's own."""

import dataclasses
from collections.abc import Iterable
from dataclasses import field
from typing import Annotated, Any, Self, TypeVar

from pydantic import BeforeValidator, Field

from ssl_kedro.augment.config import PanoramaViewConfig
from ssl_kedro.core.config import Config
from ssl_kedro.encoders.panorama_encoder import PanoramaEncoderConfig
from ssl_kedro.encoders.saliency_model import DecoderConfig
from ssl_kedro.methods.panorama_contrast import ContrastConfig
from ssl_kedro.methods.saliency_decoding import DecodingConfig
from ssl_kedro.pipelines.changes import validated_config
from ssl_kedro.pipelines.parameters import Names, PipelineParameters, without_nulls
from ssl_kedro.pipelines.saliency360 import plans

C = TypeVar("C", bound=Config)
_NO_NULLS = BeforeValidator(without_nulls)


class RecipeChanges(PipelineParameters):
    """What a recipe replaces in the sections of these names; the rest stays as it is.

    Args:
        encoder, contrast, decoder, decoding: fields of that section with other values.
    """

    encoder: dict[str, Any] = Field(default_factory=dict)
    contrast: dict[str, Any] = Field(default_factory=dict)
    decoder: dict[str, Any] = Field(default_factory=dict)
    decoding: dict[str, Any] = Field(default_factory=dict)


class Recipes(PipelineParameters):
    """What recipes replace; the authors' errors are code, each a quirk of its own.

    Args:
        text: as the thesis prints it.
    """

    text: RecipeChanges = Field(default_factory=RecipeChanges)


class RecipeParameters(PipelineParameters):
    """Encoders and models, and what each is made with.

    What a plan says of itself wins over a recipe, which wins over the sections.

    Args:
        recipe: "best", "text" (as the thesis prints it), "authors", or some of the authors'
            quirks by name.
        recipes: what "text" replaces.
        encoder, decoder: shapes of the networks.
        contrast, views: objective and views of the pre-training.
        decoding: loss and augmentation of the decoders.
        encoders, models: by name.
        ablations: parts of ``models`` beyond "main"; "all" = every one.
    """

    recipe: Annotated[plans.Recipe, BeforeValidator(plans.named_recipe)] = ()
    recipes: Recipes = field(default_factory=Recipes)
    encoder: PanoramaEncoderConfig = field(default_factory=PanoramaEncoderConfig)
    contrast: ContrastConfig = field(default_factory=ContrastConfig)
    views: PanoramaViewConfig = field(default_factory=PanoramaViewConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    decoding: DecodingConfig = field(default_factory=DecodingConfig)
    encoders: Annotated[dict[str, plans.EncoderPlan], _NO_NULLS] = Field(default_factory=dict)
    models: Annotated[dict[str, plans.ModelPlan], _NO_NULLS] = Field(default_factory=dict)
    ablations: Names = ()

    def chosen_models(
        self, asked: tuple[str, ...] = (), kind: str = "trained"
    ) -> dict[str, plans.ModelPlan]:
        """Models of a kind: the main ones and those of ablations that are asked for."""
        wanted = {plans.MAIN, *self.ablations, *asked}
        every = "all" in self.ablations
        of_kind = {name: plan for name, plan in self.models.items() if plan.kind == kind}
        return {name: plan for name, plan in of_kind.items() if every or wanted & {*plan.part}}

    def chosen_encoders(self, asked: tuple[str, ...] = ()) -> dict[str, plans.EncoderPlan]:
        """Encoders that these models need."""
        needed = {model.encoder for model in self.chosen_models(asked).values()}
        return {name: plan for name, plan in self.encoders.items() if name in needed}

    def gated_encoders(self, names: Iterable[str]) -> list[str]:
        """Those of some encoders that are the gated branch of a bundle."""
        return [name for name in names if self.encoders[name].branch == "gated"]

    def sections(self, recipe: plans.Recipe) -> dict[str, Config]:
        """Sections that a recipe replaces something in, as it leaves them, by name.

        Raises:
            ConfigError: a value of the recipe cannot be used.
        """
        names = RecipeChanges.model_fields
        return {name: self._written(name, getattr(self, name), recipe) for name in names}

    def made_with(self, model: str) -> Self:
        """These parameters as the recipes of a model and of its encoder leave them."""
        plan = self.models[model]
        of_encoder = self.sections(self._recipe_of(self.encoders[plan.encoder]))
        update = {name: of_encoder[name] for name in ("encoder", "contrast")}
        own = {"decoder": self.decoder_config(model), "decoding": self.decoding_of(model)}
        return self.model_copy(update=update | own)

    def encoder_config(self, name: str) -> PanoramaEncoderConfig:
        """Shape of an encoder."""
        plan = self.encoders[name]
        config = self._written("encoder", self.encoder, self._recipe_of(plan))
        return _changed(config, plan, "architecture", "longitude_padding")

    def contrast_of(self, name: str) -> ContrastConfig:
        """Contrastive objective of an encoder."""
        plan = self.encoders[name]
        config = self._written("contrast", self.contrast, self._recipe_of(plan))
        return _changed(config, plan, "local_weight", "attention")

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
        plan = self.models[name]
        config = self._written("decoder", self.decoder, self._recipe_of(plan))
        return dataclasses.replace(config, kind=plan.decoder or config.kind)

    def decoding_of(self, name: str) -> DecodingConfig:
        """Loss of a model's decoder."""
        config = self._written("decoding", self.decoding, self._recipe_of(self.models[name]))
        last = config.last_sample_only or "last_sample_loss" in self.recipe_of(name)
        return dataclasses.replace(config, last_sample_only=last)

    def recipe_of(self, model: str) -> plans.Recipe:
        """Text and quirks that a model is made with, those of its encoder among them."""
        plan = self.models[model]
        of_encoder = {*plans.VIEW_QUIRKS, plans.TEXT}
        views = set(self._recipe_of(self.encoders[plan.encoder])) & of_encoder
        own = views | (set(self._recipe_of(plan)) - set(plans.VIEW_QUIRKS))
        return tuple(part for part in (plans.TEXT, *plans.QUIRKS) if part in own)

    def _recipe_of(self, plan: plans.EncoderPlan | plans.ModelPlan) -> plans.Recipe:
        return self.recipe if plan.recipe is None else plan.recipe

    def _written(self, name: str, config: C, recipe: plans.Recipe) -> C:
        """A section as a recipe leaves it."""
        changes: dict[str, Any] = getattr(self.recipes.text, name)
        if plans.TEXT not in recipe or not changes:
            return config
        values = dataclasses.asdict(config) | changes
        return validated_config(type(config), values, f"recipes.text.{name}")


def _changed(config: C, plan: plans.EncoderPlan, *names: str) -> C:
    """A configuration with what a plan says instead; None = as it is."""
    found = {name: getattr(plan, name) for name in names}
    return dataclasses.replace(config, **{k: v for k, v in found.items() if v is not None})
