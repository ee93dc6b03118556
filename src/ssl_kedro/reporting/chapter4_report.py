"""The report of the saliency360 pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ssl_kedro.reporting.chapter4_differences import decided, difference, mean_score, number
from ssl_kedro.reporting.chapter4_figures import (
    headline_mode,
    main_dataset,
    scores,
    training_curves,
)
from ssl_kedro.reporting.chapter4_tables import (
    BASELINES,
    PUBLISHED,
    THIS_RUN,
)
from ssl_kedro.reporting.chapter4_verdicts import DECIDING, judged_model, limits, verdicts
from ssl_kedro.reporting.html import Card, Picture, Report, Section, Table, rendered
from ssl_kedro.reporting.number_format import DASH, MINUS, plain, signed, three_digits
from ssl_kedro.reporting.run_sections import manifest_section, skipped_section
from ssl_kedro.saliency.metric import metrics

_GLOSSARY = (
    ("Sphere mode", "Every pixel counts as much as the solid angle that it covers."),
    ("Planar mode", "The MIT benchmark's definitions on the pixels as they are."),
    ("Authors mode", "Rows multiplied by a sine, as the thesis' code does."),
    ("equator", "How often training panoramas are looked at, by latitude alone."),
    ("mean", "The mean of the training maps: it also knows where viewers start."),
    ("ceiling", "What half of the viewers say of the other half."),
)
Results = Mapping[str, Any]


def saliency_report(
    results: Results,
    manifest: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame],
    sheet: Figure | None,
    notes: Sequence[str],
) -> str:
    """Self-contained HTML with the results of chapter 4.

    Args:
        results: as ``collect`` of the pipeline makes them.
        manifest: of the run.
        tables: "4.1" to "4.4".
        sheet: overlays, None without any.
        notes: what differs from the thesis, and what the data cannot show.
    """
    dataset = main_dataset(results)
    found = results["datasets"][dataset]
    mode = headline_mode(next(iter(results["scores"][dataset].values()), {"sphere": {}}))
    said = verdicts(results, dataset, mode)
    pictures = "Best to worst prediction; a line runs at half of each map's peak."
    sections = [
        *([Section("What the numbers say", said[1:])] if said[1:] else []),
        *_difference_section(results, dataset, mode),
        *(_scores_section(name, tables["4.1"], results) for name in results["scores"]),
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
        *_ablation_section("Table 4.3: weight of the local loss", tables["4.3"], "local_weight"),
        *_ablation_section("Table 4.4: projections", tables["4.4"], "projections"),
        _cost_section(results),
        _runtime_section(tables["4.2"]),
        Section(
            "Training",
            pictures=[Picture(training_curves(results), "Losses of all trainings by epoch")],
        ),
        *_quirk_section(results, dataset, mode),
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
            f"Visual attention (chapter 4), {found['images']} tested panoramas of {dataset}, seed "
            f"{manifest['seed']}, {manifest['created'][:10]}"
        ),
        cards=_cards(results, dataset, mode),
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


def _cards(results: Results, dataset: str, mode: str) -> list[Card]:
    """The judged model and what it has to be compared with, then its gains."""
    name = judged_model(results, dataset)
    names = ([name] if name else []) + ["equator", "mean", "ceiling"]
    means = {n: mean_score(results, dataset, n, mode, "cc") for n in names}
    cards = [Card(plain(v), f"CC of {n}, {mode} mode") for n, v in means.items() if not pd.isna(v)]
    if name:
        gain = mean_score(results, dataset, name, mode, "info_gain")
        if not pd.isna(gain):
            cards.append(Card(signed(gain), f"bits a look that {name} gains over the equator"))
        macs = results["models"][name].get("decoder_macs")
        encoder = results["encoders"][results["models"][name]["encoder"]]
        if macs and encoder.get("macs"):
            total = three_digits((macs + encoder["macs"]) / 1e9)
            cards.append(Card(f"{total} G", "multiply-accumulates a panorama, encoder and decoder"))
    return cards


def _paragraphs(heading: str, paragraphs: Sequence[str]) -> list[Section]:
    return [Section(heading, paragraphs)] if paragraphs else []


def _difference_section(results: Results, dataset: str, mode: str) -> list[Section]:
    """Every model less each baseline, CC and information gain."""
    baselines = [name for name in ("equator", "mean") if name in results["scores"][dataset]]
    names = [name for name in results["models"] if name in results["scores"][dataset]]
    if not baselines or not names:
        return []
    rows = [
        [
            name,
            *(
                decided(difference(results, dataset, name, baseline, mode, metric))
                for baseline in baselines
                for metric in DECIDING
            ),
        ]
        for name in names
    ]
    groups = [("", 1), *((f"less {baseline}", len(DECIDING)) for baseline in baselines)]
    columns = ["Model", *[metrics()[metric].heading for metric in DECIDING] * len(baselines)]
    text = (
        f"{dataset}, {mode} mode: means of the differences on the same panoramas, with their "
        f"{100 * results['intervals']['level']:g} % intervals over scenes where there are enough. "
        "An interval that holds 0 decides nothing."
    )
    # Words, not numbers: a sign that decides nothing must not be tinted.
    shown = Table(columns, rows, left=len(columns), groups=groups)
    return [Section("Against what sees no image", (text,), tables=[shown])]


def _quirk_section(results: Results, dataset: str, mode: str) -> list[Section]:
    """What reproducing the authors' errors changes, where models were made with some."""
    reference = judged_model(results, dataset)
    own = results["models"].get(reference, {})
    if reference is None or own.get("recipe"):
        return []
    quirky = {
        name: plan["recipe"]
        for name, plan in results["models"].items()
        if plan.get("recipe")
        and name in results["scores"].get(dataset, {})
        and all(plan[key] == own[key] for key in ("decoder", "fine_tune"))
    }
    if not quirky:
        return []
    rows = [
        [
            name,
            ", ".join(quirk.replace("_", " ") for quirk in recipe),
            *(
                decided(difference(results, dataset, name, reference, mode, metric))
                for metric in DECIDING
            ),
        ]
        for name, recipe in quirky.items()
    ]
    columns = ["Model", "As the authors' code", *(metrics()[metric].heading for metric in DECIDING)]
    text = (
        f"{dataset}, {mode} mode: models made with errors of the authors' code, less {reference}, "
        "which is made without. An interval that holds 0 decides nothing."
    )
    table = Table(columns, rows, left=len(columns))
    return [Section("What the authors' quirks change", (text,), tables=[table])]


