"""Table of peers: gated encoders beside what a user would take instead, with what each cost."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import pandas as pd

from ssl_kedro.evaluation.accuracies import Accuracies
from ssl_kedro.pipelines.gated.inference.records import Measurement
from ssl_kedro.pipelines.gated.parameters import EncoderPipelineParameters
from ssl_kedro.pipelines.gated.records import Evaluation
from ssl_kedro.pipelines.gated.report.budgets import MEASURES, accuracy_by_budget, measured
from ssl_kedro.pipelines.gated.report.page import to_beat
from ssl_kedro.pipelines.gated.variants import (
    budget_percent,
    label_of,
    name_of,
    variant_of,
    width_of,
)
from ssl_kedro.reporting.differences import (
    UNKNOWN,
    PairedDifference,
    mean_and_std,
    paired,
    paired_difference,
)
from ssl_kedro.reporting.html import Section
from ssl_kedro.reporting.number_format import plain, three_digits
from ssl_kedro.reporting.pictures import Picture
from ssl_kedro.reporting.table import RUN, Column, computed, seconds, shown, tera, word

Network = Literal["dense", "gated", "static"]
_COST, _ITSELF, _ALL = "An image", "Training, itself", "Training, all it needs"
_LESS_THIN = "Less a thin network of no fewer FLOPs"
# Shares of MACs that differ by less are the same.
_SAME = 1 + 1e-9


@dataclass(frozen=True)
class Peer:
    """One network of one model, over its seeds.

    Args:
        key: of the model.
        network: which of its networks.
        evaluations: by seed.
        accuracies: the same.
        macs: mean an image, the same.
        needed: evaluations of what taught it, or what it began with, the same; empty without.
        thin: narrower networks by the dense method and the baseline itself, to compare with.
        derived: whether it was cut from another encoder, whose training the evaluations tell of.
    """

    key: str
    network: Network
    evaluations: Mapping[int, Evaluation]
    accuracies: Mapping[int, Accuracies]
    macs: Mapping[int, float]
    needed: Mapping[int, Evaluation] = field(default_factory=dict)
    thin: tuple["Peer", ...] = ()
    derived: bool = False

    @property
    def mean_macs(self) -> float:
        """Over seeds."""
        return mean_and_std(self.macs.values())[0]

    @property
    def cost_share(self) -> float:
        """Percent of the dense encoder's MACs."""
        return 100 * self.mean_macs / next(iter(self.evaluations.values())).macs.dense

    def measured(self, measure: str) -> dict[int, float]:
        """An accuracy by seed, a fraction, where it was measured."""
        flat = {seed: found.flat() for seed, found in self.accuracies.items()}
        return {seed: found[measure] for seed, found in flat.items() if measure in found}

    def mean(self, measure: str) -> float:
        """Over seeds, in percent."""
        return 100 * mean_and_std(self.measured(measure).values())[0]

    def std(self, measure: str) -> float:
        """Over seeds, in percent; NaN with one."""
        return 100 * mean_and_std(self.measured(measure).values())[1]

    def training(self, quantity: Literal["seconds", "macs"], *, itself: bool) -> float:
        """Mean over seeds of what its training took, or that with all that it needs."""
        if itself and self.derived:
            return 0.0
        spent = [] if itself else [self.needed]
        return mean_and_std(
            sum(getattr(of[seed].training, quantity) for of in (self.evaluations, *spent) if of)
            for seed in self.evaluations
        )[0]

    @property
    def compared(self) -> "Peer | None":
        """The thin network with the fewest MACs that are no fewer than its own; itself has none."""
        wide = [one for one in self.thin if one.mean_macs * _SAME >= self.mean_macs]
        return min(wide, key=lambda one: one.mean_macs, default=None)

    def less_thin(self, measure: str) -> PairedDifference:
        """Difference to that in points, seed by seed."""
        if self.compared is None:
            return UNKNOWN
        return paired_difference(self.measured(measure), self.compared.measured(measure))


def _accuracy(measure: str, name: str, heading: str) -> tuple[Column[Peer], ...]:
    return (
        Column(name, lambda row: row.mean(measure), heading, RUN),
        Column(f"{name}_std", lambda row: row.std(measure)),
    )


def _spent(name: str, group: str, *, itself: bool) -> tuple[Column[Peer], ...]:
    took = partial(Peer.training, itself=itself)
    return (
        Column(f"{name}seconds", lambda row: took(row, "seconds"), "Seconds", group, seconds),
        Column(f"{name}macs", lambda row: took(row, "macs"), "TMACs", group, tera),
    )


def _less(measure: str, name: str, heading: str) -> tuple[Column[Peer], ...]:
    difference: Callable[[Peer], PairedDifference] = lambda row: row.less_thin(measure)  # noqa: E731
    return paired(f"{name}_against_thin", difference, heading, _LESS_THIN)


def _count(value: float, _: float) -> str:
    return f"{int(value):,}"


COLUMNS: tuple[Column[Peer], ...] = (
    Column("model", lambda row: row.key, "Model", text=lambda key, _: label_of(key), left=True),
    Column("budget_percent", lambda row: budget_percent(row.key), dtype="Int64"),
    Column("width", lambda row: width_of(row.key), dtype="Int64"),
    Column("network", lambda row: row.network, "Network", text=word, left=True),
    *_accuracy("linear_top1_mean", "linear_top1", "Linear"),
    *_accuracy("knn_top1", "knn_top1", "1-NN"),
    Column("seeds", lambda row: len(row.accuracies), "Seeds", RUN, _count),
    Column(
        "macs",
        lambda row: row.mean_macs,
        "FLOPs (M)",
        _COST,
        lambda value, _: three_digits(value / 1e6),
    ),
    Column("cost_share", lambda row: row.cost_share, "FLOPs (%)", _COST, lambda v, _: plain(v, 1)),
    Column(
        "parameters",
        lambda row: next(iter(row.evaluations.values())).parameters,
        "Parameters",
        _COST,
        _count,
    ),
    *_spent("training_", _ITSELF, itself=True),
    *_spent("total_training_", _ALL, itself=False),
    Column(
        "compared_with",
        lambda row: None if row.compared is None else row.compared.key,
        "Network",
        _LESS_THIN,
        lambda key, _: label_of(key),
    ),
    *_less("linear_top1_mean", "linear", "Linear"),
    *_less("knn_top1", "knn", "1-NN"),
)


