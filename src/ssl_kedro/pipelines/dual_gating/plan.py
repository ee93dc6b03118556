"""What chapter 6 trains: the parts of the chapter, the models each compares, their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters, PartName
from ssl_kedro.pipelines.parameters import ParameterError, budget_name

KEY = "dual_gating"


@dataclass(frozen=True)
class Variant:
    """One row of a comparison, before budgets and seeds.

    Args:
        method: name of the method that trains it.
        gated: whether it is trained once a budget, or once.
        student: whether it distils the teacher into the channels that dual gating learnt.
        gates: gate parameters that differ from the run's own.
    """

    method: str
    gated: bool = True
    student: bool = False
    gates: Mapping[str, float | str] = field(default_factory=dict)


def variants(parameters: DualGatingParameters) -> dict[str, Variant]:
    """Every model of the chapter by the name it has in tables and metrics."""
    return {
        "vicreg": Variant("vicreg", gated=False),
        "vicreg_gating": Variant("vicreg_gating"),
        "dual": Variant("dual_gating"),
        "barlow_dual": Variant("barlow_dual_gating"),
        "two_encoders": Variant("two_encoders"),
        "without_invariance": Variant("without_invariance"),
        "simreg": Variant("simreg", student=True),
        "seed": Variant("seed", student=True),
        "dense_anchored": Variant("dense_anchored"),
        "channel_diversity": Variant(
            "dual_gating", gates={"diversity": parameters.ablation.diversity}
        ),
        "simsiam_dual": Variant("simsiam_dual_gating"),
        "byol_dual": Variant("byol_dual_gating"),
        "dual_ascent": Variant("dual_gating", gates={"steering": "dual_ascent"}),
    }


# Part -> the variants that it compares. Table 6.2 also evaluates them on other data sets.
PARTS: dict[PartName, tuple[str, ...]] = {
    "table_6_1": ("vicreg", "vicreg_gating", "dual"),
    "table_6_2": ("vicreg", "dual"),
    "table_6_3": ("vicreg", "dual", "simreg", "seed"),
    "table_6_4": ("dual", "barlow_dual"),
    "table_6_5": ("dual", "two_encoders"),
    "table_6_6": ("dual", "without_invariance"),
    "figure_6_1": ("dual",),
    "figure_6_2": ("vicreg", "dual"),
    "question_1": ("vicreg", "dual", "dense_anchored"),
    "question_2": ("dual", "channel_diversity"),
    "question_3": ("dual", "simsiam_dual", "byol_dual"),
    "question_4": ("dual", "dual_ascent"),
}


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
    parts: tuple[PartName, ...]

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


def planned_models(parameters: DualGatingParameters, parts: Sequence[PartName]) -> list[Model]:
    """What has to be trained for these parts; what several parts share stands once.

    Raises:
        ParameterError: a question's baseline would already have what the question adds.
    """
    _check_baselines(parameters, parts)
    known = variants(parameters)
    wanted = [name for name in known if any(name in PARTS[part] for part in parts)]
    models = []
    for source in (None, *(parameters.transfer.sources if "table_6_2" in parts else ())):
        for name in wanted:
            of_parts = tuple(part for part in parts if name in PARTS[part])
            if source is not None:
                of_parts = tuple(part for part in of_parts if part == "table_6_2")
            if not of_parts:
                continue
            variant = known[name]
            budgets: tuple[float | None, ...] = parameters.budgets if variant.gated else (None,)
            models += [
                Model(name, variant, budget, parameters.seed + repeat, repeat, source, of_parts)
                for budget in budgets
                for repeat in range(parameters.repeats)
            ]
    return models


def _check_baselines(parameters: DualGatingParameters, parts: Sequence[PartName]) -> None:
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
