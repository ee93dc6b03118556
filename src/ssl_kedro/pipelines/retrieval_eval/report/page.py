"""The report of the retrieval_eval pipeline."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ssl_kedro.core.errors import first_few
from ssl_kedro.pipelines.entrance import nested
from ssl_kedro.pipelines.retrieval_eval.parameters import RetrievalEvalParameters
from ssl_kedro.pipelines.retrieval_eval.records import Data, Results, entries, headline_level
from ssl_kedro.pipelines.retrieval_eval.report.figures import dimensions, gallery
from ssl_kedro.pipelines.retrieval_eval.report.tables import (
    EXTRACTIONS,
    PRECISIONS,
    RANKINGS,
    RERANKING,
)
from ssl_kedro.reporting.glossary import RETRIEVAL
from ssl_kedro.reporting.html import Card, Report, Section, Table, rendered
from ssl_kedro.reporting.number_format import listed, percent, plain, signed
from ssl_kedro.reporting.pictures import Picture
from ssl_kedro.reporting.run_sections import manifest_section, skipped_section
from ssl_kedro.reporting.table import PUBLISHED, RUN, shown
from ssl_kedro.retrieval.sets import RetrievalSet

_OWN = (
    "Your images in folders, one folder for each thing: what lies in one is to be found together."
)
_COMMAND = (
    "kedro run --pipeline retrieval_eval --env folder \\\n"
    "  --params retrieval_eval.dataset.root=PATH_OF_YOUR_FOLDER"
)


def report(
    parameters: RetrievalEvalParameters,
    data: Data,
    results: Results,
    manifest: Mapping[str, Any],
    **gathered: Any,
) -> str:
    """Self-contained HTML with the results of chapter 3, a gallery of each task's best encoder.

    Gathered are "table_3_1" to "table_3_4", "tasks.<task>" and "rankings.<task>.<encoder>"; none
    of the last two where only descriptors are evaluated.
    """
    found = nested(gathered)
    sections = [
        *(
            _gallery_section(parameters, task, found["rankings"][name], results)
            for name, task in found.get("tasks", {}).items()
        ),
        Section("Try it on your own images", [_OWN], code=_COMMAND),
        *(_task_section(parameters, task, data, results, found) for task in results.evaluations),
        *_revisited_section(found["table_3_3"]),
        *_dimension_section(data, results),
        *_whitening_section(results),
        *_encoder_section(found["table_3_1"], parameters),
        *_unanswerable_section(data),
        *skipped_section(manifest),
        manifest_section(manifest, time_label="Extraction time"),
    ]
    return rendered(
        Report(
            title="Frozen encoders as descriptors",
            lead=_lead(parameters, data, results),
            origin=(
                f"Instance retrieval (chapter 3), {parameters.pooling.kind} at "
                f"{parameters.image.size} px, seed {manifest['seed']}, {manifest['created'][:10]}"
            ),
            cards=_cards(data, results),
            sections=sections,
            terms=RETRIEVAL,
        )
    )


def _lead(
    parameters: RetrievalEvalParameters, data: Data, results: Results
) -> list[tuple[str, str]]:
    """What was compared, what finds most, and what to take."""
    task = next(iter(results.evaluations))
    best = results.best_encoder(task)
    evaluation = results.evaluations[task][best]
    level = evaluation.level
    which = f" ({level})" if level else ""
    compared = (
        f"{len(results.evaluations[task])} encoders, frozen, find images of "
        f"{listed([*results.evaluations])}: {data[task].images:,} images and "
        f"{data[task].queries:,} queries on {task}."
    )
    found = (
        f"On {task}, {best} finds most: mAP{which} {percent(evaluation.headline())} by global "
        f"search, where chance gives {percent(data[task].chance[level].map)}."
    )
    ranking = max(RANKINGS, key=evaluation.headline)
    use = f"Take {best} with {parameters.pooling.kind} at {parameters.image.size} px. " + (
        "No re-ranking adds to it."
        if ranking == "g"
        else f"The best re-ranking brings it to {percent(evaluation.headline(ranking))}."
    )
    return [("Compared", compared), ("Result", found), ("Use", use)]


def _cards(data: Data, results: Results) -> list[Card]:
    """The best encoder of each task; of a single task the best four, and chance."""
    cards = []
    alone = len(results.evaluations) == 1
    for task, encoders in results.evaluations.items():
        shown = sorted(encoders, key=lambda name: -encoders[name].headline())
        for name in shown[: 4 if alone else 1]:
            level = encoders[name].level
            label = f"mAP of {name} on {task}"
            value = percent(encoders[name].headline())
            cards.append(Card(value, f"{label}, {level}" if level else label))
        if alone:
            chance = data[task].chance[encoders[shown[0]].level].map
            cards.append(Card(percent(chance), "mAP of a random ranking"))
    return cards


def _task_section(
    parameters: RetrievalEvalParameters,
    task: str,
    data: Data,
    results: Results,
    tables: Mapping[str, pd.DataFrame],
) -> Section:
    """Table 3.2's part of one task; the headline level of a revisited one."""
    described, table = data[task], tables["table_3_2"]
    level = next(iter(results.evaluations[task].values())).level
    # A file of comma-separated values does not tell an empty word from a missing one.
    table = table[(table["task"] == task) & (table["level"].fillna("") == level)]
    groups = {"": "", RUN: "This run, mAP", PUBLISHED: "Published, thesis Table 3.2"}
    crop = "cut to their boxes" if described.cropped else "whole images"
    taken = parameters.reranking
    text = (
        f"{described.images:,} images, {described.queries:,} queries ({crop}). mAP in percent; "
        f"chance is {plain(100 * described.chance[level].map, 1)}. G is global search; the others "
        f"rank again: AQE with {taken.aqe} neighbours, DBA with {taken.dba} (then AQE with "
        f"{taken.dba_aqe}), alpha-QE with {taken.alpha_qe} and alpha = {taken.alpha:g}."
    ).replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")
    heading = f"Table 3.2: {task}{f', {level}' if level else ''}"
    return Section(heading, (text,), tables=[shown(RERANKING, table, groups)])


