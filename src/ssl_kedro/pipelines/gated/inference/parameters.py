"""Parameters of the stage that times compact, static and dense networks, and of their export."""

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from ssl_kedro.core.config import ConfigError
from ssl_kedro.core.extras import require
from ssl_kedro.core.precision import Precision
from ssl_kedro.encoders.base import EncoderShape
from ssl_kedro.gating.cost import NetworkCost
from ssl_kedro.inference.engines.probe import EngineName, why_unavailable
from ssl_kedro.pipelines.parameters import (
    Names,
    PipelineParameters,
    budget_list,
    distinct,
    name_list,
)

ALL_MODELS = "all"


def model_list(value: Any) -> Any:
    """Names as they are; nothing on the command line ("models=") means none."""
    return () if value is None else value


class HubParameters(PipelineParameters):
    """The folder of the Hugging Face Hub that ``--tags export`` writes.

    Args:
        licence: identifier of the Hub for the weights, such as "mit"; "other" = none of those.
        repository: "name/model" to send it to; None = it stays on this machine.
    """

    licence: Annotated[str, Field(pattern=r"^[a-z0-9.\-]+$")] = "other"
    repository: Annotated[str, Field(pattern=r"^[\w.\-]+/[\w.\-]+$")] | None = None

    @field_validator("repository")
    @classmethod
    def _can_be_sent(cls, asked: str | None) -> str | None:
        if asked is not None:
            require("hub.repository", "huggingface_hub")
        return asked


class InferenceParameters(PipelineParameters):
    """How trained encoders are timed, judged and exported.

    Args:
        models: whose encoders, by the names of the report; "all", or "" for none. Recipe "best"
            times all that it makes, or none.
        batches: images a batch.
        engines: those that race; what is missing on a machine is passed over and reported.
        seconds: of each race of engines, and of each comparison of networks.
        rounds: timed batches of each, at least, unless the seconds are over.
        threads: of each engine; None = as many as PyTorch uses.
        static_budget: share of the dense MACs that a static network may cost; None = what the
            gated encoder costs on the training images, where the two compare.
        precisions: of every network; f32 among them, which the others are compared with.
            ``--tags frontier`` measures all.
        calibration: training images that int8 takes the ranges of activations from.
        max_loss: points of linear and of 1-NN accuracy that a precision may lose against f32.
        held_out: share of the labelled training images that losses are judged on: they neither
            calibrate nor stand in the bank and in the probe's training for that.
        held_out_limit: at most so many.
    """

    models: Annotated[Names, BeforeValidator(model_list)] = (ALL_MODELS,)
    batches: Annotated[
        tuple[Annotated[int, Field(ge=1, le=4096)], ...],
        BeforeValidator(budget_list),
        Field(min_length=1),
    ] = (1, 32)
    engines: Annotated[
        tuple[EngineName, ...],
        BeforeValidator(name_list),
        AfterValidator(distinct),
        Field(min_length=1),
    ] = ("native", "openvino", "onnxruntime", "eager")
    seconds: Annotated[float, Field(gt=0, le=600)] = 2.0
    rounds: Annotated[int, Field(ge=1, le=10_000)] = 15
    threads: Annotated[int | None, Field(ge=1, le=1024)] = None
    static_budget: Annotated[float | None, Field(gt=0, le=1)] = None
    precisions: Annotated[
        tuple[Precision, ...],
        BeforeValidator(name_list),
        AfterValidator(distinct),
    ] = ("f32",)
    calibration: Annotated[int, Field(ge=1, le=100_000)] = 300
    max_loss: Annotated[float, Field(ge=0, le=100)] = 0.5
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.2
    held_out_limit: Annotated[int, Field(ge=1, le=1_000_000)] = 2000

    @model_validator(mode="after")
    def _check_precisions(self) -> Self:
        if "f32" not in self.precisions:
            expected = "f32 among them: the others are compared with it"
            raise ConfigError("precisions", list(self.precisions), expected)
        return self

    @model_validator(mode="after")
    def _check_engines(self) -> Self:
        missing = {name: why_unavailable(name) for name in self.engines}
        if self.models and all(missing.values()):
            told = "; ".join(f"{name}: {reason}" for name, reason in missing.items())
            raise ConfigError(
                "engines",
                list(self.engines),
                f'one that works on this machine, such as "eager" ({told})',
            )
        return self

    def measures(self, model: str) -> bool:
        """Whether a model is timed and exported."""
        return ALL_MODELS in self.models or model in self.models

    def check_shape(self, shape: EncoderShape) -> None:
        """Refuse to time encoders that none of the engines computes.

        Raises:
            ConfigError: naming key, value and what is allowed.
        """
        usable = [name for name in self.engines if name != "native" and not why_unavailable(name)]
        if self.models and not shape.native and not usable:
            expected = f"one that computes a {shape.architecture}, such as eager: the C++ kernel"
            raise ConfigError(
                "inference.engines", list(self.engines), f"{expected} computes residual networks"
            )

    def check(self, known: tuple[str, ...], cost: NetworkCost, shape: EncoderShape) -> None:
        """Refuse models that a pipeline does not have or cannot time, and budgets out of reach.

        Args:
            known: names of the pipeline's gated models.
            cost: of their encoder.
            shape: of their encoder.

        Raises:
            ConfigError: naming key, value and what is allowed.
        """
        if unknown := sorted(set(self.models) - {ALL_MODELS, *known}):
            raise ConfigError(
                "inference.models", unknown, f'"all", or gated models among {", ".join(known)}'
            )
        self.check_shape(shape)
        smallest = cost.at([0] * len(cost.blocks)) / cost.dense
        if self.static_budget is not None and self.static_budget <= smallest:
            raise ConfigError(
                "inference.static_budget",
                self.static_budget,
                f"more than {smallest:.4f}: stem and downsample alone cost that share of the "
                "dense network at this encoder and image size",
            )
