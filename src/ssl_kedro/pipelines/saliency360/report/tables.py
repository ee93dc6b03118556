"""Tables 4.1 to 4.4: measured rows with the published ones beside, each a list of columns."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from typing import Any

import pandas as pd

from ssl_kedro.pipelines.saliency360.records import EncoderResult, Estimate, ModelResult, Results
from ssl_kedro.reporting.number_format import MINUS, plain, three_digits
from ssl_kedro.reporting.published import published_table
from ssl_kedro.reporting.table import Column, computed, word
from ssl_kedro.saliency.metric import metrics

BASELINES = ("uniform", "equator", "mean", "ceiling")
THIS_RUN, PUBLISHED = "this run", "published"
# Groups of columns: what a row is, and its scores.
ROW, SCORES = "row", "scores"


@dataclass(frozen=True)
class Row:
    """A row of Tables 4.1, 4.3 and 4.4; what it does not say is None.

    Args:
        source: this run, or published.
        dataset: tested on.
        model: or baseline.
        setting: "(i)" without, "(ii)" with attention.
        encoder: architecture and kind.
        decoder: its kind.
        mode: of the scores.
        architecture: of the encoder.
        local_weight: lambda.
        projections: whether the pre-training had them.
        scores: by metric.
    """

    source: str
    dataset: str
    model: str | None = None
    setting: str | None = None
    encoder: str | None = None
    decoder: str | None = None
    mode: str | None = None
    architecture: str | None = None
    local_weight: float | None = None
    projections: bool | None = None
    scores: Mapping[str, Estimate] = field(default_factory=dict)


@dataclass(frozen=True)
class Time:
    """A row of Table 4.2; see :class:`ssl_kedro.pipelines.saliency360.records.StageTime`."""

    source: str
    model: str
    stage: str
    batch: int | None
    ms: float
    device: str
    threads: int | None


@dataclass(frozen=True)
class Cost:
    """A row of the page's table of costs: a model on its encoder."""

    name: str
    model: ModelResult
    encoder: EncoderResult

    @property
    def on(self) -> str:
        """Encoder and its architecture."""
        return f"{self.model.encoder} ({self.encoder.architecture})"

    @property
    def parameters(self) -> int:
        """Of the decoder."""
        return self.model.decoder_parameters


def yes_or_no(value: Any, _: float = 0) -> str:
    """A flag in words."""
    return "yes" if value else "no"


def _score(value: float, _: float = 0) -> str:
    return plain(value, 3).replace("-", MINUS)


def _short(value: float, _: float = 0) -> str:
    return f"{value:g}"


def _digits(value: float, _: float = 0) -> str:
    return three_digits(value)


def _column(name: str, heading: str, text: Callable[[Any, float], str] = word) -> Column[Any]:
    return Column(name, attrgetter(name), heading, ROW, text, left=text is word)


def _end(metric: str, end: str, row: Row) -> float | None:
    found: float | None = getattr(row.scores.get(metric, Estimate()), end)
    return found


def _score_columns() -> tuple[Column[Row], ...]:
    """The metrics, then the ends of their intervals, which the page leaves out."""
    means = (
        Column(
            name,
            partial(_end, name, "mean"),
            metric.heading,
            SCORES,
            _score,
            lower_is_better=metric.lower_is_better,
        )
        for name, metric in metrics().items()
    )
    ends = (
        Column(f"{name}_{end}", partial(_end, name, end))
        for name in metrics()
        for end in ("low", "high")
    )
    return (*means, *ends)


_SETTING = _column("setting", "Setting")
_WHERE = (_column("source", "Source"), _column("dataset", "Data"), _column("model", "Model"))
_NETWORK = _column("architecture", "Network")
TIMES: tuple[Column[Time], ...] = tuple(
    _column(name, name) for name in ("source", "model", "stage", "batch", "ms", "device", "threads")
)
COSTS: tuple[Column[Cost], ...] = (
    Column("model", lambda row: row.name, "Model", ROW, word, left=True),
    Column("encoder", lambda row: row.on, "Encoder", ROW, word, left=True),
    Column("decoder", lambda row: row.model.decoder, "Decoder", ROW, word, left=True),
    Column("encoder_gmac", lambda row: row.encoder.macs / 1e9, "encoder GMAC", ROW, _digits),
    Column("decoder_gmac", lambda row: row.model.decoder_macs / 1e9, "decoder GMAC", ROW, _digits),
    Column(
        "parameters", lambda r: r.model.decoder_parameters / 1e6, "decoder M par.", ROW, _digits
    ),
    Column("pretraining_s", lambda row: row.encoder.seconds, "pre-training s", ROW, _digits),
    Column("decoder_s", lambda row: row.model.seconds, "decoder s", ROW, _digits),
)


