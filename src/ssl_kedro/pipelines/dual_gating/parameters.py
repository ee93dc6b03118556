"""Parameters of the dual_gating pipeline."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from ssl_kedro.augment.config import ViewConfig
from ssl_kedro.core.config import Config, ConfigError
from ssl_kedro.encoders.gated_resnet import EncoderConfig
from ssl_kedro.evaluation.config import EmbeddingConfig, KnnConfig
from ssl_kedro.evaluation.linear_probe import ProbeConfig
from ssl_kedro.gating.budget import GateConfig
from ssl_kedro.images.config import DataConfig
from ssl_kedro.losses.vicreg import VICRegConfig
from ssl_kedro.methods.base import ExpanderConfig, MethodConfig
from ssl_kedro.methods.registry import method_classes
from ssl_kedro.pipelines.parameters import (
    Budgets,
    Names,
    PipelineParameters,
    checked_budgets,
    checked_device,
    cost_at,
    name_list,
)
from ssl_kedro.training.config import TrainConfig

PublishedData = Literal["CIFAR-10", "CIFAR-100", "STL-10", "ImageNet-100"]
PartName = Literal[
    "table_6_1",
    "table_6_2",
    "table_6_3",
    "table_6_4",
    "table_6_5",
    "table_6_6",
    "figure_6_1",
    "figure_6_2",
    "question_1",
    "question_2",
    "question_3",
    "question_4",
]
ALL_PARTS: tuple[PartName, ...] = get_args(PartName)


def part_list(value: Any) -> Any:
    """Parts from a list, "all", or a string such as "table_6_1;table_6_4"."""
    return ALL_PARTS if value == "all" else name_list(value)


class MethodParameters(BaseModel):
    """What one method does differently.

    Args:
        train: fields of the training recipe that it overrides.
        options: its own parameters.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    train: dict[str, Any] = Field(default_factory=dict)
    options: dict[str, Any] = Field(default_factory=dict)


class TransferParameters(BaseModel):
    """Table 6.2: which encoders meet which images.

    Args:
        own: what tables call the run's own data.
        data: further data sets by name; their images are resized to the run's data.size.
        sources: those of ``data`` to pre-train on as well, beside the run's own.
        targets: those of ``data``, or ``own``, to evaluate on; a pair of equals is left out.
        published: the thesis' name of a data set named here, where it has one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    own: str = "own"
    data: dict[str, DataConfig] = Field(default_factory=dict)
    sources: Names = ()
    targets: Names = ()
    published: dict[str, PublishedData] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        if self.own in self.data:
            raise ConfigError("own", self.own, "a name that transfer.data does not use")
        for field, names, known in (
            ("sources", self.sources, set(self.data)),
            ("targets", self.targets, {self.own, *self.data}),
        ):
            if unknown := sorted(set(names) - known):
                raise ConfigError(field, unknown, f"names among {', '.join(sorted(known))}")
        return self


class DistillationParameters(BaseModel):
    """Table 6.3.

    Args:
        teacher: "vicreg" = the run's own dense baseline of the same seed, or the catalog
            name of any encoder, such as "dual_gating.budget_30.encoder".
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    teacher: str = "vicreg"


class AblationParameters(BaseModel):
    """What the open questions switch on against plain dual gating.

    Args:
        diversity: weight of the channel-diversity term in question 2.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    diversity: Annotated[float, Field(gt=0)] = 1.0


class DualGatingParameters(PipelineParameters):
    """Everything of chapter 6 that a user may want to change.

    Args:
        seed: of weights, order, views, gate noise, subsets and probes.
        repeats: trainings of each model, with seeds seed, seed + 1, ...; the images stay
            those of the first. Tables then give mean and std over seeds.
        parts: tables, figures and questions of the chapter that a run without tags makes.
        budgets: target budgets t_d, shares of the dense cost, as a list or "0.1;0.3".
        published: data set of the thesis whose figures stand beside the measured ones.
        published_data_is_ours: whether the measured data is that data set, so that
            differences mean something.
    """

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    budgets: Budgets = (0.1, 0.3, 0.5)
    repeats: Annotated[int, Field(ge=1, le=100)] = 1
    parts: Annotated[tuple[PartName, ...], BeforeValidator(part_list), Field(min_length=1)] = (
        "table_6_1",
        "figure_6_1",
        "figure_6_2",
    )
    data: DataConfig = DataConfig()
    views: ViewConfig = ViewConfig()
    encoder: EncoderConfig = EncoderConfig()
    expander: ExpanderConfig = ExpanderConfig()
    vicreg: VICRegConfig = VICRegConfig()
    gates: GateConfig = GateConfig()
    train: TrainConfig = TrainConfig()
    probe: ProbeConfig = ProbeConfig()
    knn: KnnConfig = KnnConfig()
    embedding: EmbeddingConfig = EmbeddingConfig()
    methods: dict[str, MethodParameters] = Field(default_factory=dict)
    transfer: TransferParameters = TransferParameters()
    distillation: DistillationParameters = DistillationParameters()
    ablation: AblationParameters = AblationParameters()
    published: PublishedData = "CIFAR-10"
    published_data_is_ours: bool = False

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        size = self.views.size or self.data.size
        checked_budgets(self.budgets, cost_at(self.encoder, size, self.gates.reduction))
        checked_device(self.train.device)
        return self

    @model_validator(mode="after")
    def _check_methods(self) -> Self:
        known = method_classes()
        for name in self.methods:
            if name not in known:
                raise ConfigError("methods", name, f"names among {', '.join(sorted(known))}")
            self.train_config(name)
            self.method_config(name)
        return self

    def method_config(
        self, method: str, gates: Mapping[str, float | str] | None = None
    ) -> MethodConfig:
        """What a method reads: heads, losses, gates and its own options.

        Args:
            method: its name.
            gates: gate parameters that differ from the run's.

        Raises:
            ConfigError: the method's options cannot be used.
        """
        kind = method_classes()[method].options_type
        given = self.methods.get(method, MethodParameters()).options
        options = _validated(kind, given, f"methods.{method}.options")
        changed = dataclasses.replace(self.gates, **dict(gates or {}))  # type: ignore[arg-type]
        return MethodConfig(self.expander, self.vicreg, changed, options)

    def train_config(self, method: str) -> TrainConfig:
        """The training recipe with the method's overrides.

        Raises:
            ConfigError: an override cannot be used.
        """
        given = self.methods.get(method, MethodParameters()).train
        whole = dataclasses.asdict(self.train) | given
        return _validated(TrainConfig, whole, f"methods.{method}.train")

    @property
    def image_size(self) -> int:
        """Side in px of the images that the encoder sees in training."""
        return self.views.size or self.data.size


C = TypeVar("C", bound=Config)


def _validated(kind: type[C], values: Mapping[str, Any], location: str) -> C:
    """A configuration of some kind, with errors that name the whole key."""
    try:
        return TypeAdapter(kind).validate_python(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join([location, *map(str, first["loc"])])
        cause = first.get("ctx", {}).get("error")
        if isinstance(cause, ConfigError):
            raise ConfigError(f"{location}.{cause.field}", cause.value, cause.expected) from None
        fields = ", ".join(sorted(field.name for field in dataclasses.fields(kind))) or "none"
        raise ConfigError(
            name, first["input"], f"{first['msg'].lower()} (keys there: {fields})"
        ) from None
