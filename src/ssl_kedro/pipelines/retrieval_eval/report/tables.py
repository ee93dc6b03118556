"""All of a run in numbers: metrics, manifest, and Tables 3.1 to 3.4 beside the published ones."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from ssl_kedro.pipelines.entrance import nested
from ssl_kedro.pipelines.retrieval_eval.parameters import RetrievalEvalParameters
from ssl_kedro.pipelines.retrieval_eval.records import (
    Data,
    Evaluation,
    Extraction,
    Results,
    Sweep,
    entries,
)
from ssl_kedro.reporting.manifest import run_manifest
from ssl_kedro.reporting.number_format import DASH, plain
from ssl_kedro.reporting.published import published_table
from ssl_kedro.reporting.run_sections import passed_over_by
from ssl_kedro.reporting.table import PUBLISHED, RUN, Column, computed, word
from ssl_kedro.retrieval.scoring import MeanScore, flat_scores

# The last one is not in the thesis.
RANKINGS = {
    "g": "G",
    "aqe": "+ AQE",
    "dba": "+ DBA",
    "dba_aqe": "+ DBA + AQE",
    "alpha_qe": "alpha-QE",
}
PRECISIONS = {"map": "mAP", "mp5": "mP@5", "mp10": "mP@10"}


def collect(**found: Evaluation | Extraction | Sweep) -> Results:
    """All of a run; names such as "evaluations.facades.pixels" say what each is."""
    return Results(**nested(found))


def metrics(data: Data, results: Results) -> dict[str, float]:
    """The numbers of the run under flat keys, fractions.

    ``<task>.<encoder>.<ranking>.map`` for classic ground truth,
    ``<task>.<encoder>.<ranking>.{easy,medium,hard}.{map,mp5,mp10}`` for revisited; beside them
    ``<task>.chance``, and per encoder ``whitened_on.<set>``, ``dimensions.<d>`` and
    ``true_dimension``.
    """
    flat: dict[str, float] = {}
    for task, encoder, evaluation in entries(results.evaluations):
        flat |= flat_scores(data[task].chance, f"{task}.chance")
        for ranking, scores in evaluation.rankings.items():
            flat |= flat_scores(scores, f"{task}.{encoder}.{ranking}")
    for task, encoder, sweep in entries(results.sweeps):
        prefix = f"{task}.{encoder}"
        for name, means in sweep.whitened_on.items():
            flat |= flat_scores(means, f"{prefix}.whitened_on.{name}")
        for d, means in sweep.dimensions.items():
            flat |= flat_scores(means, f"{prefix}.dimensions.{d}")
        flat |= flat_scores(sweep.true_dimension or {}, f"{prefix}.true_dimension")
    return flat


def describe_run(
    parameters: RetrievalEvalParameters, data: Data, results: Results, origins: Mapping[str, str]
) -> dict[str, Any]:
    """Versions, commit, data, seed, device and cost of the run."""
    extractions = entries(results.extractions)
    parts = [(task, part) for task, _, found in extractions for part in found.parts]
    skipped = {(f"{task}/{name}", why) for task, part in parts for name, why in part.skipped}
    config = parameters.extract
    return run_manifest(
        seed=parameters.seed,
        data={
            "images": {task: found.images for task, found in data.items()},
            "fingerprints": {task: found.fingerprint or "none" for task, found in data.items()},
            "skipped": sorted(skipped),
            "passed_over": passed_over_by(found.passed_over for found in data.values()),
        },
        execution={"device": config.device, "precision": config.precision},
        parameters=parameters.as_written,
        training_seconds=sum(part.seconds for _, part in parts),
        origins=origins,
    )


def tables(parameters: RetrievalEvalParameters, results: Results) -> dict[str, pd.DataFrame]:
    """By catalog name, the published figures beside the measured ones.

    Table 3.1 has a row an encoder and task, 3.2 and 3.3 one a task, encoder and level ("" for
    the classic protocol, which 3.3 leaves out), 3.4 one a dimension besides (empty: the encoder's
    own, not whitened).
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


def _printed(table: str, value: str, **where: object) -> float | None:
    """A figure of the thesis, None where it has none for such a row."""
    found = published_table(table)
    for column, wanted in where.items():
        same = found[column].isna() if wanted is None else found[column] == wanted
        found = found[same]
    return None if found.empty else float(found[value].iloc[0])


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


EXTRACTIONS: tuple[Column[_Extracted], ...] = (
    Column("task", lambda of: of.task, "Data set", text=word, left=True),
    Column("encoder", lambda of: of.encoder, "Encoder", text=word, left=True),
    Column("kind", lambda of: of.config.kind),
    Column("branch", lambda of: of.config.branch if of.config.kind == "bundle" else ""),
    Column("row", lambda of: of.config.row),
    Column(
        "parameters",
        lambda of: of.found.parameters,
        "Parameters",
        text=lambda count, _: f"{count / 1e6:,.2f} M" if count else DASH,
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
    Column("published_parameters", lambda of: _printed("3.1", "parameters", row=of.config.row)),
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

    def published_map(self, ranking: str) -> float | None:
        return None if self.level else _printed("3.2", ranking, dataset=self.task, row=self.row)

    def precision(self, name: str) -> float:
        return 100 * float(getattr(self.evaluation.rankings["g"][self.level], name))

    def published_precision(self, name: str) -> float | None:
        return _printed("3.3", name, dataset=self.task, row=self.row, level=self.level)


_SETTING: tuple[Column[_Scored], ...] = (
    Column("task", lambda of: of.task),
    Column("level", lambda of: of.level),
    Column("encoder", lambda of: of.encoder, "Encoder", text=word, left=True),
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
        Column(
            f"published_{name}",
            partial(_Scored.published_map, ranking=name),
            RANKINGS[name],
            PUBLISHED,
        )
        for name in ("g", "aqe", "dba", "dba_aqe")
    ),
)
REVISITED = (
    *_SETTING,
    *(Column(name, partial(_Scored.precision, name=name)) for name in PRECISIONS),
    *(
        Column(f"published_{name}", partial(_Scored.published_precision, name=name))
        for name in PRECISIONS
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
    def published(self) -> float | None:
        if self.level or not self.row:
            return None
        return _printed("3.4", "map", dataset=self.task, row=self.row, dimension=self.dimension)


DIMENSIONS: tuple[Column[_Swept], ...] = (
    Column("task", lambda of: of.task),
    Column("level", lambda of: of.level),
    Column("encoder", lambda of: of.encoder),
    Column("dimension", lambda of: of.dimension, dtype="Int64"),
    Column("map", lambda of: 100 * of.score.map, dtype="float64"),
    Column("published_map", lambda of: of.published, dtype="float64"),
)
