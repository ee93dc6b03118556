"""Recipes, and what single methods do otherwise: plain values into checked configurations."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, TypeAdapter

from ssl_kedro.core.config import ConfigError
from ssl_kedro.encoders.frozen import InitialWeights, place_of_weights
from ssl_kedro.pipelines.changes import validated_config
from ssl_kedro.training.config import TrainConfig


def _recipe(value: Any) -> Any:
    """The name of a recipe, also in the words of earlier versions."""
    return "authors" if value in (None, "", "script") else value


Recipe = Annotated[Literal["best", "authors", "text"], BeforeValidator(_recipe)]


def _initial(value: Any) -> Any:
    """Where an encoder's first weights lie, checked; None, or text that is a catalog name."""
    place = place_of_weights(value)
    if isinstance(place, Mapping):
        return TypeAdapter(InitialWeights).validate_python(dict(place))
    if place is None or (isinstance(place, str) and place.endswith("encoder")):
        return place
    raise ValueError(
        "expected a path with a slash, file and kind, or the catalog name of an encoder, such as "
        '"dual_gating.vicreg.encoder"'
    )


Initial = Annotated[InitialWeights | str | None, BeforeValidator(_initial)]


# One choice for all trainings of a run.
OF_THE_RUN = (
    *("device", "precision", "memory_format", "compile", "graphs", "resume"),
    *("workers", "nodes", "rendezvous"),
)


def changed_recipe(train: TrainConfig, changes: Mapping[str, Any], location: str) -> TrainConfig:
    """A training recipe with some fields replaced.

    Raises:
        ConfigError: a field cannot be used, or belongs to the run as a whole.
    """
    for name in OF_THE_RUN:
        if name in changes:
            raise ConfigError(
                f"{location}.{name}", changes[name], "nothing: it is set for the whole run in train"
            )
    return validated_config(TrainConfig, dataclasses.asdict(train) | dict(changes), location)
