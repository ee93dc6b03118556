"""Tables 6.2 to 6.6: measured beside published, in percent and percentage points."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from ssl_kedro.reporting.chapter6_results import (
    PairedDifference,
    by_seed,
    mean_and_std,
    paired_difference,
)
from ssl_kedro.reporting.published import published_table

# Every table has figures for it; it stands in where a table has none for the run's data set.
NEAREST_PRINTED = "CIFAR-100"
_STUDENTS = {"simreg": "SimReg", "seed": "SEED"}
# Column of Tables 6.4 to 6.6 -> metric and branch of the runs.
_VARIANT_COLUMNS = {
    "dense_knn_top1": ("knn_top1", "dense"),
    "gated_knn_top1": ("knn_top1", "gated"),
    "flop_reduction": ("flop_reduction", "gated"),
}
_PRINTED_METHODS = {**_STUDENTS, "vicreg": "vicreg", "dual": "dual_gating"}


def table_6_2(transfer: pd.DataFrame, published_names: Mapping[str, str]) -> pd.DataFrame:
    """Linear evaluation of frozen encoders on other data sets.

    Args:
        transfer: one row a source, target, model, budget, seed and branch; fractions.
        published_names: the thesis' name of each data set that has one; only these have
            published figures beside them.

    Returns:
        Columns source, target, model, branch, budget_percent, linear_top1, linear_std (over
        seeds; over the probe's runs where there is one seed), seeds, against_vicreg,
        against_vicreg_std (paired by seed), published_linear_top1, published_against_vicreg,
        difference_linear.
    """
    printed = published_table("6.2")
    rows = []
    for source, target in dict.fromkeys(zip(transfer["source"], transfer["target"], strict=True)):
        pair = transfer[(transfer["source"] == source) & (transfer["target"] == target)]
        names = (published_names.get(source), published_names.get(target))
        same = printed[(printed["source"] == names[0]) & (printed["target"] == names[1])]
        for model, budget in _models_by_budget(pair, ("vicreg", "dual")):
            for branch in ("dense", "gated"):
                rows += _transfer_rows(pair, same, source, target, model, branch, budget)
    return _with_whole_budgets(pd.DataFrame(rows))


def _transfer_rows(
    pair: pd.DataFrame,
    printed: pd.DataFrame,
    source: str,
    target: str,
    model: str,
    branch: str,
    budget: int | None,
) -> list[dict[str, Any]]:
    """One row of Table 6.2, none where the model has no such branch."""
    accuracies = by_seed(pair, model, "linear_top1", branch, budget)
    if not accuracies:
        return []
    mean, std = mean_and_std(list(accuracies.values()))
    if len(accuracies) == 1:
        std = next(iter(by_seed(pair, model, "linear_std", branch, budget).values()))
    against = PairedDifference(math.nan, math.nan, 0)
    if model != "vicreg":
        against = paired_difference(
            pair, model, "vicreg", "linear_top1", branch, budget, against_branch="dense"
        )
    figure = _printed(printed, "linear_top1", _PRINTED_METHODS[model], budget, branch)
    baseline = _printed(printed, "linear_top1", "vicreg", None, "dense")
    return [
        {
            "source": source,
            "target": target,
            "model": model,
            "branch": branch,
            "budget_percent": budget,
            "linear_top1": 100 * mean,
            "linear_std": 100 * std,
            "seeds": len(accuracies),
            "against_vicreg": 100 * against.mean,
            "against_vicreg_std": 100 * against.std,
            "published_linear_top1": figure,
            "published_against_vicreg": math.nan if model == "vicreg" else figure - baseline,
            "difference_linear": 100 * mean - figure,
        }
    ]


def table_6_3(
    runs: pd.DataFrame, dataset: str, *, comparable: bool, own_teacher: bool = True
) -> pd.DataFrame:
    """Distilled students beside the gated encoder, with all that has to be trained for each.

    A student needs the dense baseline as its teacher, dual gating for its channel counts, and
    its own distillation; dual gating needs itself.

    Args:
        runs: one row a model, budget, seed and branch; fractions.
        dataset: data set of the thesis whose figures stand beside.
        comparable: whether the run used that data set. Rows of the thesis that were trained on
            other images take no difference even then.
        own_teacher: whether the students' teacher is the run's dense baseline. Another
            encoder's training cost is not known, and the students' totals with it.

    Returns:
        Columns model, branch, budget_percent, knn_normalised_top1, knn_normalised_top1_std,
        flop_reduction, flop_reduction_std, seeds, training_seconds, total_training_seconds,
        total_training_macs (means over seeds), published_dataset, published_teacher,
        published_knn_top1, difference_knn.
    """
    everything = published_table("6.3")
    shown = _shown_dataset(everything["target"], dataset)
    printed = everything[everything["target"] == shown]
    rows = []
    for model, budget in _models_by_budget(runs, (*_STUDENTS, "dual")):
        branch = "dense" if model in _STUDENTS else "gated"
        row: dict[str, Any] = {"model": model, "branch": branch, "budget_percent": budget}
        for metric in ("knn_normalised_top1", "flop_reduction"):
            row |= _measured(runs, model, branch, budget, metric, metric)
        row["seeds"] = len(by_seed(runs, model, "training_seconds", branch, budget))
        row |= _training_cost(runs, model, budget, own_teacher)
        method = _PRINTED_METHODS[model]
        figure = _printed(printed, "knn_top1", method, budget)
        trained_on, teacher = _published_training(printed, method, budget)
        same_images = comparable and shown == dataset == trained_on
        row |= {
            "published_dataset": shown,
            "published_teacher": teacher,
            "published_knn_top1": figure,
            "difference_knn": row["knn_normalised_top1"] - figure if same_images else math.nan,
        }
        rows.append(row)
    return _with_whole_budgets(pd.DataFrame(rows))


def _training_cost(
    runs: pd.DataFrame, model: str, budget: int | None, own_teacher: bool
) -> dict[str, float]:
    """Mean cost of the model itself, and of all that a user trains to end up with it."""
    needed = {model: "dense" if model in _STUDENTS else "gated"}
    if model in _STUDENTS:
        needed |= {"vicreg": "dense", "dual": "gated"}
    found: dict[str, float] = {}
    for metric in ("training_seconds", "training_macs"):
        spent = [by_seed(runs, name, metric, b, budget) for name, b in needed.items()]
        seeds = set.intersection(*(set(values) for values in spent))
        if metric == "training_seconds":
            found[metric] = mean_and_std(list(spent[0].values()))[0]
        totals = [sum(values[seed] for values in spent) for seed in sorted(seeds)]
        known = own_teacher or model not in _STUDENTS
        found[f"total_{metric}"] = mean_and_std(totals)[0] if known else math.nan
    return found


def _published_training(
    printed: pd.DataFrame, method: str, budget: int | None
) -> tuple[str | None, str | None]:
    """What a published row of Table 6.3 was trained on, and by which teacher, in words."""
    row = printed[(printed["method"] == method) & (printed["budget_percent"] == budget)]
    if row.empty:
        return None, None
    images, teacher = str(row["pretrained_on"].iloc[0]), str(row["teacher"].iloc[0])
    return images, None if teacher == "none" else f"{teacher}, {images}"


def table_6_4(runs: pd.DataFrame, dataset: str, *, comparable: bool) -> pd.DataFrame:
    """Barlow Twins in the dual setting beside VICReg; see :func:`_variant_table`."""
    return _variant_table("6.4", "barlow_dual", "barlow_dual_gating", runs, dataset, comparable)


def table_6_5(runs: pd.DataFrame, dataset: str, *, comparable: bool) -> pd.DataFrame:
    """Two separate encoders beside one; see :func:`_variant_table`."""
    return _variant_table("6.5", "two_encoders", "two_encoders", runs, dataset, comparable)


def table_6_6(runs: pd.DataFrame, dataset: str, *, comparable: bool) -> pd.DataFrame:
    """Dual gating without and with the invariance term; see :func:`_variant_table`."""
    variant = "without_invariance"
    return _variant_table("6.6", variant, variant, runs, dataset, comparable)


def _variant_table(
    number: str, variant: str, method: str, runs: pd.DataFrame, dataset: str, comparable: bool
) -> pd.DataFrame:
    """A variant of dual gating beside dual gating, 1-NN on features as they are.

    Args:
        number: of the thesis' table.
        variant: model among the runs.
        method: the variant's name in the published table.
        runs: one row a model, budget, seed and branch; fractions.
        dataset: data set of the thesis whose figures stand beside.
        comparable: whether the run used that data set.

    Returns:
        Columns model, budget_percent, seeds; for each of dense_knn_top1, gated_knn_top1 and
        flop_reduction its mean, ``_std`` over seeds, ``_against_dual`` and
        ``_against_dual_std`` (paired by seed), ``published_<name>`` and ``difference_<name>``;
        published_dataset, whose figures are shown.
    """
    everything = published_table(number)
    shown = _shown_dataset(everything["dataset"], dataset)
    printed = everything[everything["dataset"] == shown]
    printed_methods = {"dual": "dual_gating", variant: method}
    rows = []
    for model, budget in _models_by_budget(runs, ("dual", variant)):
        seeds = len(by_seed(runs, model, "training_seconds", "gated", budget))
        row: dict[str, Any] = {"model": model, "budget_percent": budget, "seeds": seeds}
        published: dict[str, Any] = {"published_dataset": shown}
        for column, (metric, branch) in _VARIANT_COLUMNS.items():
            row |= _measured(runs, model, branch, budget, metric, column)
            against = PairedDifference(math.nan, math.nan, 0)
            if model != "dual":
                against = paired_difference(runs, model, "dual", metric, branch, budget)
            row[f"{column}_against_dual"] = 100 * against.mean
            row[f"{column}_against_dual_std"] = 100 * against.std
            figure = _printed(printed, column, printed_methods[model], budget)
            published[f"published_{column}"] = figure
            difference = row[column] - figure if comparable and shown == dataset else math.nan
            published[f"difference_{column}"] = difference
        rows.append(row | published)
    return _with_whole_budgets(pd.DataFrame(rows))


def _measured(
    runs: pd.DataFrame, model: str, branch: str, budget: int | None, metric: str, name: str
) -> dict[str, float]:
    """Mean and ``_std`` over seeds under a name, in percent."""
    mean, std = mean_and_std(list(by_seed(runs, model, metric, branch, budget).values()))
    return {name: 100 * mean, f"{name}_std": 100 * std}


def _models_by_budget(
    frame: pd.DataFrame, models: tuple[str, ...]
) -> Iterator[tuple[str, int | None]]:
    """Models of the frame without a budget, then those of each budget, in the given order."""
    present = set(zip(frame["model"], frame["budget_percent"].fillna(-1), strict=True))
    for budget in sorted({budget for _, budget in present}):
        for model in models:
            if (model, budget) in present:
                yield model, None if budget < 0 else int(budget)


def _shown_dataset(available: pd.Series, dataset: str) -> str:
    """The run's data set where the table has it, else the nearest that it prints."""
    return dataset if (available == dataset).any() else NEAREST_PRINTED


def _printed(
    printed: pd.DataFrame,
    column: str,
    method: str,
    budget: int | None,
    branch: str | None = None,
) -> float:
    """One published figure; NaN where the thesis has none."""
    budgets = printed["budget_percent"]
    same = (printed["method"] == method) & (budgets.isna() if budget is None else budgets == budget)
    if branch is not None:
        same &= printed["branch"] == branch
    found = printed.loc[same, column]
    return float(found.iloc[0]) if len(found) else math.nan


def _with_whole_budgets(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(budget_percent=frame["budget_percent"].astype("Int64"))
