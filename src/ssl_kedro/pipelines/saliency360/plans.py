"""Encoders and models of a run of chapter 4, and the authors' errors they may be made with."""

from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field

from ssl_kedro.core.config import ConfigError
from ssl_kedro.pipelines.parameters import PipelineParameters, name_list

MAIN = "main"
Quirk = Literal["centre_crop", "nearest_projection", "last_sample_loss", "raw_bgr", "tuned_norms"]
QUIRKS: tuple[Quirk, ...] = get_args(Quirk)
# Those that concern the pre-training of an encoder.
VIEW_QUIRKS: tuple[Quirk, ...] = ("centre_crop", "nearest_projection")
# Those that concern the training of a decoder.
DECODING_QUIRKS = tuple(quirk for quirk in QUIRKS if quirk not in VIEW_QUIRKS)


def named_quirks(value: Any) -> Any:
    """No quirk for "best" or "text", all for "authors"; else their names, as a list or "a;b".

    "fixed" is what earlier versions called "best".
    """
    named = {"best": (), "text": (), "fixed": (), "authors": QUIRKS}
    return named[value] if isinstance(value, str) and value in named else name_list(value)


# Of one encoder or one model; None = the pipeline's.
OwnRecipe = Annotated[tuple[Quirk, ...] | None, BeforeValidator(named_quirks)]


class EncoderPlan(PipelineParameters):
    """One encoder of the run, and what differs from the pipeline's settings.

    Args:
        kind: "contrastive" (pre-trained here), "random" (its weights as drawn), or "file" (a
            bundle that an earlier run left).
        file: of the bundle.
        architecture, projections: instead of the one of ``encoder``, of ``views``.
        local_weight, attention: instead of those of ``contrast``; the weight is lambda.
        recipe: instead of the pipeline's; of the quirks, those of the views concern an encoder.
    """

    kind: Literal["contrastive", "random", "file"] = "contrastive"
    file: str | None = None
    architecture: Literal["resnet50", "vgg16"] | None = None
    local_weight: Annotated[float | None, Field(ge=0, le=1)] = None
    attention: bool | None = None
    projections: bool | None = None
    recipe: OwnRecipe = None


class ModelPlan(PipelineParameters):
    """One model of the run: an encoder and a decoder on top.

    Args:
        encoder: name of an encoder.
        decoder: instead of ``decoder.kind``.
        fine_tune: the encoder is trained with the decoder.
        part: "main", or the ablation that it belongs to; those are made only when asked for, by
            ``ablations`` or by their tag.
        recipe: instead of the pipeline's; of the quirks, those of the decoding concern a model.
    """

    encoder: str
    decoder: Literal["light", "thesis", "salgan"] | None = None
    fine_tune: bool = False
    recipe: OwnRecipe = None
    part: str = MAIN


def check_recipe(key: str, recipe: tuple[Quirk, ...] | None, allowed: tuple[Quirk, ...]) -> None:
    """Refuse quirks that would do nothing where they stand; "authors" means what applies."""
    foreign = [quirk for quirk in recipe or () if quirk not in allowed]
    if foreign and recipe != QUIRKS:
        raise ConfigError(key, foreign[0], f"best, text, authors, or some of {', '.join(allowed)}")