def _interval_text(results: Results) -> str:
    found = results["intervals"]
    return (
        f"Main data, by solid angle. Bars: {100 * found['level']:g} % intervals of the mean from "
        f"{found['resamples']:,} draws of scenes with replacement. Line: the equator prior."
    )


def _scores_section(dataset: str, table: pd.DataFrame, results: Results) -> Section:
    """Table 4.1 of one data set, and the published rows under the run's own."""
    own = table[(table["source"] == THIS_RUN) & (table["dataset"] == dataset)]
    mode = headline_mode(dict.fromkeys(own["mode"]))
    own = own[own["mode"] == mode]
    rows = [[_label(row), str(row.decoder or ""), *_metric_cells(row)] for row in _rows(own)]
    breaks = [sum(1 for row in _rows(own) if row.model not in BASELINES)]
    order = [r for r in rows if r[0] not in BASELINES] + [r for r in rows if r[0] in BASELINES]
    found = results["datasets"][dataset]
    role = "" if found["role"] == "main" else " Not trained on: out of distribution."
    folds = f", {found['folds']} folds of scenes" if found["folds"] else ""
    text = (
        f"{found['images']} panoramas of {found['scenes']} scenes{folds}; truth: {found['truth']}. "
        f"{mode.capitalize()} mode.{role}"
    )
    tables = [Table(("Model", "Decoder", *_names()), order, left=2, breaks=breaks)]
    if found["role"] == "main":
        published = table[table["source"] == PUBLISHED]
        beside = [[_label(row), str(row.dataset), *_metric_cells(row)] for row in _rows(published)]
        # Said above the columns: below a long table it would come too late.
        names = _names()
        above = (("published, on other data: for orientation only", 2), ("", len(names)))
        tables.append(Table(("Model", "Data", *names), beside, left=2, groups=above))
    return Section(f"Table 4.1: {dataset}", (text,), tables=tables)


