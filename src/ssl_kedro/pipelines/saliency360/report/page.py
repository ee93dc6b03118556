"""The page of the saliency360 pipeline."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ssl_kedro.pipelines.saliency360.records import Results
from ssl_kedro.pipelines.saliency360.report.differences import (
    DECIDING,
    Difference,
    judged_model,
    scored_models,
)
from ssl_kedro.pipelines.saliency360.report.figures import scores, training_curves
from ssl_kedro.pipelines.saliency360.report.sentences import limits, verdicts
from ssl_kedro.pipelines.saliency360.report.tables import (
    BASELINES,
    COSTS,
    PUBLISHED,
    ROW,
    SCORES,
    THIS_RUN,
    columns,
    costs,
)
from ssl_kedro.reporting.html import Card, Picture, Report, Section, Table, rendered
from ssl_kedro.reporting.number_format import DASH, plain, signed, three_digits
from ssl_kedro.reporting.run_sections import manifest_section, skipped_section
from ssl_kedro.reporting.table import shown
from ssl_kedro.saliency.metric import metrics

_GLOSSARY = (
    ("Sphere mode", "Every pixel counts as much as the solid angle that it covers."),
    ("Planar mode", "The MIT benchmark's definitions on the pixels as they are."),
    ("Authors mode", "Rows multiplied by a sine, as the thesis' code does."),
    ("equator", "How often training panoramas are looked at, by latitude alone."),
    ("mean", "The mean of the training maps: it also knows where viewers start."),
    ("ceiling", "What half of the viewers say of the other half."),
)
_STAGES = ("decode", "encoder", "decoder", "post", "total")


def saliency_report(
    results: Results,
    differences: Sequence[Difference],
    manifest: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame],
    sheet: Figure | None,
    notes: Sequence[str],
) -> str:
    """Self-contained HTML with the results of chapter 4.

    Args:
        results: of the run.
        differences: that it speaks of.
        manifest: of the run.
        tables: "table_4_1" to "table_4_4".
        sheet: overlays, None without any.
        notes: what differs from the thesis, and what the data cannot show.
    """
    dataset = results.main
    said = verdicts(results, differences)
    pictures = "Best to worst prediction; a line runs at half of each map's peak."
    sections = [
        *_paragraphs("What the numbers say", said[1:]),
        *_baseline_section(results, differences),
        *(_scores_section(name, tables["table_4_1"], results) for name in results.scores),
        Section(
            "Scores with intervals",
            (_interval_text(results),),
            pictures=[Picture(scores(results), "Scores of models and baselines by metric")],
        ),
        *(
            [Section("Predictions", (pictures,), pictures=[Picture(sheet, pictures, "png")])]
            if sheet is not None
            else []
        ),
        *_ablation_section("4.3", "weight of the local loss", tables["table_4_3"]),
        *_ablation_section("4.4", "projections", tables["table_4_4"]),
        Section("What it costs", tables=[shown(COSTS, costs(results), {ROW: ""})]),
        _runtime_section(tables["table_4_2"]),
        Section(
            "Training",
            pictures=[Picture(training_curves(results), "Losses of all trainings by epoch")],
        ),
        *_quirk_section(results, differences),
        *_paragraphs("What differs from the thesis", notes),
        *_paragraphs("What these data cannot show", limits(results)),
        *skipped_section(manifest),
        manifest_section(manifest),
        Section("Terms", terms=(*_GLOSSARY, *_metric_terms())),
    ]
    report = Report(
        title="Where people look in panoramas",
        lead=said[0],
        origin=(
            f"Visual attention (chapter 4), {results.datasets[dataset].images} tested panoramas of "
            f"{dataset}, seed {manifest['seed']}, {manifest['created'][:10]}"
        ),
        cards=_cards(results),
        sections=sections,
    )
    return rendered(report)


def _metric_terms() -> list[tuple[str, str]]:
    return [
        (
            metric.heading,
            f"{metric.meaning[0].upper()}{metric.meaning[1:]}: {metric.range}"
            f"{f', {metric.unit}' if metric.unit else ''}"
            f"{'; lower is better' if metric.lower_is_better else ''}.",
        )
        for metric in metrics().values()
    ]


def _cards(results: Results) -> list[Card]:
    """The judged model and what it has to be compared with, then its gains."""
    name, mode = judged_model(results), results.mode(results.main)
    cards = []
    for one in ([name] if name else []) + ["equator", "mean", "ceiling"]:
        cc = results.estimate(results.main, one, mode, "cc").mean
        if cc is not None:
            cards.append(Card(plain(cc), f"CC of {one}, {mode} mode"))
    if name:
        gain = results.estimate(results.main, name, mode, "info_gain").mean
        if gain is not None:
            cards.append(Card(signed(gain), f"bits a look that {name} gains over the equator"))
        plan = results.models[name]
        total = three_digits((plan.decoder_macs + plan.encoder_macs) / 1e9)
        cards.append(Card(f"{total} G", "multiply-accumulates a panorama, encoder and decoder"))
    return cards


def _paragraphs(heading: str, paragraphs: Sequence[str]) -> list[Section]:
    return [Section(heading, paragraphs)] if paragraphs else []


def _headings() -> list[str]:
    return [metrics()[metric].heading for metric in DECIDING]


def _baseline_section(results: Results, differences: Sequence[Difference]) -> list[Section]:
    """Every model less each baseline, CC and information gain."""
    found = [one for one in differences if one.about == "baseline"]
    baselines = list(dict.fromkeys(one.second for one in found))
    if not found:
        return []
    rows = [
        [name, *(one.decided for one in found if one.first == name)]
        for name in scored_models(results)
    ]
    groups = [("", 1), *((f"less {baseline}", len(DECIDING)) for baseline in baselines)]
    names = ["Model", *_headings() * len(baselines)]
    text = (
        f"{results.main}, {results.mode(results.main)} mode: means of the differences on the same "
        f"panoramas, with their {100 * results.intervals['level']:g} % intervals over scenes where "
        "there are enough. An interval that holds 0 decides nothing."
    )
    # Words, not numbers: a sign that decides nothing must not be tinted.
    table = Table(names, rows, left=len(names), groups=groups)
    return [Section("Against what sees no image", (text,), tables=[table])]


def _quirk_section(results: Results, differences: Sequence[Difference]) -> list[Section]:
    """What reproducing the authors' errors changes, where models were made with some."""
    found = [one for one in differences if one.about == "quirks"]
    if not found:
        return []
    rows = [
        [
            name,
            ", ".join(quirk.replace("_", " ") for quirk in results.models[name].recipe),
            *(one.decided for one in found if one.first == name),
        ]
        for name in dict.fromkeys(one.first for one in found)
    ]
    names = ["Model", "As the authors' code", *_headings()]
    text = (
        f"{results.main}, {results.mode(results.main)} mode: models made with errors of the "
        f"authors' code, less {found[0].second}, which is made without. An interval that holds 0 "
        "decides nothing."
    )
    table = Table(names, rows, left=len(names))
    return [Section("What the authors' quirks change", (text,), tables=[table])]


