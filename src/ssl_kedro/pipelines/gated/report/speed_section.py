"""Report sections: what gating gains in time, with its figure, and exported files."""

import math
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ssl_kedro.pipelines.gated.frontier.names import ENGINES, batch_label
from ssl_kedro.pipelines.gated.inference.records import (
    Exports,
    Gates,
    Measurement,
    Measurements,
    of_gated,
)
from ssl_kedro.pipelines.gated.records import Evaluations
from ssl_kedro.pipelines.gated.report.export_table import export_table
from ssl_kedro.pipelines.gated.variants import (
    budget_percent,
    has_gates,
    label_of,
    name_of,
    title_of,
)
from ssl_kedro.reporting.html import Section, Table
from ssl_kedro.reporting.labels import label_point, mark_point, settled
from ssl_kedro.reporting.number_format import counted, percent, plain, signed, three_digits
from ssl_kedro.reporting.pictures import Picture
from ssl_kedro.reporting.style import BLUE, DARK, GREEN, GREY, ORANGE, PURPLE, RED, figure, title
from ssl_kedro.reporting.table import Column, computed, shown, word

Gated = Mapping[str, tuple[Measurement, Gates]]
_MARKERS = {"gated": "o", "static": "^"}
_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, RED)


def speed_sections(
    models: Evaluations,
    inference: Measurements | None,
    table: pd.DataFrame | None,
    exports: Exports | None,
    chosen: float | None = None,
) -> list[Section]:
    """Sections of what was measured and exported.

    Args:
        models: evaluation of every model.
        inference: what was measured, by model.
        table: from :func:`~ssl_kedro.pipelines.gated.report.speed_numbers.inference_frame`.
        exports: checks of the files, by model.
        chosen: budget of the operating point, whose files are marked.
    """
    found = []
    gated = of_gated(inference or {})
    if gated and table is not None:
        table = table[table["model"].isin(list(gated))]
        pictures = [
            Picture(
                time_against_cost(table[table["batch"] == batch]),
                "Time of gated and static networks in f32 over their cost, both as shares of the "
                f"dense network's in f32, {batch_label(batch)}",
            )
            for batch in sorted(table["batch"].unique())
        ]
        measured = {key: measurement for key, (measurement, _) in gated.items()}
        said = [_verdict(measured), *_static_verdicts(gated), _how(measured)]
        tables = [_time_table(table), _forced_table(models, gated)]
        folded = "Show the times of all networks, and what forced gates change"
        found.append(Section("Inference: FLOPs and time", said, tables, pictures, folded=folded))
    if exports is not None:
        table_of_files = export_table(exports, chosen)
        found.append(Section("Exported files", tables=[table_of_files], folded="Show the files"))
    return found


def time_against_cost(table: pd.DataFrame) -> Figure:
    """One panel a batch size, all in f32; below the diagonal more time is saved than FLOPs.

    Args:
        table: from :func:`~ssl_kedro.pipelines.gated.report.speed_numbers.inference_frame`;
            models without gates are left out.
    """
    batches = sorted(table["batch"].unique())
    table = table[(table["precision"] == "f32") & table["model"].map(has_gates)]
    made, axes = figure(5 * len(batches), 4.4, columns=len(batches))
    methods = list(dict.fromkeys(map(name_of, table["model"])))
    for axis, batch in zip(axes, batches, strict=True):
        _panel(axis, table[table["batch"] == batch], methods)
        title(axis, batch_label(batch))
        axis.set_xlabel("FLOPs (MACs) of the dense network (%)")
    axes[0].set_ylabel("time of the dense network in f32 (%)")
    # Models may have been timed at different batch sizes: no panel need show all of them.
    unique: dict[str, Any] = {}
    for axis in axes:
        handles, labels = axis.get_legend_handles_labels()
        unique = dict(zip(labels, handles, strict=True)) | unique
    made.legend(
        unique.values(),
        unique.keys(),
        loc="outside lower center",
        ncols=min(2, len(unique)),
        fontsize=9,
        frameon=False,
    )
    return settled(made)


