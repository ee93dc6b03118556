"""Tables 4.1 to 4.4 on the page."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from ssl_kedro.pipelines.saliency360.records import BASELINES, Results
from ssl_kedro.pipelines.saliency360.report.sentences import kld_note
from ssl_kedro.pipelines.saliency360.report.tables import (
    FLAT,
    PUBLISHED,
    ROW,
    SCORES,
    THIS_RUN,
    columns,
)
from ssl_kedro.reporting.html import Section, Table
from ssl_kedro.reporting.number_format import DASH, three_digits
from ssl_kedro.reporting.table import LESS_PUBLISHED, shown
from ssl_kedro.reporting.table import PUBLISHED as BESIDE
from ssl_kedro.saliency.predict.runtime import STAGES

# How Table 4.1 of the page leaves out what its heading and text say.
_HIDDEN = ("source", "encoder", "mode")
_SHOWN = {SCORES: "This run, flat", BESIDE: "Published", LESS_PUBLISHED: LESS_PUBLISHED}


def scores_section(dataset: str, table: pd.DataFrame, results: Results) -> Section:
    """Table 4.1 of one data set, by solid angle, and flat beside the published rows."""
    mode, found = results.mode(dataset), results.datasets[dataset]
    every = table[(table["source"] == THIS_RUN) & (table["dataset"] == dataset)]
    folds = f", {found.folds} folds of scenes" if found.folds else ""
    role = "" if found.role == "main" else " Not trained on: out of distribution."
    text = (
        f"{found.images} panoramas of {found.scenes} scenes{folds}; truth: {found.truth}. "
        f"{mode.capitalize()} mode.{role}"
    )
    tables = [_models_first(every[every["mode"] == mode], {SCORES: ""})]
    published = table[table["source"] == PUBLISHED]
    flat = every[every["mode"] == FLAT]
    if found.published:
        theirs = published[published["dataset"] == found.published]
        above = f"published, {found.published}"
        tables += [_models_first(flat, _SHOWN)] * bool(len(flat))
        tables.append(_part(theirs, {ROW: above, SCORES: ""}, "decoder", *_HIDDEN))
    elif found.role == "main":
        # Said above the columns: below a long table it would come too late.
        above = "published, on other data: for orientation only"
        tables.append(_part(published, {ROW: above, SCORES: ""}, "decoder", *_HIDDEN))
    return Section(f"Table 4.1: {dataset}", (text, *_comparison(results, dataset)), tables=tables)


def _part(rows: pd.DataFrame, groups: Mapping[str, str], *hidden: str) -> Table:
    beside = [column for column in columns("4.1") if column.name not in hidden]
    return shown(beside, rows, groups)


def _models_first(own: pd.DataFrame, groups: Mapping[str, str]) -> Table:
    """Models, then baselines below a line."""
    baseline = own["model"].isin(BASELINES)
    ordered = pd.concat([own[~baseline], own[baseline]])
    made = _part(ordered, {ROW: "", **groups}, "dataset", *_HIDDEN)
    return dataclasses.replace(made, breaks=[int((~baseline).sum())])


def _comparison(results: Results, dataset: str) -> Iterator[str]:
    """What a published figure beside this data set's can say."""
    found = results.datasets[dataset]
    if not found.published:
        return
    yield (
        "No difference to published scores is given, since data or protocol are not the thesis': "
        "“What differs from the thesis” says how."
        if found.differs
        else "Data and protocol are the thesis'. Differences stand where networks and their "
        "training are so too."
    )
    if note := kld_note(results, dataset):
        yield note


def ablation_section(number: str, what: str, table: pd.DataFrame) -> Section:
    """Measured and published rows of an ablation, none where the run has nothing to compare."""
    tables = []
    if (table["source"] == THIS_RUN).any():
        groups = {ROW: "", **_SHOWN, SCORES: ""}
        tables.append(shown(columns(number), table, groups, breaks=["source", "mode"]))
    return Section(f"Table {number}: {what}", tables=tables)


def runtime_section(table: pd.DataFrame) -> Section:
    """A row a model, picture and batch, stages side by side; published ones are totals."""
    rows = []
    keys = ["source", "model", "picture", "device", "threads", "batch"]
    key: Any
    for key, of in table.groupby(keys, sort=False, dropna=False):
        source, model, picture, device, threads, batch = key
        known = dict(zip(of["stage"], of["ms"], strict=True))
        count = "" if pd.isna(threads) else f", {threads:.0f} thread{'s' * (threads > 1)}"
        size = DASH if pd.isna(batch) else f"{batch:.0f}"
        times = [three_digits(known.get(stage)) for stage in STAGES]
        rows.append([source, model, picture or DASH, f"{device}{count}", size, *times])
    own = sum(row[0] == THIS_RUN for row in rows)
    text = "Milliseconds a panorama, by the size of its file in px. Published times are of 4K ones."
    names = ("Source", "Model", "Picture", "Device", "Batch", *STAGES)
    made = Table(names, rows, left=4, breaks=[own] if own else [])
    return Section("Table 4.2: run time", (text,), tables=[made], folded="Show run times")