_LEVELS = ("easy", "medium", "hard")


def _revisited_section(table: pd.DataFrame) -> list[Section]:
    """Table 3.3, measured; a second one with the thesis' figures where it has some."""
    if table.empty:
        return []
    made = []
    for task, of_task in table.groupby("task", sort=False):
        made.append(_revisited_table(of_task, "", f"{task}, this run"))
        if of_task["published_map"].notna().any():
            known = of_task[of_task["published_map"].notna()]
            made.append(_revisited_table(known, "published_", f"{task}, thesis Table 3.3"))
    text = "Global search, percent. mP@k: precision among the first k, junk taken out."
    return [Section("Table 3.3: easy, medium, hard", (text,), tables=made)]


def _revisited_table(table: pd.DataFrame, prefix: str, caption: str) -> Table:
    rows = []
    for encoder, of_encoder in table.groupby("encoder", sort=False):
        by_level = of_encoder.set_index("level")
        values = [by_level[f"{prefix}{name}"][level] for level in _LEVELS for name in PRECISIONS]
        whitened_on = str(of_encoder["whitened_on"].iloc[0])
        rows.append([str(encoder), whitened_on, *(plain(float(value)) for value in values)])
    columns = ["Encoder", "Whitened on", *([*PRECISIONS.values()] * 3)]
    groups = [("", 2), *((level.capitalize(), 3) for level in _LEVELS)]
    return Table(columns, rows, left=2, groups=groups, caption=caption)


def _gallery_section(
    parameters: RetrievalEvalParameters,
    task: RetrievalSet,
    rankings: Mapping[str, Mapping[str, np.ndarray]],
    results: Results,
) -> Section:
    best = results.best_encoder(task.name)
    evaluation = results.evaluations[task.name][best]
    picture = Picture(
        gallery(parameters, task, rankings[best], evaluation),
        f"Queries of {task.name} with their first results, framed as correct, wrong or junk",
        "png",
    )
    text = (
        f"Global search by {best}, the best on {task.name}: queries from the best to the worst "
        "found. Galleries of the other encoders lie beside this report's data."
    )
    return Section(f"What is found: {task.name}", (text,), pictures=[picture])


def _dimension_section(data: Data, results: Results) -> list[Section]:
    if not any(found.dimensions for _, _, found in entries(results.sweeps)):
        return []
    description = "mAP of each encoder over the PCA dimension, one panel a data set"
    picture = Picture(dimensions(data, results), description)
    text = "Table 3.4: one whitening for all dimensions of an encoder; figures in table_3_4.csv."
    return [Section("Dimension", (text,), pictures=[picture])]


def _whitening_section(results: Results) -> list[Section]:
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


def _encoder_section(table: pd.DataFrame, parameters: RetrievalEvalParameters) -> list[Section]:
    absent = () if parameters.own_descriptors else parameters.absent_encoders
    missing = [f"{name} ({parameters.encoders[name].file})" for name in absent]
    paragraphs = [f"Left out, since their files are not there: {listed(missing)}."] * bool(missing)
    measured = [] if table.empty else [shown(EXTRACTIONS, table, {"": ""})]
    if not measured and not paragraphs:
        return []
    return [Section("Table 3.1: encoders", paragraphs, tables=measured)]


def _unanswerable_section(data: Data) -> list[Section]:
    """Queries that have nothing to find, by name."""
    paragraphs = [
        f"{task}{f' ({level})' if level else ''}: {first_few(names, 12)}."
        for task, described in data.items()
        for level, names in described.without_positives.items()
        if names
    ]
    if not paragraphs:
        return []
    text = "They have no positive image and take no part in the means."
    return [Section("Queries without a match", (text, *paragraphs))]
