"""Colours and axes that all figures share."""

from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

# Okabe and Ito's palette, told apart with every common colour vision.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE, YELLOW, GREY = "#56B4E9", "#CC79A7", "#F0E442", "#8A8F98"
DARK, PALE = "#4A4F57", "#C9CDD3"
CLASS_COLOURS = (
    BLUE,
    ORANGE,
    GREEN,
    RED,
    PURPLE,
    SKY,
    "#4D4D4D",
    "#B79F00",
    "#7A5195",
    "#9C6644",
)


def figure(
    width: float, height: float, rows: int = 1, columns: int = 1
) -> tuple[Figure, list[Axes]]:
    """Figure of a size in inches with a grid of plain axes, row by row."""
    engine = ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.08)
    made = Figure(figsize=(width, height), layout=engine)
    grid = made.subplots(rows, columns, squeeze=False)
    axes = [axis for row in grid for axis in row]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=9, which="both")
    return made, axes


def title(axis: Axes, text: str) -> None:
    """Left-aligned title that says what the panel shows."""
    axis.set_title(text, loc="left", fontsize=11)


def label_level(axis: Axes, text: str, at: tuple[float, float], colour: str, va: str) -> None:
    """Small text at a share of the axis' width and a value, such as beside a horizontal line."""
    axis.annotate(text, at, xycoords=("axes fraction", "data"), fontsize=8, color=colour, va=va)


def class_colours(labels: Iterable[int]) -> dict[int, str]:
    """One colour a class in order of its number; grey for unlabelled points."""
    return {
        label: CLASS_COLOURS[index % len(CLASS_COLOURS)] if label >= 0 else GREY
        for index, label in enumerate(sorted(label for label in set(labels) if label >= 0))
    } | {-1: GREY}


def literal(name: str) -> str:
    """Name from data as matplotlib shall print it: no mathematics between dollar signs.

    Long names are cut, because a legend does not wrap.
    """
    shown = name if len(name) <= 22 else f"{name[:21]}\N{HORIZONTAL ELLIPSIS}"
    return shown.replace("$", r"\$")


def spread(values: Sequence[float], gap: float, *, centred: bool = False) -> list[float]:
    """Heights for labels of points: in the points' order, at least a gap apart.

    Args:
        values: heights of the points.
        gap: smallest distance of two labels.
        centred: share the shift among all; otherwise labels only move upwards and the lowest
            stays at its point.
    """
    heights = [0.0] * len(values)
    previous = float("-inf")
    for index in sorted(range(len(values)), key=lambda i: values[i]):
        previous = max(values[index], previous + gap)
        heights[index] = previous
    shift = (sum(heights) - sum(values)) / len(values) if centred and values else 0.0
    return [height - shift for height in heights]
