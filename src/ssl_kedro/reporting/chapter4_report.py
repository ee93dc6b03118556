"""The report of the saliency360 pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ssl_kedro.reporting.chapter4_figures import (
    headline_mode,
    main_dataset,
    scores,
    training_curves,
)
from ssl_kedro.reporting.chapter4_tables import (
    BASELINES,
    METRIC_NAMES,
    METRICS,
    PUBLISHED,
    THIS_RUN,
)
from ssl_kedro.reporting.html import Card, Picture, Report, Section, Table, rendered
from ssl_kedro.reporting.number_format import MINUS, plain, signed, three_digits
from ssl_kedro.reporting.run_sections import manifest_section, skipped_section

_GLOSSARY = (
    ("Sphere mode", "Every pixel counts as much as the solid angle that it covers."),
    ("Planar mode", "The MIT benchmark's definitions on the pixels as they are."),
    ("Authors mode", "Rows multiplied by a sine, as the thesis' code does."),
    ("equator", "How often training panoramas are looked at, by latitude alone."),
    ("mean", "The mean of the training maps: it also knows where viewers start."),
    ("ceiling", "What half of the viewers say of the other half."),
    ("CC, SIM, KLD", "Agreement with the map of where people looked; lower KLD is better."),
    ("AUC-J, NSS", "What the prediction says where people looked against everywhere else."),
    ("sAUC", "The same against where people looked in other panoramas."),
    ("IG", "Bits a look that are gained over the equator."),
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
    pictures = "Best to worst prediction; a line runs at half of each map's peak."
    sections = [
        Section("What the numbers say", verdicts(results)),
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
        *([Section("What differs from the thesis", notes)] if notes else []),
        *skipped_section(manifest),
        manifest_section(manifest),
        Section("Terms", terms=_GLOSSARY),
    ]
    report = Report(
        title="Where people look in panoramas",
        lead=verdicts(results)[0],
        origin=(
            f"Visual attention (chapter 4), {found['images']} tested panoramas of {dataset}, seed "
            f"{manifest['seed']}, {manifest['created'][:10]}"
        ),
        cards=_cards(results, dataset),
        sections=sections,
    )
    return rendered(report)


def verdicts(results: Results) -> list[str]:
    """What the numbers of the run's own data say, in sentences."""
    dataset = main_dataset(results)
    models = results["scores"][dataset]
    mode = headline_mode(next(iter(models.values())))
    means = {name: modes[mode]["cc"]["mean"] for name, modes in models.items()}
    own = {n: means[n] for n in results["models"] if means.get(n) is not None}
    if not own:
        return ["No model was scored."]
    best = max(own, key=lambda name: own[name])
    said = [_against_equator(results, dataset, mode, best, own[best], means)]
    if means.get("mean") is not None:
        said.append(
            f"The mean of the training maps, which sees no image, has CC {plain(means['mean'])}: "
            + _ahead(own[best] - means["mean"], "the best model")
        )
    if means.get("ceiling") is not None:
        said.append(
            f"Half of the viewers predict the other half with CC {plain(means['ceiling'])}."
        )
    trained = _of_kind(results, own, "contrastive")
    drawn = _of_kind(results, own, "random")
    if trained and drawn:
        said.append(
            f"On a frozen contrastive encoder ({trained}) CC is {plain(own[trained])}, on a frozen "
            f"random one {plain(own[drawn])}: "
            + _ahead(own[trained] - own[drawn], "contrastive pre-training")
        )
    said += _decoder_verdicts(results, own)
    return said


def _against_equator(
    results: Results,
    dataset: str,
    mode: str,
    best: str,
    value: float,
    means: Mapping[str, float | None],
) -> str:
    if means.get("equator") is None:
        return f"On {dataset}, {best} has CC {plain(value)}."
    gain = results["differences"][dataset][best][mode]["cc"]
    text = (
        f"On {dataset}, {best} is the best model: CC {plain(value)} where latitude alone has "
        f"{plain(float(means['equator'] or 0))}"
    )
    if gain["low"] is None:
        return text + "; one scene is too few to say more."
    interval = f"{signed(gain['mean'])} [{signed(gain['low'])}, {signed(gain['high'])}]"
    if gain["low"] > 0:
        return f"{text}, {interval}: it beats the equator prior."
    if gain["high"] < 0:
        return f"{text}, {interval}: it does not beat the equator prior."
    return f"{text}, {interval}: these scenes do not tell the two apart."