def columns(table: str) -> tuple[Column[Row], ...]:
    """Columns of Table 4.1, 4.3 or 4.4."""
    of_table: Mapping[str, tuple[Column[Row], ...]] = {
        "4.1": (
            _SETTING,
            _column("encoder", ""),
            _column("decoder", "Decoder"),
            _column("mode", ""),
        ),
        "4.3": (_NETWORK, _SETTING, _column("local_weight", "local weight", _short)),
        "4.4": (_NETWORK, _column("projections", "projections", yes_or_no)),
    }
    return (*_WHERE, *of_table[table], *_score_columns())


def all_tables(results: Results) -> dict[str, pd.DataFrame]:
    """By catalog name.

    Table 4.1 has a row a model or baseline, data set and mode; 4.2 one a stage, batch and model;
    4.3 and 4.4 one a model that differs from another in the weight of the local loss (or
    attention), or in projections. Published rows follow the measured ones.
    """
    return {
        "table_4_1": _frame("4.1", _scored(results)),
        "table_4_2": computed(TIMES, _times(results)),
        "table_4_3": _frame("4.3", _ablation(results, ("local_weight", "attention"))),
        "table_4_4": _frame("4.4", _ablation(results, ("projections",))),
    }


def costs(results: Results) -> pd.DataFrame:
    """What each model costs, a row each."""
    rows = (
        Cost(name, model, results.encoders[model.encoder]) for name, model in results.models.items()
    )
    return computed(COSTS, rows)


def _frame(table: str, rows: Iterator[Row]) -> pd.DataFrame:
    every = columns(table)
    varied = [column.name for column in every if column.group == ROW and column.name != "source"]
    made = list(rows)
    if table != "4.1":
        varied.remove("model")
        made.sort(key=lambda row: [str(getattr(row, name)) for name in varied])
    return computed(every, [*made, *_published(table)])


def _published(table: str) -> Iterator[Row]:
    """The thesis' rows; it has no intervals."""
    for found in published_table(table).to_dict("records"):
        row: dict[str, Any] = {str(k): None if pd.isna(v) else v for k, v in found.items()}
        scores = {m: Estimate(row.pop(m)) for m in metrics() if m in row}
        known = {key: value for key, value in row.items() if key in Row.__dataclass_fields__}
        yield Row(PUBLISHED, **known, scores=scores)


def _scored(results: Results) -> Iterator[Row]:
    """Models and baselines on every data set, in every mode."""
    for dataset, models in results.scores.items():
        for name, modes in models.items():
            for mode, scores in modes.items():
                row = Row(THIS_RUN, dataset, name, mode=mode, scores=scores)
                plan = results.models.get(name)
                if plan is None:
                    yield row
                    continue
                encoder = results.encoders[plan.encoder]
                yield Row(
                    THIS_RUN,
                    dataset,
                    name,
                    _setting(encoder) if encoder.kind == "contrastive" else "",
                    f"{encoder.architecture}, {encoder.kind}",
                    plan.decoder + (", fine-tuned" if plan.fine_tune else ""),
                    mode,
                    scores=scores,
                )


def _setting(encoder: EncoderResult) -> str:
    return "(ii)" if encoder.attention else "(i)"


def _times(results: Results) -> Iterator[Time]:
    """Milliseconds a panorama of each stage; the published ones are totals."""
    for one in results.runtime:
        yield Time(THIS_RUN, one.model, one.stage, one.batch, one.ms, one.device, one.threads)
    for row in published_table("4.2").to_dict("records"):
        ms = 1000 * row["seconds"]
        yield Time(PUBLISHED, row["model"], "total", None, ms, "RTX 3090", None)


def _ablation(results: Results, varied: Sequence[str]) -> Iterator[Row]:
    """Sphere-mode rows of models on contrastive encoders; none with nothing to compare."""
    keep = _alike(results, varied)
    for dataset, models in results.scores.items():
        if len(keep & models.keys()) < 2:
            continue
        for name in (name for name in models if name in keep and "sphere" in models[name]):
            encoder = results.encoders[results.models[name].encoder]
            yield Row(
                THIS_RUN,
                dataset,
                name,
                _setting(encoder),
                architecture=encoder.architecture,
                local_weight=encoder.local_weight,
                projections=encoder.projections,
                scores=models[name]["sphere"],
            )


def _alike(results: Results, varied: Collection[str]) -> frozenset[str]:
    """Models on contrastive encoders with a partner that differs in the varied fields only.

    One that also has another decoder, or another network, says nothing about these fields.
    """
    fields = {"architecture", "width", "local_weight", "attention", "projections"}
    groups: dict[tuple[Any, ...], dict[str, tuple[Any, ...]]] = {}
    for name, plan in results.models.items():
        encoder = results.encoders[plan.encoder]
        if encoder.kind == "contrastive":
            same = tuple(getattr(encoder, key) for key in sorted(fields - {*varied}))
            made = (plan.decoder, plan.fine_tune, *plan.recipe)
            group = groups.setdefault((made, same), {})
            group[name] = tuple(getattr(encoder, key) for key in varied)
    compared = [group for group in groups.values() if len(set(group.values())) > 1]
    return frozenset(name for group in compared for name in group)