def _panel(axis: Axes, rows: pd.DataFrame, methods: list[str]) -> None:
    axis.plot([0, 100], [0, 100], color=DARK, lw=0.8, ls=":", label="time falls as FLOPs do")
    axis.axhline(100, color=GREY, lw=1.2, label="dense network")
    for index, method in enumerate(methods):
        colour = _COLOURS[index % len(_COLOURS)]
        for network, marker in _MARKERS.items():
            same = rows["model"].map(name_of) == method
            points = rows[same & (rows["network"] == network)].sort_values("cost_share")
            if points.empty:
                continue
            costs, times = 100 * points["cost_share"], 100 / points["f32_ratio"]
            face = colour if network == "gated" else "white"
            name = network if len(methods) == 1 else f"{title_of(method)}, {network}"
            look: dict[str, Any] = {"marker": marker, "color": colour, "mfc": face, "ms": 7}
            axis.plot(costs, times, ls="", label=name, **look)
            for cost, time, key in zip(costs, times, points["model"], strict=True):
                shares = f"{time:.0f} % of the time, {cost:.0f} % of the FLOPs"
                told = f"{label_of(key)}, {network}: {shares}"
                mark_point(axis, (cost, time), told, **look)
                label_point(axis, f"{budget_percent(key)} %", (cost, time), colour)
    top = 100 / rows.loc[rows["network"] != "dense", "f32_ratio"].min()
    axis.set_xlim(0, 104)
    axis.set_ylim(0, max(110, 1.08 * top))


def _verdict(inference: Measurements) -> str:
    """The gain at each batch size in a sentence; models may have been timed at different ones."""
    parts = []
    for batch in sorted({b for found in inference.values() for b in found.batches}, key=int):
        timed = {key: of.batches[batch] for key, of in inference.items() if batch in of.batches}
        ratios = {key: compared.ratio for key, compared in timed.items()}
        least, most = min(ratios.values()), max(ratios.values())
        best = max(ratios, key=ratios.__getitem__)
        span = f"{least:.2f} to {most:.2f}" if len(ratios) > 1 else f"{most:.2f}"
        said = f"{span} times as fast as the best dense engine at batch {batch}"
        if len(timed) < len(inference):
            said += f" (of {len(timed)} of {len(inference)} models)"
        if len(ratios) > 1 and most > 1:
            said += f", most for {label_of(best)}"
        if fallen := sum(compared.chosen == compared.baseline for compared in timed.values()):
            said += f" ({fallen} of {len(ratios)} fall back to the dense network)"
        parts.append(said)
    return "Gated encoders are " + "; ".join(parts) + "."


def _static_verdicts(inference: Gated) -> list[str]:
    """How the plain narrow networks compare by accuracy, where there are labels; why some lack."""
    points = [
        100 * (static - gated)
        for of in (found.accuracies for found, _ in inference.values())
        if "static" in of
        and (static := of["static"].knn_top1) is not None
        and (gated := of["gated"].knn_top1) is not None
    ]
    said = []
    if points:
        ends = points if len(points) == 1 else [min(points), max(points)]
        span = " to ".join(signed(end, 1) for end in ends)
        said.append(
            f"Static networks, which need no gates, differ by {span} points of 1-NN from the "
            "gated ones of the same budget."
        )
    return said + [
        f"{label_of(key)} has no static network: {gates.static.reason}."
        for key, (_, gates) in inference.items()
        if gates.static.reason
    ]


def _how(inference: Measurements) -> str:
    first = next(iter(inference.values()))
    compared = next(iter(first.batches.values()))
    reasons = {
        timing.name: timing.reason
        for found in inference.values()
        for batch in found.batches.values()
        for network in batch.networks.values()
        for timing in network.timings
        if timing.ms is None and network.precision == "f32"
    }
    asked = [timing.name for timing in compared.networks["gated"].timings]
    raced = ", ".join(ENGINES[name] for name in asked if name not in reasons)
    text = (
        f"Measured on this machine's CPU with {counted(compared.threads)} "
        f"thread{'s' if compared.threads > 1 else ''} at {first.image_size} px: each network on "
        "its fastest engine, all of them in turns, medians. Times depend on the machine, and on "
        f"what else it does. Engines that raced in f32: {raced}."
    )
    if reasons:
        told = "; ".join(f"{ENGINES[name]} ({why})" for name, why in reasons.items())
        text += f" Not available here: {told}."
    if left_out := [name for name in ENGINES if name not in asked]:
        text += f" Not asked for (inference.engines): {', '.join(left_out)}."
    return text


def _printed(text: Callable[..., str], *digits: int) -> Callable[[Any, float], str]:
    """How a column prints a value that has no deviation."""
    return lambda value, _: text(value, *digits)


