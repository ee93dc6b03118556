"""What chapter 6 trains for its parts: models, budgets, seeds, and their names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters
from ssl_kedro.pipelines.dual_gating.part import parts as known_parts
from ssl_kedro.pipelines.gated.variants import DUAL_GATING, Variant
from ssl_kedro.pipelines.parameters import ParameterError, budget_name

KEY = "dual_gating"


@dataclass(frozen=True)
class Model:
    """One training.

    Args:
        name: of its variant.
        variant: what it is.
        budget: t_d, or None for a dense method.
        seed: of weights, order, views and gates.
        repeat: 0 for the first seed.
        source: further data set it is pre-trained on; None = the run's own data.
        parts: the parts of the chapter that need it.
    """

    name: str
    variant: Variant
    budget: float | None
    seed: int
    repeat: int
    source: str | None
    parts: tuple[str, ...]

    @property
    def key(self) -> str:
        """Name in metrics, "dual.budget_30"; the same for every seed."""
        return self.name if self.budget is None else f"{self.name}.{budget_name(self.budget)}"

    @property
    def data_namespace(self) -> str:
        """Where its images and their summary lie."""
        return data_namespace(self.source)

    @property
    def namespace(self) -> str:
        """Of its nodes and of its data in the catalog."""
        parts = [self.data_namespace]
        if self.budget is not None:
            parts.append(budget_name(self.budget))
        if self.name != "dual":
            parts.append(self.name)
        if self.repeat:
            parts.append(f"seed_{self.seed}")
        return ".".join(parts)


def data_namespace(name: str | None) -> str:
    """Catalog namespace of a data set: the run's own, or one named in transfer.data."""
    return KEY if name is None else f"{KEY}.sources.{name}"


def planned_models(parameters: DualGatingParameters, parts: Sequence[str]) -> list[Model]:
    """What has to be trained for these parts; what several parts share stands once.

    Raises:
        ParameterError: a question's baseline would already have what the question adds.
    """
    _check_baselines(parameters, parts)
    compared = {part: known_parts()[part].models for part in parts}
    wanted = [name for name in DUAL_GATING if any(name in of for of in compared.values())]
    models = []
    for source in (None, *(parameters.transfer.sources if "table_6_2" in parts else ())):
        for name in wanted:
            of_parts = tuple(part for part in parts if name in compared[part])
            if source is not None:
                of_parts = tuple(part for part in of_parts if part == "table_6_2")
            if not of_parts:
                continue
            variant = DUAL_GATING[name]
            budgets: tuple[float | None, ...] = parameters.budgets if variant.gated else (None,)
            models += [
                Model(name, variant, budget, parameters.seed + repeat, repeat, source, of_parts)
                for budget in budgets
                for repeat in range(parameters.repeats)
            ]
    return models


def _check_baselines(parameters: DualGatingParameters, parts: Sequence[str]) -> None:
    gates = parameters.gates
    for part, key, value, plain in (
        ("question_2", "diversity", gates.diversity, 0.0),
        ("question_4", "steering", gates.steering, "fixed"),
    ):
        if part in parts and value != plain:
            raise ParameterError(
                f"{KEY}.gates.{key} = {value!r}: {part} compares it with plain dual gating and "
                f"sets it itself; leave it at {plain!r} for that part"
            )


def sibling(models: Sequence[Model], of: Model, name: str) -> Model:
    """The model of another variant with the same budget (if it has one), seed and source.

    Raises:
        LookupError: it is not planned.
    """
    for model in models:
        same = (model.name, model.seed, model.source) == (name, of.seed, of.source)
        if same and model.budget in (None, of.budget):
            return model
    raise LookupError(f"{of.key} needs {name!r} with seed {of.seed}, which is not planned")


@dataclass(frozen=True)
class Transfer:
    """One encoder evaluated on one further data set (Table 6.2).

    Args:
        model: the encoder.
        source: what tables call the data it was pre-trained on.
        target: what tables call the data it is evaluated on.
        target_source: name in transfer.data, or None for the run's own data.
    """

    model: Model
    source: str
    target: str
    target_source: str | None

    @property
    def output(self) -> str:
        """Catalog name of its result."""
        return f"{self.model.namespace}.transfer_{self.target}"


def planned_transfers(parameters: DualGatingParameters, models: Sequence[Model]) -> list[Transfer]:
    """Every source model on every target that is not its own data.

    Raises:
        ParameterError: Table 6.2 is wanted and there is no such pair.
    """
    own = parameters.transfer.own
    found = [
        Transfer(model, model.source or own, target, None if target == own else target)
        for model in models
        if "table_6_2" in model.parts
        for target in parameters.transfer.targets
        if target != (model.source or own)
    ]
    if not found and any("table_6_2" in model.parts for model in models):
        raise ParameterError(
            f"{KEY}.transfer.targets = {list(parameters.transfer.targets)}: Table 6.2 evaluates "
            "encoders on other data than they were trained on; describe such a data set in "
            "transfer.data and name it in transfer.targets, or leave table_6_2 out"
        )
    return found
