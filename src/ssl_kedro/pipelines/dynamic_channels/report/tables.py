"""Flat metrics, and Table 5.1: SimSiam with dynamic channel selection, beside published."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from ssl_kedro.pipelines.dynamic_channels.parameters import DynamicChannelsParameters
from ssl_kedro.pipelines.gated.records import Evaluations
from ssl_kedro.pipelines.gated.report.speed_numbers import stage_metrics
from ssl_kedro.pipelines.gated.rows import ModelRow
from ssl_kedro.pipelines.gated.transfer import transfer_columns, transfer_rows
from ssl_kedro.pipelines.gated.variants import name_of
from ssl_kedro.pipelines.parameters import budget_name
from ssl_kedro.reporting.number_format import plain, signed_with_std
from ssl_kedro.reporting.published import published_table
from ssl_kedro.reporting.table import (
    LESS_PUBLISHED,
    PUBLISHED,
    RUN,
    Column,
    beside_published,
    budget,
    computed,
)

CHANNELS = "Channels"
GROUPS = ("", RUN, CHANNELS, PUBLISHED, LESS_PUBLISHED)


@dataclass(frozen=True)
class _Row:
    """One budget, or None for the ungated baseline."""

    metrics: Mapping[str, float]
    published: pd.DataFrame
    comparable: bool
    percent: int | None

    @property
    def method(self) -> str:
        return "simsiam" if self.percent is None else "simsiam_gating"

    def measured(self, name: str) -> float:
        """A metric in percent."""
        key = "simsiam" if self.percent is None else budget_name(self.percent / 100)
        return 100 * self.metrics.get(f"{key}.{name}", math.nan)

    def printed(self, name: str) -> float:
        """A figure of the thesis."""
        found = self.published[self.published["method"] == self.method]
        if self.percent is not None:
            found = found[found["budget_percent"] == self.percent]
        return float(found[name].iloc[0]) if len(found) else math.nan

    @property
    def macs(self) -> float:
        share = 1.0 if self.percent is None else 1 - self.measured("flop_reduction") / 100
        return self.metrics["dense_macs"] * share

    def less_baseline(self, value: str) -> float:
        """Accuracy, measured or printed, less that of the baseline."""
        if self.percent is None:
            return math.nan
        baseline: _Row = replace(self, percent=None)
        return float(getattr(self, value)("knn_top1") - getattr(baseline, value)("knn_top1"))


def _share(name: str, heading: str) -> Column[_Row]:
    """Share of channels, to a decimal."""
    return Column(
        name,
        lambda row: row.measured(f"channels.{name}"),
        heading,
        CHANNELS,
        lambda value, _: plain(value, 1),
    )


_BESIDE_KNN: tuple[Column[_Row], ...] = beside_published(
    "knn_top1",
    "1-NN",
    lambda row: row.measured("knn_top1"),
    lambda row: row.printed("knn_top1"),
    "difference_knn",
)
_BESIDE_REDUCTION: tuple[Column[_Row], ...] = beside_published(
    "flop_reduction",
    "FLOP reduction",
    lambda row: row.measured("flop_reduction"),
    lambda row: row.printed("flop_reduction"),
    "difference_reduction",
)
_MODELS = {"simsiam": "SimSiam, ungated", "simsiam_gating": "SimSiam, gated"}
COLUMNS: tuple[Column[_Row], ...] = (
    Column(
        "method", lambda row: row.method, "Model", text=lambda name, _: _MODELS[name], left=True
    ),
    Column("budget_percent", lambda row: row.percent, "Budget", text=budget, dtype="Int64"),
    Column("knn_top1", lambda row: row.measured("knn_top1"), "1-NN", RUN),
    Column("flop_reduction", lambda row: row.measured("flop_reduction"), "FLOP reduction", RUN),
    Column("macs", lambda row: row.macs, "FLOPs (M)", RUN, lambda value, _: plain(value / 1e6)),
    _share("always_on", "always on"),
    _share("always_off", "always off"),
    _share("dependent", "dependent"),
    _BESIDE_KNN[0],
    _BESIDE_REDUCTION[0],
    Column("published_macs", lambda row: row.printed("macs")),
    Column(
        "against_baseline",
        lambda row: row.less_baseline("measured"),
        "less baseline",
        RUN,
        signed_with_std,
    ),
    Column(
        "published_against_baseline",
        lambda row: row.less_baseline("printed"),
        "less baseline",
        PUBLISHED,
        signed_with_std,
    ),
    _BESIDE_KNN[1],
    _BESIDE_REDUCTION[1],
)


def metrics(
    parameters: DynamicChannelsParameters,
    models: Evaluations,
    baselines: dict[str, float],
    **stages: Any,
) -> dict[str, float]:
    """The numbers of the run under flat keys; accuracies and shares are fractions."""
    baseline, gated = models[parameters.dense_method], parameters.gated_method
    found: dict[str, float] = {"dense_macs": baseline.macs.dense, **baselines}
    if (nearest := baseline.branches["dense"].knn_top1) is not None:
        found["simsiam.knn_top1"] = nearest
    budgets = [one for one in parameters.gated_budgets if f"{gated}.{budget_name(one)}" in models]
    for name in map(budget_name, budgets):
        model = models[f"{gated}.{name}"]
        if (nearest := model.branches["gated"].knn_top1) is not None:
            found[f"{name}.knn_top1"] = nearest
        if model.macs.flop_reduction is not None:
            found[f"{name}.flop_reduction"] = model.macs.flop_reduction
        channels = sum(block.channels for block in model.channel_usage)
        for use in ("always_on", "always_off", "dependent"):
            share = sum(getattr(block, use) for block in model.channel_usage) / channels
            found[f"{name}.channels.{use}"] = share
    found |= _peer_metrics(parameters, models)
    chosen = operating_point(found, budgets, parameters.operating_point_within)
    if chosen is not None:
        found["operating_point.budget"] = chosen
    # Budgets have no method's name before them here: there is one.
    further = stage_metrics(stages)
    return found | {key.removeprefix(f"{gated}."): value for key, value in further.items()}


def _peer_metrics(parameters: DynamicChannelsParameters, models: Evaluations) -> dict[str, float]:
    """Numbers of each branch of the models that are not the chapter's own."""
    found = {}
    for key, model in models.items():
        if name_of(key) in (parameters.dense_method, parameters.gated_method):
            continue
        for branch, accuracies in model.branches.items():
            if accuracies.knn_top1 is not None:
                found[f"{key}.{branch}.knn_top1"] = accuracies.knn_top1
            spent = model.macs.own if branch == "dense" else model.macs.gated_mean
            if spent is not None:
                found[f"{key}.{branch}.flop_reduction"] = 1 - spent / model.macs.dense
    return found


