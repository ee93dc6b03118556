from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from ssl_kedro.core.config import ConfigError
from ssl_kedro.images.facades import (
    FacadeConfig,
    FacadeSet,
    View,
    bounding_box,
    difficulty,
    generated_facades,
)

FRONT = View(0, 0.0, 0.0, 0.6, (0.0, 0.0), 0.0, 0.0)
SMALL = FacadeConfig(instances=4, views=6, distractors=5, size=64)


@pytest.fixture(scope="module")
def small() -> FacadeSet:
    return generated_facades(SMALL, 3)


def test_shapes_and_counts(small: FacadeSet) -> None:
    assert small.database.shape == (4 * 6 + 5, 3, 64, 64)
    assert small.queries.shape == (4, 3, 64, 64)
    assert (small.database.dtype, small.queries.dtype) == (np.uint8, np.uint8)
    shown = Counter(view.instance for view in small.database_views)
    assert [shown[i] for i in range(9)] == [6] * 4 + [1] * 5
    assert [view.instance for view in small.query_views] == [0, 1, 2, 3]


def test_equal_seeds_give_equal_sets_and_others_do_not(small: FacadeSet) -> None:
    again, other = generated_facades(SMALL, 3), generated_facades(SMALL, 4)
    assert np.array_equal(small.database, again.database)
    assert small.database_views == again.database_views
    assert not np.array_equal(small.database, other.database)


def test_frontal_facade_is_as_large_and_where_it_is_said_to_be() -> None:
    box = bounding_box(replace(FRONT, shift=(0.1, -0.05)), 100)
    assert box == pytest.approx([50 + 10 - 30, 50 - 5 - 30, 50 + 10 + 30, 50 - 5 + 30])


def test_a_turned_facade_is_narrower_by_the_pinhole_camera() -> None:
    yaw, focal = math.radians(50), 2.2
    left, _, right, _ = bounding_box(replace(FRONT, yaw_deg=50.0), 100)
    distance = focal / (2 * 0.6)
    edges = [
        50 + 50 * focal * s * math.cos(yaw) / (distance + s * math.sin(yaw)) for s in (-0.5, 0.5)
    ]
    assert [left, right] == pytest.approx(edges)


def test_difficulty_follows_from_the_numbers() -> None:
    assert difficulty(FRONT) == "easy"
    assert difficulty(replace(FRONT, yaw_deg=-31)) == "hard"
    assert difficulty(replace(FRONT, occlusion=0.3)) == "hard"
    assert difficulty(replace(FRONT, scale=0.45)) == "hard"
    assert difficulty(replace(FRONT, light=-0.8)) == "hard"
    assert difficulty(replace(FRONT, occlusion=0.7)) == "junk"


def test_views_of_every_difficulty_are_common() -> None:
    drawn = generated_facades(FacadeConfig(instances=40, views=10, distractors=0, size=32), 0)
    found = Counter(difficulty(view) for view in drawn.database_views)
    assert 0.3 < found["easy"] / 400 < 0.5
    assert 0.4 < found["hard"] / 400 < 0.6
    assert 0.05 < found["junk"] / 400 < 0.15


def test_light_scales_what_is_seen(small: FacadeSet) -> None:
    means = [
        (view.light, small.database[i].mean())
        for i, view in enumerate(small.database_views)
        if view.occlusion == 0
    ]
    lights, brightness = np.array(means).T
    assert np.corrcoef(lights, brightness)[0, 1] > 0.6


def test_impossible_numbers_are_refused() -> None:
    with pytest.raises(ConfigError, match="views = 1"):
        FacadeConfig(views=1)
