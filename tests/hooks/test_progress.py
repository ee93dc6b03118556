"""Share and time left of a whole run, from what its steps take and the bar of the one at work."""

from __future__ import annotations

import pytest
from kedro.pipeline import node, pipeline

from ssl_kedro.core.progress import duration, outermost, progress_bar, tell_elsewhere
from ssl_kedro.hooks.progress import RunProgress, planned_weights
from ssl_kedro.pipelines.entrance import given
from ssl_kedro.pipelines.gated.records import Training


def pretrain(images: object, *, training: Training) -> object:
    return images, training


def evaluate(encoder: object) -> object:
    return encoder


def report(result: object) -> object:
    return result


GRAPH = pipeline(
    [
        node(given(pretrain, training=Training("one", None, 0)), "images", "a", name="train_one"),
        node(given(pretrain, training=Training("two", 0.3, 0)), "images", "b", name="train_two"),
        node(evaluate, "a", "c", name="judge"),
        node(report, ["c"], "d", name="tell"),
    ]
)


def test_trainings_weigh_what_was_planned_and_others_share_the_rest() -> None:
    found = planned_weights(GRAPH, {"one": 100.0, "two": 300.0, "reading": 30.0, "timing": 20.0})
    assert found == {"train_one": 100, "train_two": 300, "judge": 40, "tell": 10}


def test_without_a_plan_trainings_weigh_most() -> None:
    found = planned_weights(GRAPH, {})
    assert found["train_one"] == found["train_two"] > found["judge"] > found["tell"] > 0


def test_share_and_time_left_follow_the_steps() -> None:
    run = RunProgress({"long": 90.0, "short": 10.0})
    run.start("long")
    assert run.share(0.5) == pytest.approx(0.45)
    assert run.line(45.0, 0.5, "long 50%") == "Run: 45%, about 55 s left; step 1 of 2: long 50%"
    run.finish("long")
    run.start("short")
    assert run.share(0.0) == pytest.approx(0.9)
    run.finish("short")
    assert run.share(0.0) == 1
    # A machine of half the speed: as much is left as has gone by.
    slow = RunProgress({"long": 90.0, "short": 10.0})
    slow.start("long")
    assert "about 110 s left" not in slow.line(90.0, 0.5, "")
    assert "about 2 min left" in slow.line(90.0, 0.5, "")


def test_nothing_is_guessed_of_the_first_moments() -> None:
    run = RunProgress({"long": 100.0})
    run.start("long")
    assert run.line(3.0, 0.001, "") == "Run: 0%; step 1 of 1: long"


def test_the_outermost_bar_with_an_end_tells(capsys: pytest.CaptureFixture[str]) -> None:
    assert outermost() == (0.0, "")
    with progress_bar(None, "endless", "files"), progress_bar(200, "outer", "images") as outer:
        outer.update(50)
        with progress_bar(10, "inner", "steps") as inner:
            inner.update(9)
            share, said = outermost()
    assert share == 0.25
    assert said.startswith("outer 25%")
    assert outermost() == (0.0, "")


def test_bars_are_silent_in_logs_while_the_run_tells(capsys: pytest.CaptureFixture[str]) -> None:
    tell_elsewhere(True)
    with progress_bar(10, "quiet", "steps") as bar:
        bar.update(5)
    tell_elsewhere(False)
    assert "quiet" not in capsys.readouterr().err
    with progress_bar(10, "loud", "steps", delay=0) as bar:
        bar.update(5)
    assert "loud" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "said"), [(4.4, "4 s"), (89, "89 s"), (600, "10 min"), (9000, "2.5 h")]
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said
