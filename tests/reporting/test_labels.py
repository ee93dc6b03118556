from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from matplotlib.figure import Figure

from ssl_kedro.reporting.labels import label_point, mark_point, settled
from ssl_kedro.reporting.style import figure


def crowded(seed: int, count: int = 8) -> tuple[Figure, np.ndarray]:
    made, (axis,) = figure(5, 4)
    points = np.random.default_rng(seed).uniform(0, 100, (count, 2))
    points[1] = points[0] + 1  # two that a label above each would lie upon each other
    for number, point in enumerate(points):
        mark_point(axis, tuple(point), f"point {number}", marker="o", ms=7)
        label_point(axis, f"{number}0 %", tuple(point), "black")
    axis.set_xlim(-5, 105)
    axis.set_ylim(-5, 105)
    return made, points


@pytest.mark.parametrize("seed", range(6))
def test_labels_cover_neither_each_other_nor_points(seed: int) -> None:
    made, points = crowded(seed)
    settled(made)
    axis = made.axes[0]
    boxes = [label.get_window_extent() for label in axis.texts]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    at = axis.transData.transform(points)
    assert not any(box.contains(*point) for box in boxes for point in at)
    assert all(axis.bbox.contains(*corner) for box in boxes for corner in box.corners())


def test_without_a_crowd_a_label_stands_above_its_point() -> None:
    made, (axis,) = figure(4, 3)
    axis.plot([0, 1, 2], [0, 1, 0], ls="", marker="o")
    label_point(axis, "here", (1, 0.5), "black")
    settled(made)
    assert axis.texts[0].get_position()[0] == 0 < axis.texts[0].get_position()[1]


def test_no_legend_lists_a_label() -> None:
    made, _ = crowded(0)
    assert made.axes[0].get_legend_handles_labels() == ([], [])
