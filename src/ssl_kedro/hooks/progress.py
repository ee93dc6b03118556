"""How far a whole run is, and how long it will go on, beside the bars of its steps."""

import sys
import threading
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import click
from kedro.framework.hooks import hook_impl
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from tqdm import tqdm

from ssl_kedro.core.progress import LINE_S, duration, outermost, tell_elsewhere
from ssl_kedro.hooks.planning import PlanningHook

# What a step takes beside others, by how the name of its function begins, where nothing is planned;
# the rate of what is done corrects it.
_WEIGHTS = {
    **dict.fromkeys(("pretrain", "train"), 30.0),
    **dict.fromkeys(("measure", "evaluate", "extract", "predict", "fine_tune"), 4.0),
}
# A first guess at what is left is worth nothing.
_FIRST_SHARE = 0.02


def weight(node: Node) -> float:
    """What a step takes beside others."""
    name = getattr(node.func, "__name__", "")
    return next((value for start, value in _WEIGHTS.items() if name.startswith(start)), 1.0)


def planned_weights(pipeline: Pipeline, planned: Mapping[str, float]) -> dict[str, float]:
    """Seconds of each step of a run that was planned.

    Args:
        pipeline: that runs.
        planned: seconds by stage; those of trainings by their method, which is bound to their step.
    """
    found = {node.name: weight(node) for node in pipeline.nodes}
    trained = {node.name: planned[m] for node in pipeline.nodes if (m := _method(node)) in planned}
    if not trained:
        return found
    others = sum(value for name, value in found.items() if name not in trained)
    left = sum(planned.values()) - sum(trained.values())
    return {name: trained.get(name, value * left / others) for name, value in found.items()}


def _method(node: Node) -> str:
    bound = node.func.keywords if isinstance(node.func, partial) else {}
    starts = getattr(node.func, "__name__", "") == "pretrain"
    return getattr(bound.get("training"), "method", "") if starts else ""


class RunProgress:
    """Share done and time left, from steps that are done and the bar of the one that is not.

    Args:
        weights: what each step takes beside the others, by name.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        self._weights = weights
        self._done = 0.0
        self.finished = 0
        self.running: dict[str, None] = {}

    def start(self, step: str) -> None:
        """A step begins."""
        self.running[step] = None

    def finish(self, step: str) -> None:
        """A step has ended."""
        self.running.pop(step, None)
        self._done += self._weights.get(step, 0.0)
        self.finished += 1

    def share(self, of_step: float) -> float:
        """Share of the run that is done, with a share of the step that began first."""
        current = next(iter(self.running), None)
        part = 0.0 if current is None else of_step * self._weights.get(current, 0.0)
        return min(1.0, (self._done + part) / max(sum(self._weights.values()), 1e-9))

    def line(self, seconds: float, of_step: float, step: str) -> str:
        """What a reader wants to know.

        Args:
            seconds: since the run began.
            of_step: share done of the step.
            step: what its bar says.
        """
        share = self.share(of_step)
        left = ""
        if share >= _FIRST_SHARE:
            left = f", about {duration(seconds * (1 - share) / share)} left"
        at = min(self.finished + 1, len(self._weights))
        named = step or ", ".join(self.running)
        return f"Run: {share:.0%}{left}; step {at} of {len(self._weights)}: {named}"


class ProgressHook:
    """One bar for the whole run in a terminal, a line a minute elsewhere.

    Args:
        planning: knows what steps will take, where that was planned.
    """

    def __init__(self, planning: PlanningHook) -> None:
        self._planning = planning
        self._told: _Told | None = None

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline) -> None:
        """Begin; not where Python code has started the run."""
        if click.get_current_context(silent=True) is None:
            return
        self._told = _Told(RunProgress(planned_weights(pipeline, self._planning.seconds())))
        self._told.start()

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """A step begins."""
        if self._told is not None:
            self._told.progress.start(node.name)

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        """A step has ended."""
        if self._told is not None:
            self._told.progress.finish(node.name)

    @hook_impl
    def after_pipeline_run(self) -> None:
        """The run has ended."""
        self._end()

    @hook_impl
    def on_pipeline_error(self) -> None:
        """The run has failed."""
        self._end()

    def _end(self) -> None:
        if self._told is not None:
            self._told.stop()
            self._told = None


class _Told(threading.Thread):
    """Tells of a run's progress until it is stopped."""

    def __init__(self, progress: RunProgress) -> None:
        super().__init__(name="progress of the run", daemon=True)
        self.progress = progress
        self._ended = threading.Event()
        self._began = time.monotonic()

    def run(self) -> None:
        terminal = sys.stderr.isatty()
        tell_elsewhere(True)
        bar: tqdm[Any] | None = None
        if terminal:
            bar = tqdm(total=100, bar_format="{desc} |{bar}|", dynamic_ncols=True, leave=False)
        while not self._ended.wait(1.0 if terminal else LINE_S):
            of_step, step = outermost()
            seconds = time.monotonic() - self._began
            if bar is None:
                sys.stderr.write(self.progress.line(seconds, of_step, step) + "\n")
                sys.stderr.flush()
                continue
            bar.n = round(100 * self.progress.share(of_step))
            # The step has a bar of its own below.
            bar.set_description_str(self.progress.line(seconds, of_step, "").partition(";")[0])
        if bar is not None:
            bar.close()
        tell_elsewhere(False)

    def stop(self) -> None:
        """End, and wait for that."""
        self._ended.set()
        self.join()
