"""The first section of a report: the front, in a sentence, a picture and a table."""

import math
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import pandas as pd

from ssl_kedro.core.precision import PRECISIONS
from ssl_kedro.pipelines.gated.frontier.names import (
    ENGINES,
    MEASURE_TITLES,
    batch_label,
    form_label,
)
from ssl_kedro.pipelines.gated.frontier.points import MEASURES, measure_of
from ssl_kedro.pipelines.gated.inference.parameters import InferenceParameters
from ssl_kedro.pipelines.gated.inference.records import Deployment
from ssl_kedro.pipelines.gated.report.frontier_figure import frontier_figure
from ssl_kedro.reporting.html import Section, Table
from ssl_kedro.reporting.number_format import DASH, plain, signed, three_digits
from ssl_kedro.reporting.pictures import Picture
from ssl_kedro.reporting.table import Column, computed, shown, word

_VERDICTS = {"": "as trained", "holds": "holds", "loses": "loses", "undecided": "not decided"}


def frontier_sections(
    options: InferenceParameters,
    frame: pd.DataFrame | None,
    deployment: Deployment | None,
    missing: Mapping[str, str],
) -> list[Section]:
    """The front of accuracy against time; nothing where nothing was timed.

    Args:
        options: of the stage that timed and judged.
        frame: from :func:`~ssl_kedro.pipelines.gated.frontier.points.frontier_frame`.
        deployment: what to deploy.
        missing: why precisions could not be timed here, by precision.
    """
    if frame is None or deployment is None or frame.empty:
        return []
    frame = frame.assign(verdict=frame["verdict"].fillna(""))
    measure = measure_of(frame)
    pictures = [
        Picture(
            frontier_figure(frame[frame["batch"] == batch]),
            f"{MEASURE_TITLES[measure]} of every network, precision and engine over milliseconds "
            f"an image, {batch_label(batch)}; the front is drawn, what it beats is grey",
        )
        for batch in sorted(frame["batch"].unique())
    ]
    said = [_capitalised(deployment.why), *_not_offered(options, frame)]
    said += [_measured(options, frame, missing), *_could_not(missing)]
    return [
        Section(
            "Accuracy per millisecond",
            said,
            pictures=pictures,
            tables=[_table(options, frame)],
            folded="Show all networks, precisions and engines",
        )
    ]


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def _not_offered(options: InferenceParameters, frame: pd.DataFrame) -> list[str]:
    """How many forms lose too much, or were not decided."""
    judged = frame[frame["verdict"] != ""].drop_duplicates(["model", "network", "precision"])
    found = []
    for verdict, text in (
        ("loses", f"lose more than {options.max_loss:g} points and are not offered"),
        ("undecided", "are not decided: the interval holds the limit; bf16 is kept, int8 is not"),
    ):
        names = judged[judged["verdict"] == verdict]
        if len(names):
            counts = names["precision"].value_counts().sort_index()
            told = ", ".join(f"{count} in {precision}" for precision, count in counts.items())
            found.append(f"{len(names)} of {len(judged)} networks ({told}) {text}.")
    return found


def _could_not(missing: Mapping[str, str]) -> list[str]:
    return [f"{precision} was not timed: {why}." for precision, why in missing.items()]


def _measured(options: InferenceParameters, frame: pd.DataFrame, missing: Mapping[str, str]) -> str:
    present = [name for name in PRECISIONS if (frame["precision"] == name).any()]
    if present == ["f32"] and not missing:
        return (
            "Only f32 was measured (inference.precisions): a quantised dense network may be faster "
            "than all of these. --tags frontier measures bf16 and int8, and what one would train "
            "instead."
        )
    return (
        f"Precisions: {', '.join(present)}. A precision is judged against f32 on training images "
        "held out from calibration, bank and probe, image by image: it holds where the whole 95 % "
        f"interval of what it loses, linear and 1-NN, is at most {options.max_loss:g} points."
    )