def table_5_1(parameters: DynamicChannelsParameters, metrics: dict[str, float]) -> pd.DataFrame:
    """One row a budget and the ungated baseline; percent and percentage points.

    Args:
        parameters: of the run; on other data than the thesis' differences to its figures are
            left empty.
        metrics: the run's flat metrics (fractions); accuracies may be missing.
    """
    published = published_table("5.1")
    published = published[published["dataset"] == parameters.published]
    percents = [None, *(round(100 * budget) for budget in sorted(parameters.gated_budgets))]
    ours = parameters.on_published_data
    return computed(COLUMNS, [_Row(metrics, published, ours, percent) for percent in percents])


def operating_point(
    metrics: Mapping[str, float], budgets: Sequence[float], within_points: float
) -> float | None:
    """Cheapest budget whose 1-NN accuracy is close enough to the baseline's.

    Args:
        metrics: the run's flat metrics.
        budgets: t_d of the run.
        within_points: allowed loss in percentage points.

    Returns:
        The budget with the largest measured FLOP reduction among those allowed; None where
        none is, or accuracies are missing.
    """
    if "simsiam.knn_top1" not in metrics:
        return None
    least = metrics["simsiam.knn_top1"] - within_points / 100
    allowed = [b for b in budgets if metrics[f"{budget_name(b)}.knn_top1"] >= least]
    if not allowed:
        return None
    return max(allowed, key=lambda b: metrics[f"{budget_name(b)}.flop_reduction"])


TRANSFER_COLUMNS = transfer_columns("simsiam", "SimSiam")


def transfer_table(runs: pd.DataFrame) -> pd.DataFrame:
    """One row a pair of data sets, model and budget; percent and percentage points.

    Args:
        runs: one row a source model, branch, target and seed; fractions.
    """
    typed = runs.assign(budget_percent=runs["budget_percent"].astype("Int64"))
    return computed(TRANSFER_COLUMNS, transfer_rows(ModelRow(typed)))
