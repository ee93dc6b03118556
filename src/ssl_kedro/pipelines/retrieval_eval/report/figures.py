"""Figures of chapter 3: galleries of results and mAP over the dimension."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ssl_kedro.images.decode import Resize
from ssl_kedro.images.files import UnreadableImageError
from ssl_kedro.images.photographs import Photographs
from ssl_kedro.pipelines.retrieval_eval.parameters import RetrievalEvalParameters
from ssl_kedro.pipelines.retrieval_eval.records import (
    Data,
    Evaluation,
    Results,
    Sweep,
    headline_level,
)
from ssl_kedro.reporting.style import (
    BLUE,
    CLASS_COLOURS,
    DARK,
    GREY,
    ORANGE,
    PALE,
    figure,
    literal,
    spread,
    title,
)
from ssl_kedro.retrieval.ground_truth.model import GroundTruth
from ssl_kedro.retrieval.sets import RetrievalSet

_THUMBNAIL = Resize(112, keep_aspect=True)
# Not by colour alone: each has its own line.
_FRAMES: dict[str, tuple[str, Literal["-", "--", ":"], float]] = {
    "correct": (BLUE, "-", 3.0),
    "wrong": (ORANGE, "--", 2.0),
    "junk": (GREY, ":", 2.0),
    "itself": (PALE, "-", 1.0),
}


def gallery(
    parameters: RetrievalEvalParameters,
    task: RetrievalSet,
    rankings: Mapping[str, np.ndarray],
    evaluation: Evaluation,
) -> Figure:
    """Queries from the best to the worst found, and what global search gives for each.

    Args:
        parameters: say how many rows and columns.
        task: images and ground truth.
        rankings: "g" holds database indices, best first, (K, Q).
        evaluation: of these rankings among others.

    Raises:
        ValueError: a task without images or without ground truth.
    """
    truth, database = task.truth, task.database
    if truth is None or database is None:
        raise ValueError(f"a gallery of {task.name} needs its images and its ground truth")
    level, ranked = evaluation.level, rankings["g"]
    precisions = evaluation.rankings["g"][level].ap
    chosen = spread_queries(precisions, parameters.gallery.queries)
    shown = min(parameters.gallery.results, len(ranked))
    made = Figure(figsize=(1.15 * (shown + 1) + 0.2, 1.35 * max(len(chosen), 1) + 0.5), dpi=110)
    axes = made.subplots(max(len(chosen), 1), shown + 1, squeeze=False)
    made.subplots_adjust(0.01, 0.02, 0.99, 1 - 0.62 / made.get_figheight(), 0.06, 0.28)
    for axis in axes.flat:
        axis.set_axis_off()
    for row, query in enumerate(chosen):
        own = int(task.own_rows[query])
        asked = (database, own) if task.queries is None else (task.queries, query)
        _picture(axes[row, 0], *asked, f"query, AP {100 * (precisions[query] or 0):.0f}")
        judged = judged_images(truth, level, query, own)
        for column, image in enumerate(ranked[:shown, query], start=1):
            if image >= 0:
                _picture(axes[row, column], database, int(image), str(column))
                colour, line, width = _FRAMES[judged.get(int(image), "wrong")]
                spines = axes[row, column].spines
                spines[:].set(visible=True, color=colour, linestyle=line, linewidth=width)
    made.legend(
        handles=[
            Patch(facecolor="white", edgecolor=colour, linestyle=line, linewidth=width, label=kind)
            for kind, (colour, line, width) in _FRAMES.items()
            if kind != "itself" or (task.own_rows >= 0).any()
        ],
        loc="upper left",
        ncols=4,
        frameon=False,
        fontsize=9,
    )
    return made


def spread_queries(ap: Sequence[float | None], count: int) -> list[int]:
    """Queries at even steps from the best to the worst AP."""
    found = {query: value for query, value in enumerate(ap) if value is not None}
    known = sorted(found, key=lambda query: -found[query])
    if len(known) <= count:
        return known
    return [known[round(at)] for at in np.linspace(0, len(known) - 1, count)]


def judged_images(truth: GroundTruth, level: str, query: int, own_row: int) -> dict[int, str]:
    """What each judged image is for a query; others are wrong."""
    found: dict[int, str] = {}
    of_level = truth.levels[level]
    for name, of_queries in truth.lists.items():
        kind = "junk" if name in of_level.junk else "wrong"
        kind = "correct" if name in of_level.positives else kind
        found |= dict.fromkeys(of_queries[query].tolist(), kind)
    return found | ({own_row: "itself"} if own_row >= 0 else {})


def _picture(axis: Any, photographs: Photographs, index: int, text: str) -> None:
    try:
        image = photographs.decoded(index, _THUMBNAIL).transpose(1, 2, 0)
    except UnreadableImageError:
        image = np.full((64, 64, 3), 235, dtype=np.uint8)
    axis.set_axis_on()
    axis.imshow(image)
    axis.set(xticks=[], yticks=[])
    axis.set_anchor("N")
    axis.spines[:].set_visible(False)
    axis.set_title(text, fontsize=8, color=DARK, pad=3)


def dimensions(data: Data, results: Results) -> Figure:
    """MAP under global search over the PCA dimension, one panel a task, one line an encoder.

    The encoder's own dimension, not whitened, stands at the right edge.
    """
    tasks = {task: encoders for task, encoders in results.sweeps.items() if encoders}
    tasks = tasks or {"none": {}}
    columns = min(len(tasks), 2)
    rows = -(-len(tasks) // columns)
    made, axes = figure(5.6 * columns, 3.6 * rows, rows, columns)
    for axis in axes[len(tasks) :]:
        axis.set_visible(False)
    for axis, (task, encoders) in zip(axes, tasks.items(), strict=False):
        _dimension_panel(axis, task, encoders, data)
    return made


def _dimension_panel(axis: Any, task: str, encoders: Mapping[str, Sweep], data: Data) -> None:
    ends: list[tuple[str, float, str]] = []
    swept = sorted({d for found in encoders.values() for d in found.dimensions})
    edge = 2 * (swept[-1] if swept else 32)
    level = ""
    for colour, (encoder, found) in zip(cycle(CLASS_COLOURS), encoders.items(), strict=False):
        own = found.true_dimension
        if not found.dimensions and own is None:
            continue
        level = headline_level(own or next(iter(found.dimensions.values())))
        places = sorted(found.dimensions)
        heights = [100 * found.dimensions[d][level].map for d in places]
        axis.plot(places, heights, "o-", color=colour, markersize=4)
        if own is not None:
            heights.append(100 * own[level].map)
            axis.plot([edge], heights[-1:], "s", color=colour, markersize=5, fillstyle="none")
        ends.append((encoder, heights[-1], colour))
    axis.set_xscale("log", base=2)
    axis.set_xticks([*swept, edge] if ends else [], [*map(str, swept), "own"] if ends else [])
    axis.minorticks_off()
    if ends:
        _line_names(axis, ends, edge)
        chance, left = 100 * data[task].chance[level].map, swept[0] if swept else edge
        axis.axhline(chance, color=GREY, linewidth=1)
        offset = {"xytext": (2, 3), "textcoords": "offset points"}
        axis.annotate("chance", (left, chance), fontsize=8, color=DARK, **offset)
        axis.set_ylim(bottom=0)
    axis.set_xlabel("PCA dimension (own: the encoder's, not whitened)")
    axis.set_ylabel(f"mAP{f', {level}' if level else ''} (%)")
    title(axis, literal(task))


def _line_names(axis: Any, ends: list[tuple[str, float, str]], edge: int) -> None:
    """Names at the right of the lines, moved apart where they would cover each other."""
    top = max(height for _, height, _ in ends)
    heights = spread([height for _, height, _ in ends], 0.055 * max(top, 1), centred=True)
    for (name, _, colour), height in zip(ends, heights, strict=True):
        axis.annotate(
            literal(name),
            (edge, height),
            (8, 0),
            textcoords="offset points",
            fontsize=8,
            color=colour,
            va="center",
            annotation_clip=False,
        )
