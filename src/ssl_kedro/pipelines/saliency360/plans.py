"""Encoders and models of a run of chapter 4, and the recipes they may be made with."""

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, Field, model_validator

from ssl_kedro.core.config import ConfigError
from ssl_kedro.core.remote import is_remote
from ssl_kedro.encoders.base import Branch
from ssl_kedro.encoders.frozen import FrozenEncoderConfig
from ssl_kedro.encoders.importers import KINDS
from ssl_kedro.encoders.panorama_encoder import LongitudePadding
from ssl_kedro.pipelines.parameters import Names, PipelineParameters, name_list

MAIN = "main"
# Kinds of encoders that a run makes; others are trained networks of maps, from files.
MADE = ("contrastive", "random")
GIVEN = ("file", "bundle", "timm", *KINDS)
Quirk = Literal["centre_crop", "nearest_projection", "last_sample_loss", "raw_bgr", "tuned_norms"]
QUIRKS: tuple[Quirk, ...] = get_args(Quirk)
# As the thesis prints it: what ``recipes.text`` replaces.
TEXT: Literal["text"] = "text"
Recipe = tuple[Quirk | Literal["text"], ...]
# Those that concern the pre-training of an encoder.
VIEW_QUIRKS: tuple[Quirk, ...] = ("centre_crop", "nearest_projection")
# Those that concern the training of a decoder.
DECODING_QUIRKS = tuple(quirk for quirk in QUIRKS if quirk not in VIEW_QUIRKS)


def named_recipe(value: Any) -> Any:
    """Nothing for "best", all quirks for "authors"; else "text" or quirks, as a list or "a;b".

    "fixed" is what earlier versions called "best".
    """
    named = {"best": (), "fixed": (), "authors": QUIRKS}
    return named[value] if isinstance(value, str) and value in named else name_list(value)


# Of one encoder or one model; None = the pipeline's.
OwnRecipe = Annotated[Recipe | None, BeforeValidator(named_recipe)]


class EncoderPlan(PipelineParameters):
    """One encoder of the run, and what differs from the pipeline's settings.

    Args:
        kind: "contrastive" (pre-trained here), "random" (its weights as drawn), "bundle" (what
            an earlier run of any pipeline left; "file" is the same), "timm", or one of
            ``importers.KINDS``: a file as its publisher gives it out.
        file: the bundle's folder or the published file.
        branch: of a bundle with several: "dense" or "gated".
        model: of "timm": its name there.
        architecture, longitude_padding: instead of those of ``encoder``; a trained network has
            its architecture, one of a saliency360 run its padding too.
        projections: instead of the one of ``views``.
        local_weight, attention: instead of those of ``contrast``; the weight is lambda.
        recipe: instead of the pipeline's; of the quirks, those of the views concern an encoder,
            of the text objective and heads.
    """

    kind: str = "contrastive"
    file: str | None = None
    branch: Branch = "dense"
    model: str = ""
    longitude_padding: LongitudePadding | None = None
    architecture: Literal["resnet50", "vgg16"] | None = None
    local_weight: Annotated[float | None, Field(ge=0, le=1)] = None
    attention: bool | None = None
    projections: bool | None = None
    recipe: OwnRecipe = None

    @model_validator(mode="after")
    def _check_weights(self) -> Self:
        if self.kind not in (*MADE, *GIVEN):
            known = f"one of {', '.join((*MADE, *GIVEN))}"
            only = "; an ONNX file has no layers to keep in a model's bundle, or to train"
            raise ConfigError("kind", self.kind, known + only * (self.kind == "onnx"))
        if self.given is None and self.file is not None:
            expected = f'none: kind "{self.kind}" reads no weights; a bundle has kind "bundle"'
            raise ConfigError("file", self.file, expected)
        if self.branch == "gated" and self.kind not in ("file", "bundle"):
            raise ConfigError("branch", self.branch, '"dense": bundles alone have a gated branch')
        if self.model and self.kind != "timm":
            raise ConfigError("model", self.model, 'none: kind "timm" alone names one')
        own = ("architecture", "local_weight", "attention", "projections", "recipe")
        for name in own if self.given is not None else ():
            if (value := getattr(self, name)) is not None:
                raise ConfigError(name, value, f'none with kind "{self.kind}", trained elsewhere')
        return self

    @property
    def given(self) -> FrozenEncoderConfig | None:
        """Where a trained network comes from; None of one that the run makes."""
        return None if self.kind in MADE else FrozenEncoderConfig.among(self.model_dump())


class ModelPlan(PipelineParameters):
    """One model of the run: an encoder with a decoder on top, or maps that somebody else made.

    Args:
        kind: "trained" here, or "maps": any predictor's, read from a folder.
        encoder: name of an encoder.
        decoder: instead of the recipe's, and of ``decoder.kind``.
        fine_tune: the encoder is trained with the decoder.
        folder: of maps, named after the panoramas of the run's own data; or such a folder for
            each data set that was predicted, by its name.
        part: "main", or the ablations that it belongs to; those are made only when asked for, by
            ``ablations`` or by their tag.
        recipe: instead of the pipeline's; of the quirks, those of the decoding concern a model,
            of the text the decoder and its loss.
    """

    kind: Literal["trained", "maps"] = "trained"
    encoder: str = ""
    decoder: Literal["light", "thesis", "salgan"] | None = None
    fine_tune: bool = False
    folder: str | dict[str, str] | None = None
    recipe: OwnRecipe = None
    part: Annotated[Names, Field(min_length=1)] = (MAIN,)

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        if self.kind == "trained":
            if self.folder is not None:
                raise ConfigError("folder", self.folder, 'none: kind "maps" alone reads maps')
            return self
        if not self.folder:
            raise ConfigError("folder", self.folder, "a folder of maps, named after the panoramas")
        for name in ("encoder", "decoder", "fine_tune", "recipe"):
            if value := getattr(self, name):
                raise ConfigError(name, value, 'none with kind "maps", made elsewhere')
        places = [self.folder] if isinstance(self.folder, str) else self.folder.values()
        for place in filter(is_remote, places):
            raise ConfigError("folder", place, "a folder of this machine")
        return self

    def covers(self, dataset: str, own: str) -> bool:
        """Whether a data set is predicted: every one is by a model that is trained here.

        Args:
            dataset: its name.
            own: name of the run's own data, which a single folder is for.
        """
        if self.kind == "trained":
            return True
        return dataset in self.folder if isinstance(self.folder, dict) else dataset == own


def check_recipe(key: str, recipe: Recipe | None, allowed: tuple[Quirk, ...]) -> None:
    """Refuse quirks that would do nothing where they stand; "authors" means what applies."""
    foreign = [part for part in recipe or () if part not in (*allowed, TEXT)]
    if foreign and recipe != QUIRKS:
        raise ConfigError(key, foreign[0], f"best, text, authors, or some of {', '.join(allowed)}")