def _table(options: InferenceParameters, frame: pd.DataFrame) -> Table:
    """One row a model, network and precision."""
    batches = sorted(frame["batch"].unique())
    measures = [name for name in MEASURES if frame[name].notna().any()]
    tenths: Callable[[Any, float], str] = lambda value, _: plain(value, 1)  # noqa: E731
    columns: list[Column[pd.DataFrame]] = [
        Column("form", _form, "Network", text=word, left=True),
        Column("precision", lambda of: of["precision"].iloc[0], "Precision", text=word, left=True),
        Column("cost_share", lambda of: 100 * of["cost_share"].iloc[0], "FLOPs (%)", text=tenths),
        *chain.from_iterable(_accuracy_columns(frame, measure) for measure in measures),
        *chain.from_iterable(map(_columns_at, batches)),
        Column("file", _megabytes, "file (MB)", "Size", tenths),
        Column("memory", _memory, "memory (MB)", "Size", word),
        Column("verdict", _verdict, "against f32", "Offered", word),
        Column("role", _role, "role", "Offered", word),
    ]
    fastest = frame[frame["fastest"].astype(bool)]
    # Of engines that round in different ways the worst is told, which comes first.
    rows = [
        of.sort_values(measure_of(frame)).set_index("batch")
        for _, of in fastest.groupby(["model", "network", "precision"], sort=False)
    ]
    groups = ["", *(_HEADINGS[measure] for measure in measures), *map(batch_label, batches)]
    caption = (
        "Accuracies on the evaluation images; in bf16 and int8 through the engine that runs the "
        "network, the lowest where it is not the same one at each batch size. "
        "In brackets the 95 % interval of the difference to the dense baseline in f32, in points: "
        "over the same images, or with several seeds over these. Gain: time of the fastest dense "
        f"network of any precision that loses at most {options.max_loss:g} points over its own; "
        "“f32” that of the dense network in f32. File: as ONNX; bf16 reads that in float32. "
        "Memory: largest resident size that the engine adds to a process of its own that has "
        f"PyTorch loaded, at batch {' / '.join(map(str, batches))}."
    )
    shown_groups = dict.fromkeys([*groups, "Size", "Offered"])
    return shown(columns, computed(columns, rows), {g: g for g in shown_groups}, ["form"], caption)


_HEADINGS = {"linear": "Linear (%)", "knn": "1-NN (%)", "neighbours": "Neighbours (%)"}


def _form(of: pd.DataFrame) -> str:
    return form_label(of["model"].iloc[0], of["network"].iloc[0])


def _accuracy_columns(frame: pd.DataFrame, measure: str) -> list[Column[pd.DataFrame]]:
    columns = [
        Column[pd.DataFrame](
            measure,
            lambda of: of[measure].iloc[0],
            "top-1",
            _HEADINGS[measure],
            lambda value, _: plain(value, 1),
        )
    ]
    low, high = f"{measure}_low", f"{measure}_high"
    if low in frame and frame[low].notna().any():

        def interval(of: pd.DataFrame) -> str:
            ends = [of[name].iloc[0] for name in (low, high)]
            if any(map(math.isnan, ends)):
                return DASH
            return f"[{signed(ends[0], 1)}, {signed(ends[1], 1)}]"

        columns.append(
            Column(f"{measure}_interval", interval, "less dense f32", _HEADINGS[measure], word)
        )
    return columns


def _columns_at(batch: int) -> list[Column[pd.DataFrame]]:
    """Engine, time and gains at one batch size; dashes for who was timed at others."""
    heading = batch_label(batch)

    def engine(of: pd.DataFrame) -> str | None:
        return ENGINES[of["engine"][batch]] if batch in of.index else None

    def times(value: float, _: float) -> str:
        return f"{value:.2f}\N{MULTIPLICATION SIGN}"

    return [
        Column(f"engine_{batch}", engine, "engine", heading, word),
        Column(
            f"ms_{batch}",
            lambda of: of["ms_per_image"].get(batch),
            "ms",
            heading,
            lambda value, _: three_digits(value),
        ),
        Column(f"ratio_{batch}", lambda of: of["ratio"].get(batch), "gain", heading, times),
        Column(f"f32_{batch}", lambda of: of["f32_ratio"].get(batch), "f32", heading, times),
    ]


def _megabytes(of: pd.DataFrame) -> float:
    return float(of["file_bytes"].iloc[0]) / 1e6


def _memory(of: pd.DataFrame) -> str | None:
    known = of["memory_mb"].sort_index()
    return None if known.isna().any() else " / ".join(f"{value:,.0f}" for value in known)


def _verdict(of: pd.DataFrame) -> str:
    return _VERDICTS[of["verdict"].iloc[0]]


def _role(of: pd.DataFrame) -> str:
    if of["deployed"].any():
        return "deploy"
    if of["on_front"].any():
        return "on the front"
    return "beaten" if of["offered"].iloc[0] else "not offered"
