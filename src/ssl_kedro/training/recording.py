"""Recording a training step as a CUDA graph."""

from collections.abc import Callable
from typing import Any

import torch

from ssl_kedro.methods.base import StepResult, Views

_cuda: Any = torch.cuda  # parts of it carry no types
Computation = Callable[[Views], StepResult]
# Rounds before the recording: libraries choose kernels, the optimiser makes its state.
_ROUNDS = 3


class Recording:
    """A computation on views that is recorded at its first call and replayed from then on.

    A graph launches its thousand kernels at once, reads its input from fixed tensors and leaves
    its output in fixed tensors, which the next call overwrites. Random draws are those that the
    same calls would have made one by one: the generator is registered with the graph, which
    moves it on at every replay. On a CPU every call computes anew, on the same fixed tensors.

    Args:
        compute: the computation; nothing in it may wait for the device.
        noise: the generator that it draws from.
        undo: takes the last round back, as if it had not been.
    """

    def __init__(
        self, compute: Computation, noise: torch.Generator, undo: Callable[[], None]
    ) -> None:
        self._compute = compute
        self._noise = noise
        self._undo = undo
        self._views: Views | None = None
        self._graph: torch.cuda.CUDAGraph | None = None
        self._result: StepResult | None = None

    def __call__(self, views: Views) -> StepResult:
        """Result for these views.

        Raises:
            RuntimeError: something in the computation waits for the device.
        """
        if self._views is None:
            self._views = tuple(view.clone() for view in views)
            self._rehearse(self._views)
            if views[0].device.type == "cuda":
                self._record(self._views)
        for fixed, view in zip(self._views, views, strict=True):
            fixed.copy_(view)
        if self._graph is None or self._result is None:
            return self._compute(self._views)
        self._graph.replay()
        return self._result

    def _rehearse(self, views: Views) -> None:
        """Compute a few rounds and take them back, the generator included."""
        before = self._noise.get_state()
        if views[0].device.type != "cuda":
            self._rounds(views)
        else:
            current, side = torch.cuda.current_stream(), _cuda.Stream()
            side.wait_stream(current)
            with torch.cuda.stream(side):
                self._rounds(views)
            current.wait_stream(side)
        self._noise.set_state(before)

    def _rounds(self, views: Views) -> None:
        for number in range(_ROUNDS):
            # What waits cannot be recorded, and a recording that fails half way leaves the
            # generator unusable: better to know before.
            last = number == _ROUNDS - 1 and views[0].device.type == "cuda"
            mode = torch.cuda.get_sync_debug_mode() if last else 0
            if last:
                torch.cuda.set_sync_debug_mode("error")
            try:
                self._compute(views)
            finally:
                if last:
                    torch.cuda.set_sync_debug_mode(mode)
            self._undo()

    def _record(self, views: Views) -> None:
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self._noise)
        with torch.cuda.graph(graph):
            self._result = self._compute(views)
        self._graph = graph