def _ahead(difference: float, who: str) -> str:
    size = plain(abs(difference))
    if size == plain(0.0):
        return f"{who} is level with it."
    return f"{who} is {size} {'ahead' if difference > 0 else 'behind'}."


def _of_kind(results: Results, own: Mapping[str, float], kind: str) -> str | None:
    """First model on a frozen encoder of a kind, with the commonest decoder."""
    for name in own:
        plan = results["models"][name]
        if results["encoders"][plan["encoder"]]["kind"] == kind and not plan["fine_tune"]:
            return name
    return None


def _decoder_verdicts(results: Results, own: Mapping[str, float]) -> list[str]:
    """The light decoder against others on the same encoder."""
    plans = results["models"]
    light = {
        plans[n]["encoder"]: n
        for n in own
        if plans[n]["decoder"] == "light" and not plans[n]["fine_tune"]
    }
    said = []
    for name in own:
        plan = plans[name]
        other = light.get(plan["encoder"])
        if other is None or plan["decoder"] == "light" or plan["fine_tune"]:
            continue
        fewer = plan["decoder_macs"] / plans[other]["decoder_macs"]
        said.append(
            f"The {plan['decoder']} decoder takes {three_digits(fewer)} times the "
            f"multiply-accumulates of the light one and has CC {plain(own[name], 3)} where that "
            f"has {plain(own[other], 3)}."
        )
    return said


def _cards(results: Results, dataset: str) -> list[Card]:
    models = results["scores"][dataset]
    mode = headline_mode(next(iter(models.values())))
    shown = [*results["models"], "equator", "ceiling"]
    cards: list[Card] = []
    for name in shown:
        value = models.get(name, {}).get(mode, {}).get("cc", {}).get("mean")
        if value is not None and len(cards) < 6:
            cards.append(Card(plain(value), f"CC of {name}, {mode} mode"))
    return cards


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
        caption = "Published, on other data: for orientation only."
        tables.append(Table(("Model", "Data", *_names()), beside, left=2, caption=caption))
    return Section(f"Table 4.1: {dataset}", (text,), tables=tables)


def _rows(frame: pd.DataFrame) -> list[Any]:
    # As objects: a column of numbers would turn None back into NaN.
    found = frame.astype(object).where(frame.notna(), None)
    return list(found.itertuples(index=False))


def _label(row: Any) -> str:
    return f"{row.model} {row.setting}".strip() if row.setting else str(row.model)


def _names() -> list[str]:
    return [METRIC_NAMES[metric] for metric in METRICS]


def _metric_cells(row: Any) -> list[str]:
    values = (getattr(row, metric) for metric in METRICS)
    return [
        plain(float("nan") if value is None else value, 3).replace("-", MINUS) for value in values
    ]


def _ablation_section(heading: str, table: pd.DataFrame, column: str) -> list[Section]:
    """Measured and published rows of an ablation, none where the run has nothing to compare."""
    own = table[table["source"] == THIS_RUN]
    if own.empty:
        return []
    rows = [
        [str(row.source), str(row.model or ""), str(getattr(row, column)), *_metric_cells(row)]
        for row in _rows(table)
    ]
    names = ("Source", "Model", column.replace("_", " "), *_names())
    return [Section(heading, tables=[Table(names, rows, left=2, breaks=[len(own)])])]


def _cost_section(results: Results) -> Section:
    rows = []
    for name, plan in results["models"].items():
        encoder = results["encoders"][plan["encoder"]]
        rows.append(
            [
                name,
                f"{plan['encoder']} ({encoder['architecture']})",
                three_digits(encoder["macs"] / 1e9),
                plan["decoder"],
                three_digits(plan["decoder_macs"] / 1e9),
                three_digits(plan["decoder_parameters"] / 1e6),
                three_digits(encoder["seconds"]),
                three_digits(plan["seconds"]),
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
    rows = [
        [
            str(row.source),
            str(row.model),
            str(row.stage),
            "" if row.batch is None else str(int(row.batch)),
            three_digits(row.ms),
            str(row.device),
        ]
        for row in _rows(table)
    ]
    text = "Milliseconds a panorama. Published times are of 4K panoramas."
    columns = ("Source", "Model", "Stage", "Batch", "ms", "Device")
    return Section("Table 4.2: run time", (text,), tables=[Table(columns, rows, left=3)])
