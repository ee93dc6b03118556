"""Parameters of the dynamic_channels pipeline."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from ssl_kedro.core.config import ConfigError
from ssl_kedro.pipelines.gated.parameters import EncoderPipelineParameters, changed_recipe
from ssl_kedro.pipelines.gated.variants import (
    DYNAMIC_CHANNELS,
    DYNAMIC_CHANNELS_PEERS,
    gated_names,
)
from ssl_kedro.training.config import TrainConfig


class DynamicChannelsParameters(EncoderPipelineParameters):
    """Everything of chapter 5 that a user may want to change.

    Args:
        recipe: which of ``recipes`` trains; "" = none, ``train`` as it stands.
        recipes: named changes to ``train``. The thesis' text and its authors' script give
            different learning rates; both stand here.
        operating_point_within: the operating point is the cheapest budget whose 1-NN accuracy
            is at most so many percentage points below the baseline's.
    """

    dense_method = "simsiam"
    gated_method = "simsiam_gating"
    gated_models = gated_names(DYNAMIC_CHANNELS)
    peers = DYNAMIC_CHANNELS_PEERS

    recipe: str = ""
    recipes: dict[str, dict[str, Any]] = Field(default_factory=dict)
    operating_point_within: Annotated[float, Field(ge=0, le=100)] = 4.0
    published: Literal["CIFAR-10", "CIFAR-100", "ImageNet-100"] = "CIFAR-10"

    @model_validator(mode="after")
    def _check_recipes(self) -> Self:
        for name in self.recipes:
            self._with_recipe(name)
        return self

    @property
    def base_train(self) -> TrainConfig:
        """The recipe chosen.

        Raises:
            ConfigError: there is no recipe of that name.
        """
        if self.recipe and self.recipe not in self.recipes:
            known = ", ".join(sorted(self.recipes)) or "none"
            raise ConfigError("recipe", self.recipe, f'one of recipes ({known}), or "" for train')
        return self._with_recipe(self.recipe) if self.recipe else self.train

    def _with_recipe(self, name: str) -> TrainConfig:
        return changed_recipe(self.train, self.recipes[name], f"recipes.{name}")
