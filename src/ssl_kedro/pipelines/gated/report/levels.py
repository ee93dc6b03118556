"""What there is to beat by 1-NN: raw pixels, a random encoder and chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from ssl_kedro.reporting.number_format import percent
from ssl_kedro.reporting.style import DARK, spread

_LEVELS = (
    ("raw_pixels.knn_top1", "raw pixels"),
    ("random_init.knn_top1", "random encoder"),
    ("chance", "chance"),
)


def levels_to_beat(metrics: Mapping[str, float]) -> list[tuple[float, str]]:
    """Accuracies in percent with their names, those that were measured."""
    return [(100 * metrics[key], name) for key, name in _LEVELS if key in metrics]


def to_beat(metrics: Mapping[str, float]) -> str:
    """The same in a sentence."""
    return (
        f"What there is to beat, by 1-NN: chance {percent(metrics['chance'])} (the most frequent "
        f"class), raw pixels {percent(metrics.get('raw_pixels.knn_top1'))}, an encoder with random "
        f"weights {percent(metrics.get('random_init.knn_top1'))}."
    )


def reference_lines(axis: Axes, levels: Sequence[tuple[float, str]]) -> None:
    """A dotted line a level, with labels that do not overlap."""
    for value, _ in levels:
        axis.axhline(value, color=DARK, lw=0.8, ls=":")
    axis.relim()
    values = [value for value, _ in levels]
    heights = spread(values, 0.05 * (axis.dataLim.y1 - axis.dataLim.y0))
    for (value, name), height in zip(levels, heights, strict=True):
        axis.annotate(
            f"{name} {value:.1f} %",
            (0.01, height),
            xycoords=("axes fraction", "data"),
            fontsize=8,
            color=DARK,
            va="bottom",
        )
