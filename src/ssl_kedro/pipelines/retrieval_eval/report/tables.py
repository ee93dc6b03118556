"""Tables 3.1 to 3.4 of a run beside the published ones."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from ssl_kedro.pipelines.retrieval_eval.parameters import RetrievalEvalParameters
from ssl_kedro.pipelines.retrieval_eval.records import Evaluation, Extraction, Results, entries
from ssl_kedro.reporting.number_format import DASH, plain
from ssl_kedro.reporting.published import published_table
from ssl_kedro.reporting.table import PUBLISHED, RUN, Column, beside_published, computed, word
from ssl_kedro.retrieval.scoring import MeanScore

# The last one is not in the thesis.
RANKINGS = {
    "g": "G",
    "aqe": "+ AQE",
    "dba": "+ DBA",
    "dba_aqe": "+ DBA + AQE",
    "alpha_qe": "alpha-QE",
}
PRINTED = ("g", "aqe", "dba", "dba_aqe")
PRECISIONS = {"map": "mAP", "mp5": "mP@5", "mp10": "mP@10"}


def tables(parameters: RetrievalEvalParameters, results: Results) -> dict[str, pd.DataFrame]:
    """By catalog name, the published figures beside the measured ones.

    Table 3.1 has a row an encoder and task, 3.2 and 3.3 one a task, encoder and level ("" for
    the classic protocol, which 3.3 leaves out), 3.4 one a dimension besides (empty: the encoder's
    own, not whitened). Differences are run less published.
    """
    rows = published_rows(parameters)
    extracted = [
        _Extracted(task, encoder, parameters, found)
        for task, encoder, found in entries(results.extractions)
    ]
    scored = [
        _Scored(task, level, encoder, evaluation, rows.get(encoder, ""))
        for task, encoder, evaluation in entries(results.evaluations)
        for level in evaluation.rankings["g"]
    ]
    swept = [
        _Swept(task, level, encoder, dimension, score, rows.get(encoder, ""))
        for task, encoder, sweep in entries(results.sweeps)
        for dimension, scores in [*sweep.dimensions.items(), (None, sweep.true_dimension or {})]
        for level, score in scores.items()
    ]
    return {
        "table_3_1": computed(EXTRACTIONS, extracted),
        "table_3_2": computed(RERANKING, scored),
        "table_3_3": computed(REVISITED, (one for one in scored if one.level)),
        "table_3_4": computed(DIMENSIONS, swept),
    }


def _printed(table: str, value: str, **where: object) -> Any:
    """A figure of the thesis, NaN where it has none for such a row."""
    found = published_table(table)
    for column, wanted in where.items():
        same = found[column].isna() if wanted is None else found[column] == wanted
        found = found[same]
    return math.nan if found.empty else found[value].iloc[0]


def _always(_: object) -> bool:
    """Figures stand beside those of the same data; what was done otherwise is a list of its own."""
    return True


def _millions(count: Any, _: float) -> str:
    return f"{count / 1e6:,.2f} M" if count else DASH


def published_rows(parameters: RetrievalEvalParameters) -> dict[str, str]:
    """Name in the thesis' tables of each encoder and ensemble, "" where it has none."""
    rows = {name: config.row for name, config in parameters.encoders.items()}
    for name, members in parameters.ensembles.items():
        parts = [rows[member] for member in members]
        rows[name] = " + ".join(parts) if all(parts) else ""
    return rows


@dataclass(frozen=True)
class _Extracted:
    """Subject of a row of Table 3.1."""

    task: str
    encoder: str
    parameters: RetrievalEvalParameters
    found: Extraction

    @property
    def config(self) -> Any:
        return self.parameters.encoders[self.encoder]

    @property
    def images(self) -> int:
        return sum(part.images for part in self.found.parts)

    @property
    def seconds(self) -> float:
        return sum(part.seconds for part in self.found.parts)

    def printed(self, value: str) -> Any:
        return _printed("3.1", value, row=self.config.row)


