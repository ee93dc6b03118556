"""The page of the saliency360 pipeline."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from ssl_kedro.core.errors import first_few
from ssl_kedro.pipelines.saliency360.plans import GIVEN
from ssl_kedro.pipelines.saliency360.records import Results
from ssl_kedro.pipelines.saliency360.report.differences import DECIDING, Difference, judged_model
from ssl_kedro.pipelines.saliency360.report.figures import scores, training_curves
from ssl_kedro.pipelines.saliency360.report.gating import gating_section
from ssl_kedro.pipelines.saliency360.report.latitude import latitude_section
from ssl_kedro.pipelines.saliency360.report.sentences import decoder_sentence, limits, verdicts
from ssl_kedro.pipelines.saliency360.report.table_sections import (
    ablation_section,
    runtime_section,
    scores_section,
)
from ssl_kedro.reporting.glossary import SALIENCY, Term
from ssl_kedro.reporting.html import Card, Report, Section, Table, rendered
from ssl_kedro.reporting.number_format import plain, signed, three_digits
from ssl_kedro.reporting.pictures import Picture
from ssl_kedro.reporting.run_sections import manifest_section, skipped_section
from ssl_kedro.saliency.metric import metrics

_COSTS = (
    *("Model", "Encoder", "Decoder", "encoder GMAC", "decoder GMAC", "decoder M par."),
    *("pre\N{NON-BREAKING HYPHEN}training s", "decoder s"),
)
_SHEET = "Best to worst prediction; a line runs at half of each map's peak."


class Deployed(NamedTuple):
    """The model that a run keeps for use, and where it lies."""

    name: str
    folder: str


class Sheets(NamedTuple):
    """Pictures of maps: overlays over panoramas, and both poles of some."""

    overlays: Figure
    poles: Figure


# Title and text of what a table of differences is about.
_DIFFERENCES = {
    "baseline": (
        "Against what sees no image",
        "means of the differences on the same panoramas, with their {level} intervals over scenes "
        "where there are enough.",
    ),
    "text": (
        "What the printed recipe changes",
        "models made as the thesis prints it, less {second}.",
    ),
    "quirks": (
        "What the authors' quirks change",
        "models made with errors of the authors' code, less {second}, which is made without.",
    ),
}


def saliency_report(
    results: Results,
    differences: Sequence[Difference],
    manifest: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame],
    sheets: Sheets,
    notes: Sequence[str],
    deployed: Deployed,
) -> str:
    """Self-contained HTML with the results of chapter 4: ``tables`` are all of :func:`all_tables`.

    The notes say what differs from the thesis.
    """
    result, *said = verdicts(results, differences)
    level, draws = _level(results), results.intervals["resamples"]
    bars_said = (
        f"Main data, by solid angle. Bars: {level} intervals of the mean from {draws:,} draws of "
        "scenes with replacement. Line: the equator prior."
    )
    bars = Picture(scores(results), "Scores of models and baselines by metric")
    curves = Picture(training_curves(results), "Losses of all trainings by epoch")
    sections = [
        Section(
            "Where people look, and what is predicted",
            [_SHEET],
            pictures=[Picture(sheets.overlays, _SHEET, "png")],
        ),
        Section("Scores", (bars_said,), pictures=[bars]),
        _use_section(deployed),
        Section("What the numbers say", said),
        _difference_section(results, differences, "baseline"),
        *(scores_section(name, tables["table_4_1"], results) for name in results.scores),
        latitude_section(tables["table_latitude"], sheets.poles),
        ablation_section("4.3", "weight of the local loss", tables["table_4_3"]),
        ablation_section("4.4", "projections", tables["table_4_4"]),
        _cost_section(results),
        gating_section(results, differences),
        runtime_section(tables["table_4_2"]),
        Section("Training", pictures=[curves]),
        _difference_section(results, differences, "text"),
        _difference_section(results, differences, "quirks"),
        Section("What differs from the thesis", notes),
        Section("What these data cannot show", [*limits(results)]),
        *skipped_section(manifest),
        manifest_section(manifest),
    ]
    tested = f"{results.datasets[results.main].images} tested panoramas of {results.main}"
    report = Report(
        title="Where people look in panoramas",
        lead=[
            ("Trained", _trained(results)),
            ("Result", result),
            ("Use", f"Predict with {deployed.name}, which this run keeps for your own panoramas."),
        ],
        origin=(
            f"Visual attention (chapter 4), {tested}, seed {manifest['seed']}, "
            f"{manifest['created'][:10]}"
        ),
        cards=_cards(results),
        # A section with nothing to say is left out.
        sections=[s for s in sections if s.paragraphs or s.tables or s.pictures],
        terms=(*SALIENCY, *_metric_terms()),
    )
    return rendered(report)


def _trained(results: Results) -> str:
    """What was trained, and what it is scored on."""
    own, names = results.datasets[results.main], first_few(results.models, 4)
    folds = f", in {own.folds} folds of scenes" if own.folds else ""
    return (
        f"{len(results.models)} models of where people look: {names}. They are scored on "
        f"{own.images} panoramas of “{results.main}”{folds}."
    )


def _use_section(deployed: Deployed) -> Section:
    said = [
        f"The model {deployed.name} lies in {deployed.folder}: encoder and decoder, as safetensors "
        "and JSON. It predicts maps for pictures, folders and videos."
    ]
    command = (
        "kedro run --pipeline saliency360 --tags predict \\\n"
        "  --params saliency360.predict.input=PATH_OF_YOUR_PANORAMA"
    )
    return Section("Use the model", said, code=command)


def _metric_terms() -> Iterator[Term]:
    for metric in metrics().values():
        unit = f", {metric.unit}" if metric.unit else ""
        lower = "; lower is better" if metric.lower_is_better else ""
        meaning = f"{metric.meaning[0].upper()}{metric.meaning[1:]}"
        yield Term(metric.heading, f"{meaning}: {metric.range}{unit}{lower}.")


def _cards(results: Results) -> list[Card]:
    """The judged model and what it has to be compared with, then its gains."""
    name, mode = judged_model(results), results.mode(results.main)
    cards = []
    for one in filter(None, (name, "equator", "mean", "ceiling")):
        cc = results.estimate(one, "cc").mean
        if cc is not None:
            cards.append(Card(plain(cc), f"CC of {one}, {mode} mode"))
    if name:
        gain = results.estimate(name, "info_gain").mean
        if gain is not None:
            cards.append(Card(signed(gain), f"bits a look that {name} gains over the equator"))
        plan = results.models[name]
        total = three_digits((plan.decoder_macs + plan.encoder_macs) / 1e9)
        cards.append(Card(f"{total} G", "multiply-accumulates a panorama, encoder and decoder"))
    return cards


def _level(results: Results) -> str:
    return f"{100 * results.intervals['level']:g} %"


def _difference_section(results: Results, differences: Sequence[Difference], about: str) -> Section:
    """Every model less each baseline; or each of another recipe less the judged one."""
    found = [one for one in differences if one.about == about]
    if not found:
        return Section("")
    title, text = _DIFFERENCES[about]
    seconds = list(dict.fromkeys(one.second for one in found))
    said = text.format(level=_level(results), second=seconds[0])
    headings = ["Model", *[metrics()[metric].heading for metric in DECIDING] * len(seconds)]
    groups = [("", 1), *((f"less {second}", len(DECIDING)) for second in seconds)]
    rows = [
        [name, *(one.decided for one in found if one.first == name)]
        for name in dict.fromkeys(one.first for one in found)
    ]
    if about in ("text", "quirks"):
        groups = []
        headings.insert(1, "Recipe")
        for row in rows:
            row.insert(1, ", ".join(results.models[row[0]].recipe).replace("_", " "))
    text = (
        f"{results.main}, {results.mode(results.main)} mode: {said} An interval that holds 0 "
        "decides nothing."
    )
    # All columns are words, not numbers: a sign that decides nothing must not be tinted.
    table = Table(headings, rows, left=len(headings), groups=groups)
    return Section(title, (text,), tables=[table])


def _cost_section(results: Results) -> Section:
    """What each model costs, a row each."""
    rows = []
    for name, model in results.models.items():
        encoder = results.encoders[model.encoder]
        numbers = (
            *(model.encoder_macs / 1e9, model.decoder_macs / 1e9, model.decoder_parameters / 1e6),
            # How long others trained is not known.
            *(None if encoder.kind in GIVEN else encoder.seconds, model.seconds),
        )
        on = f"{model.encoder} ({encoder.architecture})"
        rows.append([name, on, model.decoder, *map(three_digits, numbers)])
    table = Table(_COSTS, rows, left=3)
    said = (decoder_sentence(),)
    return Section(
        "What it costs", said, tables=[table], folded="Show costs of models and trainings"
    )