def _rows(frame: pd.DataFrame) -> list[Any]:
    # As objects: a column of numbers would turn None back into NaN.
    found = frame.astype(object).where(frame.notna(), None)
    return list(found.itertuples(index=False))


def _label(row: Any) -> str:
    return f"{row.model} {row.setting}".strip() if row.setting else str(row.model)


def _names() -> list[str]:
    return [metric.heading for metric in metrics().values()]


def _metric_cells(row: Any) -> list[str]:
    values = (getattr(row, metric) for metric in metrics())
    return [
        plain(float("nan") if value is None else value, 3).replace("-", MINUS) for value in values
    ]


def _ablation_section(heading: str, table: pd.DataFrame, column: str) -> list[Section]:
    """Measured and published rows of an ablation, none where the run has nothing to compare."""
    own = table[table["source"] == THIS_RUN]
    if own.empty:
        return []
    rows = [
        [
            str(row.source),
            str(row.dataset),
            " ".join(filter(None, (row.model or row.architecture, getattr(row, "setting", None)))),
            _varied_value(getattr(row, column)),
            *_metric_cells(row),
        ]
        for row in _rows(table)
    ]
    names = ("Source", "Data", "Model", column.replace("_", " "), *_names())
    return [Section(heading, tables=[Table(names, rows, left=3, breaks=[len(own)])])]


def _varied_value(value: Any) -> str:
    """A weight as it is, yes or no for a flag."""
    return ("yes" if value else "no") if isinstance(value, bool) else f"{value:g}"


def _cost_section(results: Results) -> Section:
    rows = []
    for name, plan in results["models"].items():
        encoder = results["encoders"][plan["encoder"]]
        rows.append(
            [
                name,
                f"{plan['encoder']} ({encoder['architecture']})",
                three_digits(number(encoder["macs"]) / 1e9),
                plan["decoder"],
                three_digits(number(plan["decoder_macs"]) / 1e9),
                three_digits(number(plan["decoder_parameters"]) / 1e6),
                three_digits(number(encoder["seconds"])),
                three_digits(number(plan["seconds"])),
            ]
        )
    columns = (
        "Model",
        "Encoder",
        "encoder GMAC",
        "Decoder",
        "decoder GMAC",
        "decoder M par.",
        "pre-training s",
        "decoder s",
    )
    return Section("What it costs", tables=[Table(columns, rows, left=2)])


def _runtime_section(table: pd.DataFrame) -> Section:
    """A row a model and batch, stages side by side; published ones are totals."""
    found: dict[tuple[str, ...], dict[str, float]] = {}
    for row in _rows(table):
        batch = DASH if row.batch is None else str(int(row.batch))
        count = 0 if row.threads is None else int(row.threads)
        threads = f", {count} thread{'s' if count > 1 else ''}" if count else ""
        key = (str(row.source), str(row.model), f"{row.device or DASH}{threads}", batch)
        found.setdefault(key, {})[str(row.stage)] = number(row.ms)
    own = sum(key[0] == THIS_RUN for key in found)
    rows = [
        [*key, *(three_digits(stages.get(stage, float("nan"))) for stage in _STAGES)]
        for key, stages in found.items()
    ]
    text = "Milliseconds a panorama. Published times are of 4K panoramas."
    columns = ("Source", "Model", "Device", "Batch", *_STAGES)
    shown = Table(columns, rows, left=3, breaks=[own] if own else [])
    return Section("Table 4.2: run time", (text,), tables=[shown])


_STAGES = ("decode", "encoder", "decoder", "post", "total")
