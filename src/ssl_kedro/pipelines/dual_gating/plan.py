"""What chapter 6 trains for its parts: models, budgets, seeds, and their names."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

from ssl_kedro.pipelines.dual_gating.parameters import TEACHERS, DualGatingParameters
from ssl_kedro.pipelines.dual_gating.part import parts as known_parts
from ssl_kedro.pipelines.dual_gating.row import OWN_TEACHER
from ssl_kedro.pipelines.gated.graph import (
    BEST,
    FEW_LABELS,
    FRONTIER,
    PlannedModel,
    times_nothing,
)
from ssl_kedro.pipelines.gated.records import Training
from ssl_kedro.pipelines.gated.transfer import data_namespace, images_of
from ssl_kedro.pipelines.gated.variants import DUAL_GATING
from ssl_kedro.pipelines.parameters import ParameterError, budget_name

KEY = "dual_gating"
# The part that evaluates encoders on other data than they were trained on.
TRANSFER = "table_6_2"


@dataclass(frozen=True, kw_only=True)
class Model(PlannedModel):
    """One training of chapter 6.

    Args:
        parts: the parts of the chapter that need it.
    """

    parts: tuple[str, ...]


def planned_models(parameters: DualGatingParameters, parts: Sequence[str]) -> list[Model]:
    """What has to be trained for these parts; what several parts share stands once.

    Raises:
        ParameterError: a question's baseline would already have what the question adds.
    """
    _check_baselines(parameters, parts)
    models: list[Model] = []
    for source in (None, *(parameters.transfer.sources if TRANSFER in parts else ())):
        of_source = parts if source is None else [TRANSFER]
        for name, variant in DUAL_GATING.items():
            needed = tuple(part for part in of_source if name in _compared(part, parts))
            budgets: tuple[float | None, ...] = (
                parameters.gated_budgets if variant.gated else (None,)
            )
            for budget, repeat in product(budgets if needed else (), range(parameters.repeats)):
                model = _planned(parameters, name, budget, repeat, source, needed)
                if variant.student:
                    model = replace(model, student=_taken_over(parameters, models, model))
                models.append(model)
    return models


def _compared(part: str, parts: Sequence[str]) -> tuple[str, ...]:
    """Names of the variants that a part compares; beside "best" what that trains is fine-tuned."""
    both, dense = ("vicreg", "dual"), ("vicreg",)
    tuned = dense if BEST in parts and FRONTIER not in parts else both
    further = {FRONTIER: both, BEST: dense, FEW_LABELS: tuned}
    return further.get(part) or known_parts()[part].models


def _planned(
    parameters: DualGatingParameters,
    name: str,
    budget: float | None,
    repeat: int,
    source: str | None,
    parts: tuple[str, ...],
) -> Model:
    """One model with its names; a dense one belongs to every budget."""
    variant, seed = DUAL_GATING[name], parameters.seed + repeat
    data = data_namespace(KEY, source)
    key = name if budget is None else f"{name}.{budget_name(budget)}"
    of_seed = [f"seed_{seed}"] * bool(repeat)
    space = [data, *key.split(".")[1:], *([name] if name != "dual" else []), *of_seed]
    label = [*key.split("."), *([source] if source else []), *of_seed]
    of_chapter = () if parts == (BEST,) else parameters.gated_budgets
    budgets = of_chapter if budget is None else (budget,)
    learns_gates = variant.gated and not variant.student
    return Model(
        parts=parts,
        pipeline=KEY,
        key=key,
        namespace=".".join(space),
        label="_".join(label),
        training=Training(variant.method, budget, seed, parameters.gates_of(variant)),
        images=images_of(parameters, KEY, source, "pretrain"),
        data=data,
        tags=(*parts, variant.method, *map(budget_name, budgets)),
        repeat=repeat,
        timed=source is None
        and not times_nothing(parts)
        and (
            FRONTIER in parts
            or ((repeat == 0 or BEST in parts) and _timed(parameters, name, learns_gates))
        ),
    )


def _timed(parameters: DualGatingParameters, name: str, learns_gates: bool) -> bool:
    """Whether a model is timed without peers: the dense baseline where any other is."""
    if name == parameters.dense_method:
        return bool(parameters.inference.models)
    return learns_gates and parameters.inference.measures(name)


def _taken_over(
    parameters: DualGatingParameters, models: Sequence[Model], student: Model
) -> dict[str, str]:
    """Catalog names of a student's teacher, and of the gates that give its channels."""
    teacher = parameters.distillation.of(student.name)
    if teacher == OWN_TEACHER:
        teacher = f"{sibling(models, student, OWN_TEACHER).namespace}.encoder"
    elif teacher in parameters.distillation.files:
        teacher = f"{KEY}.{TEACHERS}.{teacher}"
    gates = f"{sibling(models, student, 'dual').namespace}.features"
    return {"teacher": teacher, "gate_features": gates}


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
        same = (model.name, model.repeat, model.source) == (name, of.repeat, of.source)
        if same and model.training.budget in (None, of.training.budget):
            return model
    seed = of.training.seed
    raise LookupError(f"{of.key} needs {name!r} with seed {seed}, which is not planned")
