"""Tables 4.1 to 4.4: measured rows with the published ones beside, each a list of columns."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import attrgetter, methodcaller
from typing import Any

import pandas as pd

from ssl_kedro.pipelines.saliency360.records import Results
from ssl_kedro.reporting.number_format import MINUS, plain
from ssl_kedro.reporting.published import published_table
from ssl_kedro.reporting.table import Column, computed, word
from ssl_kedro.saliency.metric import metrics

THIS_RUN, PUBLISHED = "this run", "published"
# Groups of columns: what a row is, and its scores.
ROW, SCORES = "row", "scores"
_TIMES = ["source", "model", "stage", "batch", "ms", "device", "threads"]
# Values by column; what a row does not say is missing.
Row = dict[str, Any]


def _score(value: float, _: float) -> str:
    return plain(value, 3).replace("-", MINUS)


def _column(
    name: str,
    heading: str = "",
    text: Callable[[Any, float], str] = word,
    group: str = ROW,
    *,
    lower_is_better: bool = False,
) -> Column[Row]:
    value = methodcaller("get", name)
    left = text is word
    return Column(name, value, heading, group, text, left=left, lower_is_better=lower_is_better)


_SETTING = _column("setting", "Setting")
_NETWORK = _column("architecture", "Network")
_WHERE = (_column("source", "Source"), _column("dataset", "Data"), _column("model", "Model"))
_OWN: Mapping[str, tuple[Column[Row], ...]] = {
    "4.1": (_SETTING, _column("encoder"), _column("decoder", "Decoder"), _column("mode")),
    "4.3": (
        _NETWORK,
        _SETTING,
        _column("local_weight", "local weight", lambda value, _: f"{value:g}"),
    ),
    "4.4": (
        _NETWORK,
        _column("projections", "projections", lambda value, _: "yes" if value else "no"),
    ),
}


def columns(table: str) -> tuple[Column[Row], ...]:
    """Columns of Table 4.1, 4.3 or 4.4: of the row, its metrics, and their intervals' ends.

    The page leaves out the ends.
    """
    means = (
        _column(name, of.heading, _score, SCORES, lower_is_better=of.lower_is_better)
        for name, of in metrics().items()
    )
    ends = (_column(f"{name}_{end}", group=SCORES) for name in metrics() for end in ("low", "high"))
    return (*_WHERE, *_OWN[table], *means, *ends)


def all_tables(results: Results) -> dict[str, pd.DataFrame]:
    """By catalog name.

    Table 4.1 has a row a model or baseline, data set and mode; 4.2 one a stage, batch and model;
    4.3 and 4.4 one a model that differs from another in the weight of the local loss (or
    attention), or in projections. Published rows follow the measured ones.
    """
    return {
        "table_4_1": _frame("4.1", _scored(results)),
        "table_4_2": _times(results),
        "table_4_3": _frame("4.3", _ablation(results, "4.3", "local_weight", "attention")),
        "table_4_4": _frame("4.4", _ablation(results, "4.4", "projections")),
    }


def _frame(table: str, measured: Iterable[Row]) -> pd.DataFrame:
    published: list[Any] = published_table(table).to_dict("records")
    rows: list[Row] = [*measured, *({**row, "source": PUBLISHED} for row in published)]
    return computed(columns(table), rows)


def _scored(results: Results) -> Iterator[Row]:
    """Models and baselines on every data set, in every mode."""
    for dataset, models in results.scores.items():
        for name, modes in models.items():
            for mode, scores in modes.items():
                row: Row = {"source": THIS_RUN, "dataset": dataset, "model": name, "mode": mode}
                row |= _networks(results, name)
                for metric, of in scores.items():
                    row |= {metric: of.mean, f"{metric}_low": of.low, f"{metric}_high": of.high}
                yield row


def _networks(results: Results, name: str) -> Row:
    """Encoder and decoder of a model; nothing of a baseline. Setting (ii) is with attention."""
    if name in results.given:
        return {"encoder": "maps of others", "decoder": "maps of others"}
    plan = results.models.get(name)
    if plan is None:
        return {}
    encoder = results.encoders[plan.encoder]
    setting = "(ii)" if encoder.attention else "(i)"
    return {
        "setting": setting if encoder.kind == "contrastive" else "",
        "encoder": f"{encoder.architecture}, {encoder.kind}",
        "decoder": plan.decoder + (", fine-tuned" if plan.fine_tune else ""),
        "architecture": encoder.architecture,
        "local_weight": encoder.local_weight,
        "projections": encoder.projections,
    }


def _times(results: Results) -> pd.DataFrame:
    """Milliseconds a panorama of each stage; the published ones are totals."""
    own = [{**vars(one), "source": THIS_RUN} for one in results.runtime]
    known = {"source": PUBLISHED, "stage": "total", "device": "RTX 3090"}
    published = published_table("4.2").to_dict("records")
    theirs = [{**known, "model": row["model"], "ms": 1000 * row["seconds"]} for row in published]
    return pd.DataFrame([*own, *theirs], columns=_TIMES)


def _ablation(results: Results, table: str, *varied: str) -> list[Row]:
    """Sphere-mode rows of models on contrastive encoders; none with nothing to compare."""
    keep = _alike(results, *varied)
    rows = [
        row
        for row in _scored(results)
        if row["mode"] == "sphere"
        and row["model"] in keep
        and len(keep & results.scores[row["dataset"]].keys()) > 1
    ]
    order = ["dataset", *(column.name for column in _OWN[table])]
    return sorted(rows, key=lambda row: [str(row[name]) for name in order])


def _alike(results: Results, *varied: str) -> set[str]:
    """Models on contrastive encoders with a partner that differs in the varied fields only.

    One that also has another decoder, or another network, says nothing about these fields.
    """
    fields = {"architecture", "width", "local_weight", "attention", "projections"}
    same = attrgetter(*fields.difference(varied))
    groups: dict[tuple[Any, ...], dict[str, Any]] = defaultdict(dict)
    for name, plan in results.models.items():
        encoder = results.encoders[plan.encoder]
        if encoder.kind == "contrastive":
            group = (plan.decoder, plan.fine_tune, tuple(plan.recipe), same(encoder))
            groups[group][name] = attrgetter(*varied)(encoder)
    return {name for of in groups.values() if len(set(of.values())) > 1 for name in of}
