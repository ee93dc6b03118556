"""PyTorch as an engine: eager in channels_last, and compiled with frozen weights."""

from __future__ import annotations

import copy
import importlib.util
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ssl_kedro.core.errors import first_line
from ssl_kedro.inference.engines.base import BatchEngine, EngineUnavailableError
from ssl_kedro.inference.network import CompactNetwork


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """PyTorch with so many threads, and afterwards as it was."""
    before = torch.get_num_threads()
    if before == threads:
        yield
        return
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class TorchEngine(BatchEngine):
    """The module as it is, in channels_last, which oneDNN convolves fastest."""

    def __init__(self, network: CompactNetwork, batch_size: int, threads: int) -> None:
        super().__init__("torch eager", batch_size)
        self._threads = threads
        self._call: Callable[..., Tensor] = _laid_out(network)

    def run(self, images: Tensor, masks: Tensor | None) -> Tensor:
        """Features of a batch."""
        with torch_threads(self._threads):
            images = images.contiguous(memory_format=torch.channels_last)
            return self._call(images) if masks is None else self._call(images, masks)


class CompiledEngine(TorchEngine):
    """torch.compile with frozen weights, for one shape.

    Raises:
        EngineUnavailableError: no compiler, or the compilation fails.
    """

    def __init__(
        self,
        network: CompactNetwork,
        batch_size: int,
        threads: int,
        example: tuple[Tensor, ...],
    ) -> None:
        super().__init__(network, batch_size, threads)
        self.name = "torch compiled"
        if compiled_needs():
            raise EngineUnavailableError(compiled_needs())
        self._call = torch.compile(_laid_out(network), dynamic=False, options={"freezing": True})
        try:
            with torch.inference_mode():
                self.run(example[0], example[1] if len(example) > 1 else None)
        except Exception as error:
            raise EngineUnavailableError(f"torch.compile fails: {first_line(error)}") from error


def compiled_needs() -> str:
    """What torch.compile needs and this machine lacks, "" if nothing."""
    compilers = ("g++", "clang++", "c++")
    if importlib.util.find_spec("torch._inductor") and any(map(shutil.which, compilers)):
        return ""
    return "torch.compile needs a C++ compiler, and there is none"


def _laid_out(network: CompactNetwork) -> CompactNetwork:
    return copy.deepcopy(network).to(memory_format=torch.channels_last)