def peers_table(
    parameters: EncoderPipelineParameters, **found: Evaluation | Measurement
) -> pd.DataFrame:
    """One row a network of each model; percent, percentage points, seconds and MACs.

    Args:
        parameters: of the run.
        found: by the model's name in the metrics, its seed and "evaluation" or, of models whose
            static network was measured, "inference": "dual.budget_30.seed_0.evaluation".
    """
    models: dict[str, dict[int, Evaluation]] = {}
    timed: dict[str, dict[int, Measurement]] = {}
    for name, one in found.items():
        key, _, rest = name.rpartition(".seed_")
        seed = int(rest.partition(".")[0])
        if isinstance(one, Evaluation):
            models.setdefault(key, {})[seed] = one
        else:
            timed.setdefault(key, {})[seed] = one
    return computed(COLUMNS, _rows(parameters, models, timed))


def _rows(
    parameters: EncoderPipelineParameters,
    models: Mapping[str, Mapping[int, Evaluation]],
    timed: Mapping[str, Mapping[int, Measurement]],
) -> Iterator[Peer]:
    """Rows in the order of the models, with what each is compared with."""
    dense = parameters.dense_method
    made = [one for key in models for one in _networks(key, models[key], timed.get(key, {}))]
    thin = tuple(one for one in made if name_of(one.key) in (dense, "thin"))
    for one in made:
        variant, method = variant_of(one.key), next(iter(one.evaluations.values())).method
        # To teach it, or to begin with.
        needs_dense = bool(variant and variant.student) or parameters.begins_with_dense(method)
        yield replace(
            one,
            needed=models[dense] if needs_dense else {},
            thin=() if one in thin else thin,
            derived=bool(variant and variant.derived) and one.key != name_of(one.key),
        )


def _networks(
    key: str, evaluations: Mapping[int, Evaluation], timed: Mapping[int, Measurement]
) -> Iterator[Peer]:
    """The branches of one model; the static network as well, where gates depend on the image."""
    for branch in next(iter(evaluations.values())).branches:
        accuracies = {seed: found.branches[branch] for seed, found in evaluations.items()}
        macs = {
            seed: float(found.macs.own if branch == "dense" else found.macs.gated_mean or math.nan)
            for seed, found in evaluations.items()
        }
        yield Peer(key, branch, evaluations, accuracies, macs)
    varies = any(block.dependent for found in evaluations.values() for block in found.channel_usage)
    static = {seed: found for seed, found in timed.items() if "static" in found.accuracies}
    if varies and static:
        of_seeds = {seed: evaluations[seed] for seed in static}
        accuracies = {seed: found.accuracies["static"] for seed, found in static.items()}
        macs = {seed: found.macs["static"] for seed, found in static.items()}
        yield Peer(key, "static", of_seeds, accuracies, macs)


def peers_section(
    parameters: EncoderPipelineParameters, table: pd.DataFrame | None, levels: Mapping[str, float]
) -> list[Section]:
    """Curve over budgets and table on the page; nothing without one.

    Args:
        parameters: of the run.
        table: from :func:`peers_table`.
        levels: what there is to beat, fractions.
    """
    if table is None:
        return []
    several = table["seeds"].max() > 1
    spread = "mean ± standard deviation over seeds" if several else "one seed, hence no deviations"
    caption = (
        f"Accuracies in percent, differences in percentage points between runs of the same seed; "
        f"{spread}. FLOPs: MACs, mean over the evaluation images, and their share of the dense "
        "encoder's. Parameters: numbers in the encoder's file, of all its branches. TMACs: 10¹² "
        "multiply-accumulates, a backward pass counted as two forward passes. A distilled network "
        "needs its teacher, the dense baseline of its seed, and so does what begins with its "
        "weights. All networks of a gated encoder come "
        "from one training; slim ones of all widths and nested ones of all budgets from that "
        "of the whole slim or nested network, and pruned ones from the dense baseline's, with no "
        "training of their own. Each network is compared "
        "with the thin one, or the dense baseline, that has the fewest FLOPs among those that have "
        "no fewer than its own."
    )
    unmeasured = [name for name in ("linear", "knn") if table[f"{name}_top1"].isna().all()]
    columns = [
        column for column in COLUMNS if not any(column.name.startswith(name) for name in unmeasured)
    ]
    groups = {group: group for group in ("", RUN, _COST, _ITSELF, _ALL, _LESS_THIN)}
    frame = table.assign(name=table["model"].map(name_of))
    made = shown(columns, frame, groups, ["name"], caption)
    pictures = [
        Picture(
            accuracy_by_budget(parameters, table, levels, measure),
            f"{MEASURES.get(measure, 'Accuracy')} of every network over its share of the dense "
            "encoder's FLOPs",
        )
        for measure in measured(table) or [""]
    ]
    return [
        Section(
            "Accuracy against cost",
            _levels(levels),
            pictures=pictures,
            tables=[made],
            folded="Show the figures of all networks, and what their trainings cost",
        )
    ]


def _levels(levels: Mapping[str, float]) -> list[str]:
    return [to_beat(levels)] if "chance" in levels else []
