"""What is planned for somebody's images: pure arithmetic over speeds."""

from __future__ import annotations

import numpy as np
import pytest

from ssl_kedro.images.load import DataConfig
from ssl_kedro.images.survey import Survey
from ssl_kedro.pipelines.gated.own.plan import (
    Candidate,
    Speed,
    batch_size,
    candidates,
    changes,
    named_views,
    planned,
)

# A machine on which an image's seconds are its cost, and everything else takes ten.
SPEED = 1e-6


def measured(way: Candidate) -> Speed:
    return Speed({"one": way.cost * SPEED, "other": way.cost * SPEED}, {"the rest": 10.0})


def plan(seconds: float, passes: int = 60, images: int = 1000, **options):
    ways = candidates(options.pop("side", 64), options.pop("given", {}))
    return planned(ways, measured, lambda: 0.0, images, seconds, passes, **options)


def test_the_dearest_that_shows_each_image_often_enough() -> None:
    ways = candidates(64, {})
    for seconds in (20, 100, 500, 2000, 20_000, 10**6):
        found = plan(seconds)
        left = seconds * 0.97 - 10
        enough = [w for w in ways if left // (1000 * 2 * w.cost * SPEED) >= 60]
        assert found.candidate == (enough or ways[-1:])[0]
        assert found.short == (not enough)
        if not found.short:
            assert found.total <= 0.97 * seconds
            # One epoch more would not fit.
            assert found.total + 1000 * 2 * found.candidate.cost * SPEED > 0.97 * seconds


def test_speeds_are_measured_of_few_ways() -> None:
    asked = []

    def measure(way: Candidate) -> Speed:
        asked.append(way)
        return measured(way)

    ways = candidates(300, {})
    planned(ways, measure, lambda: 0.0, 1000, 1000, 60)
    assert len(ways) == 8
    assert len(asked) == len(set(asked)) <= 4


def test_time_that_has_gone_by_is_not_there_any_more() -> None:
    ways = candidates(64, {})
    late = planned(ways, measured, lambda: 500.0, 1000, 1000, 60)
    assert late.total <= 970
    assert late.spent == 500
    assert late.candidate.cost <= plan(1000).candidate.cost


def test_epochs_that_are_settled_are_kept() -> None:
    found = plan(10**6, epochs=3)
    assert (found.epochs, found.short) == (3, False)
    assert plan(11, epochs=3).short


@pytest.mark.parametrize(
    ("side", "largest", "stem"),
    [
        (32, 32, "cifar_pad1"),
        (20, 32, "cifar_pad1"),
        (64, 64, "cifar_pad1"),
        (90, 64, "cifar_pad1"),
        (100, 96, "imagenet"),
        (3000, 224, "imagenet"),
    ],
)
def test_images_are_not_enlarged_beyond_the_smallest_size(side, largest, stem) -> None:
    ways = candidates(side, {})
    assert max(way.size for way in ways) == largest
    assert {way.stem for way in ways} == {stem}
    assert [way.cost for way in ways] == sorted((way.cost for way in ways), reverse=True)
    assert all(way.view_size % 4 == 0 and 0.7 < way.view_size / way.size < 0.8 for way in ways)


def test_what_is_given_is_not_chosen() -> None:
    assert candidates(64, {"size": 40, "width": 24, "stem": "cifar"}) == [
        Candidate(40, 24, "cifar")
    ]
    assert {way.width for way in candidates(300, {"width": 24})} == {24}


def survey(grey: float, images: int) -> Survey:
    return Survey(
        data=DataConfig(source="folder", root="here", labels="none"),
        counts={"train": images, "eval": 10},
        classes=(),
        sides=(64, 64, 64),
        grey=grey,
        sampled=10,
        unreadable=(),
        other_files={},
        choice="",
        pictures=np.zeros((1, 3, 96, 96), np.uint8),
        files=(),
    )


def test_views_follow_the_colours_and_batches_the_number() -> None:
    way = Candidate(64, 16, "cifar_pad1")
    colour, grey = (changes(way, 40, survey(share, 5000)) for share in (0.5, 1.0))
    assert (named_views(survey(0.5, 1)), named_views(survey(1.0, 1))) == ("colour", "grey")
    assert colour["views"] == {"size": 48, "saturation": 0.2, "hue": 0.1, "grey": 0.2}
    assert grey["views"] == {"size": 48, "saturation": 0.0, "hue": 0.0, "grey": 0.0}
    assert colour["train"] == {"epochs": 40, "batch_size": 128, "warmup_epochs": 4}
    assert colour["data"]["labels"] == "none"
    assert [batch_size(n) for n in (500, 2047, 2048, 4095, 4096)] == [32, 32, 64, 64, 128]
