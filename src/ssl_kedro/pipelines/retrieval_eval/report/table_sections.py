"""Sections of chapter 3's tables: what a run has measured, and what the thesis prints."""

import math
from collections.abc import Mapping

import pandas as pd

from ssl_kedro.pipelines.retrieval_eval.parameters import RetrievalEvalParameters
from ssl_kedro.pipelines.retrieval_eval.records import Data, Results, entries, headline_level
from ssl_kedro.pipelines.retrieval_eval.report.figures import dimensions
from ssl_kedro.pipelines.retrieval_eval.report.tables import (
    EXTRACTIONS,
    PRECISIONS,
    RERANKING,
    published_rows,
)
from ssl_kedro.reporting.html import Section, Table
from ssl_kedro.reporting.number_format import listed, plain, signed
from ssl_kedro.reporting.pictures import Picture
from ssl_kedro.reporting.published import published_table
from ssl_kedro.reporting.table import LESS_PUBLISHED, PUBLISHED, RUN, shown

_LEVELS = ("easy", "medium", "hard")
_THESIS = "thesis"


def reranking_section(
    parameters: RetrievalEvalParameters,
    task: str,
    data: Data,
    results: Results,
    tables: Mapping[str, pd.DataFrame],
) -> Section:
    """Table 3.2's part of one task, the headline level of a revisited one; published beside."""
    described, table = data[task], tables["table_3_2"]
    level = next(iter(results.evaluations[task].values())).level
    # A file of comma-separated values does not tell an empty word from a missing one.
    table = table[(table["task"] == task) & (table["level"].fillna("") == level)]
    crop = "cut to their boxes" if described.cropped else "whole images"
    taken = parameters.reranking
    text = (
        f"{described.images:,} images, {described.queries:,} queries ({crop}). mAP in percent; "
        f"chance is {plain(100 * described.chance[level].map, 1)}. G is global search; the others "
        f"rank again: AQE with {taken.aqe} neighbours, DBA with {taken.dba} (then AQE with "
        f"{taken.dba_aqe}), alpha-QE with {taken.alpha_qe} and alpha = {taken.alpha:g}."
    ).replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")
    made = [shown(RERANKING, table, {"": "", RUN: "This run, mAP"})]
    known = table[table["published_g"].notna()]
    if len(known):
        groups = {"": "", PUBLISHED: "Published, thesis Table 3.2", LESS_PUBLISHED: LESS_PUBLISHED}
        made.append(shown(RERANKING, known, groups))
    return Section(f"Table 3.2: {task}{f', {level}' if level else ''}", (text,), tables=made)


def revisited_section(table: pd.DataFrame) -> list[Section]:
    """Table 3.3, measured; also the thesis' figures, and the run less them, where it has some."""
    if table.empty:
        return []
    made = []
    for task, of_task in table.groupby("task", sort=False):
        made.append(_revisited_table(of_task, "", f"{task}, this run"))
        known = of_task[of_task["published_map"].notna()]
        if len(known):
            made.append(_revisited_table(known, "published_", f"{task}, thesis Table 3.3"))
            made.append(_revisited_table(known, "difference_", f"{task}, run less published"))
    text = "Global search, percent. mP@k: precision among the first k, junk taken out."
    return [Section("Table 3.3: easy, medium, hard", (text,), tables=made)]


def _revisited_table(table: pd.DataFrame, prefix: str, caption: str) -> Table:
    rows, printed = [], signed if prefix == "difference_" else plain
    for encoder, of_encoder in table.groupby("encoder", sort=False):
        by_level = of_encoder.set_index("level")
        values = [by_level[f"{prefix}{name}"][level] for level in _LEVELS for name in PRECISIONS]
        whitened_on = str(of_encoder["whitened_on"].iloc[0])
        rows.append([str(encoder), whitened_on, *(printed(float(value)) for value in values)])
    columns = ["Encoder", "Whitened on", *([*PRECISIONS.values()] * 3)]
    groups = [("", 2), *((level.capitalize(), 3) for level in _LEVELS)]
    return Table(columns, rows, left=2, groups=groups, caption=caption)


