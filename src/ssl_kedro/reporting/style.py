"""Colours and axes that all figures share."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart with every common colour vision.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE, YELLOW, GREY = "#56B4E9", "#CC79A7", "#F0E442", "#8A8F98"
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
    made = Figure(figsize=(width, height), layout="constrained")
    grid = made.subplots(rows, columns, squeeze=False)
    axes = [axis for row in grid for axis in row]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=9)
    return made, axes


def title(axis: Axes, text: str) -> None:
    """Left-aligned title that says what the panel shows."""
    axis.set_title(text, loc="left", fontsize=11)