def _time_table(table: pd.DataFrame) -> Table:
    """One row a model and network; its measurements at each batch size side by side."""
    batches = sorted(table["batch"].unique())
    measures = {"linear_top1": "linear", "knn_top1": "1-NN"}
    tenths = _printed(plain, 1)
    precision: Column[pd.DataFrame] = Column(
        "precision", lambda of: of["precision"].iloc[0], "Precision", text=word, left=True
    )
    columns: list[Column[pd.DataFrame]] = [
        Column("model", lambda of: label_of(of["model"].iloc[0]), "Model", text=word, left=True),
        Column("network", lambda of: of["network"].iloc[0], "Network", text=word, left=True),
        *([precision] if table["precision"].nunique() > 1 else []),
        Column("cost_share", _share("cost_share"), "FLOPs (%)", text=tenths),
        *(
            Column(name, _share(name), heading, "Top-1 (%)", tenths)
            for name, heading in measures.items()
            if table[name].notna().any()
        ),
        *chain.from_iterable(map(_columns_at, batches)),
    ]
    forms = table.groupby(["model", "network", "precision"], sort=False)
    rows = [of.set_index("batch") for _, of in forms]
    caption = (
        "FLOPs: MACs as a share of the dense network's. Dense: the encoder's dense branch, or the "
        "ungated baseline where it has none. Gated: the C++ kernel does not compute what gates "
        "close, other engines mask it; what was never open on the training images is removed, "
        "what always was has no gate. Static: no gates, what was most often open at the same cost. "
        "Gain: time of the fastest dense network that holds, of any precision that was measured, "
        "over its own; “dense” where the gated network was slower, and what runs is the dense one. "
        "A dash: this model was timed at other batch sizes. Linear accuracies of gated and static "
        "networks: on features of whole images, whatever probe.features is."
    )
    groups = {group: group for group in ("", "Top-1 (%)", *map(batch_label, batches))}
    return shown(columns, computed(columns, rows), groups, ["model"], caption)


def _share(name: str) -> Callable[[pd.DataFrame], float]:
    return lambda of: 100 * float(of[name].iloc[0])


def _columns_at(batch: int) -> list[Column[pd.DataFrame]]:
    """Engine, time, rate and gain at one batch size; dashes for who was timed at others."""

    def gain(of: pd.DataFrame) -> str | None:
        if batch not in of.index or of["network"].iloc[0] == "dense":
            return None
        slower = of["network"].iloc[0] == "gated" and of["measured_ratio"][batch] <= 1
        return "dense" if slower else f"{of['measured_ratio'][batch]:.2f}\N{MULTIPLICATION SIGN}"

    def engine(of: pd.DataFrame) -> str | None:
        return ENGINES[of["engine"][batch]] if batch in of.index else None

    number = _printed(three_digits)
    return [
        Column(f"engine_{batch}", engine, "engine", batch_label(batch), word),
        Column(
            f"ms_{batch}",
            lambda of: of["ms_per_image"].get(batch),
            "ms/image",
            batch_label(batch),
            number,
        ),
        Column(
            f"rate_{batch}",
            lambda of: of["images_per_second"].get(batch),
            "images/s",
            batch_label(batch),
            number,
        ),
        Column(f"gain_{batch}", gain, "gain", batch_label(batch), word),
    ]


def _forced_table(models: Evaluations, inference: Gated) -> Table:
    rows = []
    for key, (found, (channels, _, forced)) in inference.items():
        kinds = (channels.always_on, channels.dependent, channels.removed)
        both = (models[key].branches["gated"], found.accuracies["gated"])
        rows.append(
            [
                label_of(key),
                *(plain(100 * (kind / channels.all), 1) for kind in kinds),
                percent(forced.changed_images),
                percent(forced.opened_share, 3),
                three_digits(forced.changed_gates),
                percent(forced.feature_change, 2),
                percent(forced.largest_change, 1),
                *(plain(100 * a.flat().get("knn_top1", math.nan), 1) for a in both),
            ]
        )
    columns = ["Model", "always on", "dependent", "removed", "images with a changed mask"]
    columns += ["removed gates that would open", "gates changed an image"]
    columns += ["mean", "at most", "as trained", "forced"]
    images = counted(next(gates.forced.images for _, gates in inference.values()))
    groups = [("", 1), ("Gates (%)", 3), (f"Forced gates on {images} evaluation images", 3)]
    groups += [("Features changed by", 2), ("1\N{NON-BREAKING HYPHEN}NN (%)", 2)]
    caption = (
        "“Removed” and “always on” are observations on the training images. On images held out "
        "from them a gate may decide otherwise; forcing it then changes the mask, and with it the "
        "features (Euclidean norm of the difference over that of the encoder's features)."
    )
    return Table(columns, rows, left=1, groups=groups, caption=caption)
