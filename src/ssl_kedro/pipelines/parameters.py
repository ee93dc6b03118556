"""Typed parameters: what the pipelines share, and errors that name key, value and remedy."""

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

import torch
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from ssl_kedro.core.config import ConfigError
from ssl_kedro.core.devices import resolved_device
from ssl_kedro.core.errors import UserError, nearest
from ssl_kedro.encoders.base import EncoderShape
from ssl_kedro.encoders.factory import own_fields, shape_type, shape_values
from ssl_kedro.gating.cost import NetworkCost
from ssl_kedro.pipelines import effective_parameters
from ssl_kedro.training.config import TrainConfig


class ParameterError(UserError, ValueError):
    """Parameters that no run can start with.

    Cause: a typo in a key, or a value outside what is allowed; nothing was started.
    Remedy: change the keys that the message lists, each with what is allowed.
    """


class PipelineParameters(BaseModel):
    """Base of all parameters: frozen, an unknown key is an error, and so is infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @property
    def as_written(self) -> dict[str, Any]:
        """Plain values for records of a run: those of environment variables by their names."""
        made: dict[str, Any] = effective_parameters.as_written(self.model_dump(mode="json"))
        return made

    @property
    def further_tags(self) -> Sequence[str]:
        """Tags whose nodes are in the graph only if they are asked for."""
        return ()

    def check_missing(self, name: str) -> None:
        """Say which parameter is wrong where an input of this name is not there.

        Raises:
            ConfigError: one that named it.
        """

    def check_seen(self, node: str, constants: Mapping[str, Any], seen: Mapping[str, Any]) -> None:
        """Refuse what a node could not work with, from what is seen of its inputs beforehand.

        Args:
            node: name of its function.
            constants: that are bound to it.
            seen: by argument: how many images, or the source itself with nothing decoded.

        Raises:
            ConfigError: naming key, value and what is allowed.
        """

    @model_validator(mode="before")
    @classmethod
    def _read_switches(cls, value: Any) -> Any:
        return _with_switches(value)


class MethodParameters(PipelineParameters):
    """What one method does differently.

    Args:
        train: fields of the training recipe that it overrides.
        options: its own parameters.
        init: catalog name of the encoder that its own begin with, such as the run's dense one;
            None = as ``encoder.init`` says.
    """

    train: dict[str, Any] = Field(default_factory=dict)
    options: dict[str, Any] = Field(default_factory=dict)
    init: Annotated[str, Field(pattern=r"encoder$")] | None = None


# Of a training recipe: "auto", "on" or "off", of which YAML and --params make booleans.
_SWITCHES = ("compile", "graphs")


def _with_switches(value: Any) -> Any:
    """Parameters with the words that YAML has read as true and false."""
    if not isinstance(value, Mapping):
        return value
    words = {True: "on", False: "off"}
    return {
        key: words[found] if key in _SWITCHES and isinstance(found, bool) else _with_switches(found)
        for key, found in value.items()
    }


T = TypeVar("T", bound=BaseModel)


def budget_list(value: Any) -> Any:
    """Budgets from a list, one number, or a string such as "0.1;0.3".

    ``--params`` splits its argument at commas, so that a list cannot be given there.
    """
    return (value,) if isinstance(value, int | float) else name_list(value)


Budgets = Annotated[
    # Their range depends on the encoder: see checked_budgets.
    tuple[float, ...],
    BeforeValidator(budget_list),
    Field(min_length=1),
]


def without_nulls(value: Any) -> Any:
    """A mapping without its null entries: so an environment takes an entry of base out."""
    return {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value


def name_list(value: Any) -> Any:
    """Names from a list or a string such as "a;b"; see :func:`budget_list`."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(";") if part.strip())
    return value


def _encoder_shape(value: Any) -> Any:
    """A shape from plain values, checked by the type of its architecture."""
    if not isinstance(value, Mapping):
        return value
    return TypeAdapter(shape_type(value)).validate_python(own_fields(value))


# Which fields there are depends on the architecture, whose name stands beside them. Those that only
# the default architecture has are passed over for another: parameter files set them.
ShapeOfEncoder = Annotated[
    EncoderShape, BeforeValidator(_encoder_shape), PlainSerializer(shape_values)
]


def distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names, each once, in order."""
    return tuple(dict.fromkeys(names))


Names = Annotated[tuple[str, ...], BeforeValidator(name_list), AfterValidator(distinct)]


def budget_name(budget: float) -> str:
    """Namespace of a budget: 0.3 -> "budget_30"."""
    return f"budget_{round(100 * budget):02d}"


def width_name(width: int) -> str:
    """Namespace of a width in channels: 9 -> "width_9"."""
    return f"width_{width}"


def checked_budgets(
    budgets: tuple[float, ...], cost: NetworkCost | None, key: str = "budgets"
) -> None:
    """Refuse budgets that share a name or lie out of reach.

    Args:
        budgets: shares of the dense cost.
        cost: of the network with gates, which bounds them from below; None = 0 does.
        key: of the parameter.

    Raises:
        ConfigError: naming the budget and what is allowed.
    """
    smallest = 0.0 if cost is None else cost.smallest_ratio
    why = ": stem, downsample and gates alone cost that share of the dense network at this encoder"
    for budget in budgets:
        if not smallest < budget < 1:
            expected = f"more than {smallest:.4f} and below 1"
            expected += "" if cost is None else f"{why} and image size"
            raise ConfigError(key, budget, expected)
        if abs(100 * budget - round(100 * budget)) > 1e-6:
            raise ConfigError(key, budget, "whole percents, such as 0.1 or 0.35")
    if len(set(budgets)) < len(budgets):
        raise ConfigError(key, list(budgets), "each budget once")


def checked_device(name: str) -> None:
    """Refuse a device that this machine does not have.

    Raises:
        ConfigError: naming the value and the remedy.
    """
    try:
        resolved_device(name)
    except ValueError as error:
        raise ConfigError("train.device", name, f"another device: {error}") from error


def checked_graphs(train: TrainConfig, key: str = "train") -> None:
    """Refuse CUDA graphs where there is no CUDA device.

    Args:
        train: a recipe whose device exists.
        key: the recipe's key, for the message.

    Raises:
        ConfigError: naming the value and the remedy.
    """
    device = resolved_device(train.device)
    if train.graphs == "on" and device.type != "cuda":
        raise ConfigError(
            f"{key}.graphs", "on", f"off or auto: {key}.device is {device}, only CUDA has graphs"
        )


def checked_workers(train: TrainConfig) -> None:
    """Refuse more processes than this machine has devices for.

    Raises:
        ConfigError: naming the value and what is possible.
    """
    if train.processes == 1 or resolved_device(train.device).type != "cuda":
        return
    if train.device not in ("auto", "cuda"):
        raise ConfigError(
            "train.device", train.device, "auto, cuda or cpu where several workers train"
        )
    devices = torch.cuda.device_count()
    if train.workers > devices:
        raise ConfigError(
            "train.workers",
            train.workers,
            f"at most {devices}, one for each CUDA device of this machine",
        )


def parsed(model: type[T], key: str, values: Any) -> T:
    """Parameters of one pipeline, checked.

    Args:
        model: the pipeline's parameter model.
        key: its top-level key, for messages.
        values: as read from the parameter files and the command line.

    Raises:
        ParameterError: one line for each fault: key, value, what is allowed.
    """
    if not isinstance(values, Mapping):
        raise ParameterError(
            f"{key} = {values!r}: expected its parameters by name; "
            f"known: {', '.join(field_names(model))}"
        )
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        lines = [_explained(key, model, values, item) for item in error.errors()]
        raise ParameterError(
            f"{len(lines)} parameter(s) cannot be used; nothing was started:\n"
            + "\n".join(f"  - {line}" for line in lines)
        ) from None


def _explained(key: str, model: type[BaseModel], values: Mapping[str, Any], item: Any) -> str:
    location = [str(part) for part in item["loc"]]
    cause = item.get("ctx", {}).get("error")
    if isinstance(cause, ConfigError):
        name = ".".join([key, *location, cause.field])
        return f"{name} = {cause.value!r}: expected {cause.expected}"
    name = ".".join([key, *location])
    if item["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
        above = item["loc"][:-1]
        # What a recipe replaces has the keys of the parameters themselves, or some of them.
        inner = above[2:] if location[0] == "recipes" else above
        known = field_names(model, above, values) or field_names(model, inner, values)
        return f"{name}: there is no such key; {nearest(location[-1], known)}"
    if item["type"] == "tuple_type":
        return f"{name} = {item['input']!r}: expected a list, as [1, 2] in a parameter file"
    message = item["msg"].removeprefix("Value error, ")
    return f"{name} = {item['input']!r}: {message[0].lower()}{message[1:]}"


def field_names(kind: Any, location: Sequence[Any] = (), values: Any = None) -> list[str]:
    """Names of the fields at a location inside nested models, dataclasses and mappings.

    Args:
        kind: type at the top.
        location: keys below it, from the outside in.
        values: at the top; the fields of an encoder depend on its architecture.
    """
    for part in location:
        kind = next(filter(None, (_field_type(one, str(part)) for one in _members(kind))), None)
        values = values.get(part) if isinstance(values, Mapping) else None
    for one in _members(kind):
        if one is EncoderShape and isinstance(values, Mapping):
            return sorted(["architecture", "init", *field_names(shape_type(values))])
        if dataclasses.is_dataclass(one):
            return sorted(field.name for field in dataclasses.fields(one))
        if fields := getattr(one, "model_fields", None):
            return sorted(field.alias or name for name, field in fields.items())
    return []


def _members(kind: Any) -> list[Any]:
    """A type without what it is annotated with; those of a union one by one."""
    inner = typing.get_args(kind)
    if typing.get_origin(kind) is Annotated:
        return _members(inner[0])
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return [one for member in inner for one in _members(member)]
    return [kind]


def _field_type(kind: Any, name: str) -> Any:
    """Type of a field of a model or dataclass, or of any value of a mapping."""
    if typing.get_origin(kind) is dict:
        return typing.get_args(kind)[1]
    fields = getattr(kind, "model_fields", {})
    name = next((own for own, field in fields.items() if field.alias == name), name)
    return (
        typing.get_type_hints(kind, include_extras=True).get(name)
        if isinstance(kind, type)
        else None
    )