def dimension_section(
    parameters: RetrievalEvalParameters, data: Data, results: Results
) -> list[Section]:
    """Table 3.4 as a figure and, where the thesis has figures too, as tables of both."""
    if not any(found.dimensions for _, _, found in entries(results.sweeps)):
        return []
    description = "mAP of each encoder over the PCA dimension, one panel a data set"
    picture = Picture(dimensions(data, results), description)
    rows = published_rows(parameters)
    made = [_dimension_table(task, results, rows) for task in results.sweeps]
    text = (
        "One whitening for all dimensions of an encoder; own: its own dimension, not whitened. "
        "Percent, global search."
    )
    title = "Table 3.4: dimension"
    return [Section(title, (text,), pictures=[picture], tables=made)]


def _dimension_table(task: str, results: Results, names: Mapping[str, str]) -> Table:
    """Rows of the run, and beneath each that of the thesis and the difference."""
    table = published_table("3.4")
    printed = table[table["dataset"] == task]
    measured: dict[str, dict[float, float]] = {}
    for encoder, found in results.sweeps[task].items():
        swept: dict[float, float] = {
            d: 100 * means[headline_level(means)].map for d, means in found.dimensions.items()
        }
        if (own := found.true_dimension) is not None:
            swept[math.inf] = 100 * own[headline_level(own)].map
        measured[encoder] = swept
    thesis = {
        encoder: dict(zip(of["dimension"].fillna(math.inf), of["map"], strict=True))
        for encoder in measured
        if len(of := printed[printed["row"] == (names[encoder] or None)])
    }
    columns = sorted({d for row in (*measured.values(), *thesis.values()) for d in row})
    rows: list[list[str]] = []
    breaks = []
    for encoder, swept in measured.items():
        breaks.append(len(rows))
        rows.append([encoder, "run", *(plain(swept.get(d)) for d in columns)])
        if encoder in thesis:
            known = thesis[encoder]
            less = [swept.get(d, math.nan) - known.get(d, math.nan) for d in columns]
            rows.append([names[encoder], _THESIS, *(plain(known.get(d)) for d in columns)])
            rows.append(["", "run less thesis", *map(signed, less)])
    heads = ["own" if d == math.inf else f"{d:.0f}" for d in columns]
    return Table(["Encoder", "", *heads], rows, left=2, breaks=breaks[1:], caption=task)


def whitening_section(results: Results) -> list[Section]:
    """What learning whitening on the database itself is worth, where both were asked for."""
    compared = [
        (encoder, task, sets)
        for task, encoder, found in entries(results.sweeps)
        if len(sets := found.whitened_on) > 1 and task in sets
    ]
    if not compared:
        return []
    others = dict.fromkeys(name for _, task, sets in compared for name in sets if name != task)
    columns = ["Encoder", "Data set", "on itself"]
    columns += [head for name in others for head in (f"on {name}", "difference")]
    rows = []
    for encoder, task, sets in compared:
        level = headline_level(sets[task])
        leak = 100 * sets[task][level].map
        row = [encoder, task, plain(leak)]
        for name in others:
            value = 100 * sets[name][level].map if name in sets else math.nan
            row += [plain(value), signed(leak - value)]
        rows.append(row)
    text = (
        "mAP by global search with PCA-whitening learnt on the searched database (as the thesis "
        "does, a leak) and on other images. Difference: what learning on the searched images adds, "
        "in points; on a small database it takes away, for want of images to learn from."
    )
    return [Section("Whitening", (text,), tables=[Table(columns, rows, left=2)])]


def encoder_section(table: pd.DataFrame, parameters: RetrievalEvalParameters) -> list[Section]:
    """Table 3.1: the run's encoders with their parameters as counted, the thesis' beside."""
    absent = () if parameters.own_descriptors else parameters.absent_encoders
    missing = [f"{name} ({parameters.encoders[name].file})" for name in absent]
    paragraphs = [f"Left out, since their files are not there: {listed(missing)}."] * bool(missing)
    groups = {"": "", PUBLISHED: "Published, thesis Table 3.1"}
    measured = [] if table.empty else [shown(EXTRACTIONS, table, groups)]
    if not measured and not paragraphs:
        return []
    if measured:
        counted = "Parameters are counted in the network up to its maps, without a classifier."
        paragraphs = [counted, *paragraphs]
    return [Section("Table 3.1: encoders", paragraphs, tables=measured)]