EXTRACTIONS: tuple[Column[_Extracted], ...] = (
    Column("task", lambda of: of.task, "Data set", text=word, left=True),
    Column("encoder", lambda of: of.encoder, "Encoder", text=word, left=True),
    Column("kind", lambda of: of.config.kind),
    Column("branch", lambda of: of.config.branch if of.config.kind == "bundle" else ""),
    Column(
        "parameters",
        lambda of: of.found.parameters,
        "Parameters",
        text=_millions,
    ),
    Column("channels", lambda of: of.found.database.channels, "C", text=word),
    Column("image_size", lambda of: of.parameters.resize(of.encoder).side, "px", text=word),
    Column(
        "adapt_batch_norm",
        lambda of: of.config.adapt_batch_norm,
        "BN adapted",
        text=lambda adapted, _: "yes" if adapted else "no",
    ),
    Column("images", lambda of: of.images),
    Column("seconds", lambda of: of.seconds),
    Column(
        "images_per_second",
        lambda of: of.images / of.seconds if of.seconds else None,
        "images/s",
        text=lambda speed, _: plain(speed, 1),
    ),
    Column("row", lambda of: of.config.row or None, "Method", PUBLISHED, word),
    Column("published_model", lambda of: of.printed("model"), "Model", PUBLISHED, word),
    Column(
        "published_epochs",
        lambda of: of.printed("epochs"),
        "Epochs",
        PUBLISHED,
        lambda count, _: f"{count:.0f}",
    ),
    Column(
        "published_parameters",
        lambda of: of.printed("parameters"),
        "Parameters",
        PUBLISHED,
        _millions,
    ),
)


@dataclass(frozen=True)
class _Scored:
    """Subject of a row of Tables 3.2 and 3.3."""

    task: str
    level: str
    encoder: str
    evaluation: Evaluation
    row: str

    def map(self, ranking: str) -> float:
        return 100 * self.evaluation.rankings[ranking][self.level].map

    def published_map(self, ranking: str) -> float:
        if self.level:
            return math.nan
        return float(_printed("3.2", ranking, dataset=self.task, row=self.row))

    def precision(self, name: str) -> float:
        return 100 * float(getattr(self.evaluation.rankings["g"][self.level], name))

    def published_precision(self, name: str) -> float:
        return float(_printed("3.3", name, dataset=self.task, row=self.row, level=self.level))


_SETTING: tuple[Column[_Scored], ...] = (
    Column("task", lambda of: of.task),
    Column("level", lambda of: of.level),
    Column("encoder", lambda of: of.encoder, "Encoder", text=word, left=True),
    Column(
        "pooled_by", lambda of: of.evaluation.pooled_by or None, "Pooled by", text=word, left=True
    ),
    Column("row", lambda of: of.row),
    Column(
        "whitened_on", lambda of: of.evaluation.whitened_on, "Whitened on", text=word, left=True
    ),
    Column("cropped", lambda of: of.evaluation.cropped),
    Column("dimensions", lambda of: of.evaluation.dimensions, "d", text=word),
)
RERANKING = (
    *_SETTING,
    *(
        Column(name, partial(_Scored.map, ranking=name), heading, RUN)
        for name, heading in RANKINGS.items()
    ),
    *(
        column
        for name in PRINTED
        for column in beside_published(
            name,
            RANKINGS[name],
            partial(_Scored.map, ranking=name),
            partial(_Scored.published_map, ranking=name),
            comparable=_always,
        )
    ),
)
REVISITED = (
    *_SETTING,
    *(Column(name, partial(_Scored.precision, name=name)) for name in PRECISIONS),
    *(
        column
        for name in PRECISIONS
        for column in beside_published(
            name,
            "",
            partial(_Scored.precision, name=name),
            partial(_Scored.published_precision, name=name),
            comparable=_always,
        )
    ),
)


@dataclass(frozen=True)
class _Swept:
    """Subject of a row of Table 3.4."""

    task: str
    level: str
    encoder: str
    dimension: int | None
    score: MeanScore
    row: str

    @property
    def map(self) -> float:
        return 100 * self.score.map

    @property
    def published(self) -> float:
        if self.level or not self.row:
            return math.nan
        where = {"dataset": self.task, "row": self.row, "dimension": self.dimension}
        return float(_printed("3.4", "map", **where))


DIMENSIONS: tuple[Column[_Swept], ...] = (
    Column("task", lambda of: of.task),
    Column("level", lambda of: of.level),
    Column("encoder", lambda of: of.encoder),
    Column("row", lambda of: of.row),
    Column("dimension", lambda of: of.dimension, dtype="Int64"),
    Column("map", lambda of: of.map, dtype="float64"),
    *beside_published("map", "", lambda of: of.map, lambda of: of.published, comparable=_always),
)
