"""Tables 4.1 to 4.4: measured rows with the published ones beside, each a list of columns."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import attrgetter, methodcaller
from typing import Any

import pandas as pd

from ssl_kedro.pipelines.saliency360.records import Results
from ssl_kedro.reporting.number_format import MINUS, plain, signed
from ssl_kedro.reporting.published import published_table
from ssl_kedro.reporting.table import LESS_PUBLISHED, Column, computed, word
from ssl_kedro.reporting.table import PUBLISHED as BESIDE
from ssl_kedro.saliency.metric import metrics

THIS_RUN, PUBLISHED = "this run", "published"
# Groups of columns: what a row is, and its scores.
ROW, SCORES = "row", "scores"
_TIMES = ["source", "model", "picture", "stage", "batch", "ms", "device", "threads"]
# Values by column; what a row does not say is missing.
Row = dict[str, Any]


def _score(value: float, _: float) -> str:
    return plain(value, 3).replace("-", MINUS)


def _signed(value: float, _: float) -> str:
    return signed(value, 3)


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
_MODE = _column("mode", "Mode")
_WHERE = (_column("source", "Source"), _column("dataset", "Data"), _column("model", "Model"))
_OWN: Mapping[str, tuple[Column[Row], ...]] = {
    "4.1": (_SETTING, _column("encoder"), _column("decoder", "Decoder"), _MODE),
    "4.3": (
        _NETWORK,
        _SETTING,
        _column("local_weight", "local weight", lambda value, _: f"{value:g}"),
        _MODE,
    ),
    "4.4": (
        _NETWORK,
        _column("projections", "projections", lambda value, _: "yes" if value else "no"),
        _MODE,
    ),
}
# The thesis' names of networks, and what all rows of a table have in common (thesis 4.4, 4.6).
_NETWORKS = {"resnet50": "ResNet", "vgg16": "VGG"}
_COMMON: Mapping[str, Row] = {
    "4.1": {"local_weight": 0.7, "projections": True},
    "4.3": {"projections": True},
    "4.4": {"setting": "(ii)", "local_weight": 0.7},
}
# The thesis' scores are the MIT benchmark's, which counts pixels alike.
FLAT = "planar"


def columns(table: str) -> tuple[Column[Row], ...]:
    """Columns of Table 4.1, 4.3 or 4.4: of the row, its metrics, and their intervals' ends.

    Beside the flat scores of a network stand those that the thesis publishes for it, and what the
    run has less them where data, protocol and networks are the same. The page leaves out the ends.
    """
    means = (
        _column(name, of.heading, _score, SCORES, lower_is_better=of.lower_is_better)
        for name, of in metrics().items()
    )
    ends = (_column(f"{name}_{end}", group=SCORES) for name in metrics() for end in ("low", "high"))
    beside = (
        _column(f"{kind}_{name}", of.heading, text, group, lower_is_better=of.lower_is_better)
        for kind, group, text in (
            ("published", BESIDE, _score),
            ("difference", LESS_PUBLISHED, _signed),
        )
        for name, of in metrics().items()
        if name in published_table(table).columns
    )
    return (*_WHERE, *_OWN[table], *means, *ends, *beside)


def all_tables(results: Results) -> dict[str, pd.DataFrame]:
    """By catalog name.

    Table 4.1 has a row a model or baseline, data set and mode; 4.2 one a stage, batch and model;
    4.3 and 4.4 one a model that differs from another in the weight of the local loss (or
    attention), or in projections, flat and by solid angle. Published rows follow the measured ones.
    """
    return {
        "table_4_1": _frame(results, "4.1", _scored(results)),
        "table_4_2": _times(results),
        "table_4_3": _frame(results, "4.3", _ablation(results, "4.3", "local_weight", "attention")),
        "table_4_4": _frame(results, "4.4", _ablation(results, "4.4", "projections")),
    }


def _frame(results: Results, table: str, measured: Iterable[Row]) -> pd.DataFrame:
    published: list[Any] = published_table(table).to_dict("records")
    rows: list[Row] = [{**row, **_beside(results, table, row)} for row in measured]
    rows += [{**row, "source": PUBLISHED, "mode": FLAT} for row in published]
    return computed(columns(table), rows)


def _beside(results: Results, table: str, row: Row) -> Row:
    """What the thesis publishes for the model of a flat row, by data, setting and lambda.

    Models of others are known by their names, as are those whose maps were read. Differences
    stand only where nothing of data, protocol and networks differs.
    """
    plan, given = results.models.get(row["model"]), row["model"] in results.given
    if row["mode"] != FLAT or not (plan or given):
        return {}
    network, tested = _NETWORKS.get(row.get("architecture", "")), results.datasets[row["dataset"]]
    own: Row = {"dataset": tested.published, "model": network, "architecture": network}
    own |= {name: row.get(name) for name in ("setting", "local_weight", "projections")}
    published: list[Any] = published_table(table).to_dict("records")
    for figures in published:
        known = {name: figures.pop(name) for name in metrics() if name in figures}
        if figures.get("setting") == "" and figures["model"].casefold() == row["model"].casefold():
            alike = figures["dataset"] == tested.published
        else:
            expected = {**_COMMON[table], **figures}
            alike = all(own[name] == value for name, value in expected.items())
        if alike:
            found: Row = {f"published_{name}": value for name, value in known.items()}
            if not (tested.differs or (plan and plan.differs)):
                found |= {
                    f"difference_{name}": row[name] - value
                    for name, value in known.items()
                    if row[name] is not None
                }
            return found
    return {}


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
    known = {"source": PUBLISHED, "stage": "total", "device": "RTX 3090", "picture": "4K"}
    published = published_table("4.2").to_dict("records")
    theirs = [{**known, "model": row["model"], "ms": 1000 * row["seconds"]} for row in published]
    return pd.DataFrame([*own, *theirs], columns=_TIMES)


def _ablation(results: Results, table: str, *varied: str) -> list[Row]:
    """Flat rows of models on contrastive encoders, then those by solid angle.

    There are none with nothing to compare.
    """
    keep = _alike(results, *varied)
    rows = [
        row
        for row in _scored(results)
        if row["mode"] in (FLAT, "sphere")
        and row["model"] in keep
        and len(keep & results.scores[row["dataset"]].keys()) > 1
    ]
    order = ["dataset", "mode", *(column.name for column in _OWN[table])]
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
