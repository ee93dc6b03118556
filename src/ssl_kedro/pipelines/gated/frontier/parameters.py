"""Parameters of the comparison with what a user would take instead, `--tags frontier`."""

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from ssl_kedro.core.config import ConfigError
from ssl_kedro.pipelines.gated.inference.parameters import ALL_MODELS, model_list
from ssl_kedro.pipelines.gated.variants import PEERS
from ssl_kedro.pipelines.parameters import (
    Budgets,
    Names,
    PipelineParameters,
    budget_list,
)


class VariantParameters(PipelineParameters):
    """What a further row of the comparison does otherwise than the model that it is named after.

    It begins with the same weights: ``methods.NAME.init`` holds for all rows of a method.

    Args:
        train: fields of the training recipe that it overrides.
        options: parameters of its method.
        gates: gate parameters that differ from the run's.
    """

    train: dict[str, Any] = Field(default_factory=dict)
    options: dict[str, Any] = Field(default_factory=dict)
    gates: dict[str, Any] = Field(default_factory=dict)


class FrontierParameters(PipelineParameters):
    """What ``--tags frontier`` compares gated encoders with.

    Args:
        models: peers that are trained beside the dense baseline and the gated encoder, by the names
            of the report; "all", or "" for none.
        widths: of narrower networks, shares of ``encoder.width``; rounded to whole channels, halves
            up. Shares that become one width are one network.
        budgets: of networks that are cut from the one training for every budget, shares of the
            dense MACs. The defaults are at most what networks of the default widths cost.
        variants: further models, each a peer or one of the chapter with some of its training,
            options or gates changed, named after it: "thin-longer". They stand beside the others
            with ``--tags frontier`` and with recipe "best".
        within: points of accuracy below the best network that what is deployed may be: of the
            others the fastest. Runs without the tag choose so among the networks they have.
        recalibration: training images that the batch norms of what is cut from a trained network
            are re-estimated on; all of them where there are fewer.
    """

    models: Annotated[Names, BeforeValidator(model_list)] = (ALL_MODELS,)
    widths: Annotated[
        tuple[Annotated[float, Field(gt=0, lt=1)], ...],
        BeforeValidator(budget_list),
        Field(min_length=1),
    ] = (0.375, 0.4375, 0.5625, 0.6875)
    budgets: Budgets = (0.14, 0.19, 0.32, 0.47, 0.65)
    variants: dict[str, VariantParameters] = Field(default_factory=dict)
    within: Annotated[float, Field(ge=0, le=100)] = 1.0
    recalibration: Annotated[int, Field(ge=1, le=10**6)] = 2_000

    @model_validator(mode="after")
    def _check_models(self) -> Self:
        if unknown := sorted(set(self.models) - {ALL_MODELS, *PEERS}):
            raise ConfigError("models", unknown, f'"all", or peers among {", ".join(PEERS)}')
        return self

    def compares(self, peer: str) -> bool:
        """Whether a peer is trained."""
        return ALL_MODELS in self.models or peer in self.models

    def whole_widths(self, width: int) -> tuple[int, ...]:
        """Widths in channels, each once.

        Args:
            width: of the whole encoder.
        """
        return tuple(dict.fromkeys(int(share * width + 0.5) for share in self.widths))