def _interval_text(results: Results) -> str:
    found = results.intervals
    return (
        f"Main data, by solid angle. Bars: {100 * found['level']:g} % intervals of the mean from "
        f"{found['resamples']:,} draws of scenes with replacement. Line: the equator prior."
    )


def _scores_section(dataset: str, table: pd.DataFrame, results: Results) -> Section:
    """Table 4.1 of one data set, and the published rows under the run's own."""
    mode = results.mode(dataset)
    own = table[
        (table["source"] == THIS_RUN) & (table["dataset"] == dataset) & (table["mode"] == mode)
    ]
    baseline = own["model"].isin(BASELINES)
    own = pd.concat([own[~baseline], own[baseline]])
    found = results.datasets[dataset]
    folds = f", {found.folds} folds of scenes" if found.folds else ""
    role = "" if found.role == "main" else " Not trained on: out of distribution."
    text = (
        f"{found.images} panoramas of {found.scenes} scenes{folds}; truth: {found.truth}. "
        f"{mode.capitalize()} mode.{role}"
    )
    every = {column.name: column for column in columns("4.1")}
    hidden = ("source", "dataset", "encoder", "mode")
    mine = shown([c for n, c in every.items() if n not in hidden], own, {ROW: "", SCORES: ""})
    tables = [dataclasses.replace(mine, breaks=[int((~baseline).sum())])]
    if found.role == "main":
        hidden = ("source", "encoder", "decoder", "mode")
        beside = [column for name, column in every.items() if name not in hidden]
        # Said above the columns: below a long table it would come too late.
        above = {ROW: "published, on other data: for orientation only", SCORES: ""}
        tables.append(shown(beside, table[table["source"] == PUBLISHED], above))
    return Section(f"Table 4.1: {dataset}", (text,), tables=tables)


def _ablation_section(number: str, what: str, table: pd.DataFrame) -> list[Section]:
    """Measured and published rows of an ablation, none where the run has nothing to compare."""
    if not (table["source"] == THIS_RUN).any():
        return []
    made = shown(columns(number), table, {ROW: "", SCORES: ""}, breaks=["source"])
    return [Section(f"Table {number}: {what}", tables=[made])]


def _runtime_section(table: pd.DataFrame) -> Section:
    """A row a model and batch, stages side by side; published ones are totals."""
    found: dict[tuple[str, ...], dict[str, float]] = {}
    for row in table.to_dict("records"):
        batch = DASH if pd.isna(row["batch"]) else str(int(row["batch"]))
        count = 0 if pd.isna(row["threads"]) else int(row["threads"])
        threads = f", {count} thread{'s' if count > 1 else ''}" if count else ""
        key = (row["source"], row["model"], f"{row['device']}{threads}", batch)
        found.setdefault(key, {})[row["stage"]] = row["ms"]
    own = sum(key[0] == THIS_RUN for key in found)
    rows = [
        [*key, *(three_digits(stages.get(stage, math.nan)) for stage in _STAGES)]
        for key, stages in found.items()
    ]
    text = "Milliseconds a panorama. Published times are of 4K panoramas."
    names = ("Source", "Model", "Device", "Batch", *_STAGES)
    made = Table(names, rows, left=3, breaks=[own] if own else [])
    return Section("Table 4.2: run time", (text,), tables=[made])
