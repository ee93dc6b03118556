"""Choosing where tensors live."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def resolved_device(name: str) -> torch.device:
    """Device of a parameter value: "auto" is CUDA where there is one, else the CPU.

    Raises:
        ValueError: no such device name, or CUDA asked for on a machine without it.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device = {name!r}: expected auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device = {name!r}: this machine has no CUDA device; use auto or cpu")
    return device


def threads_of_each(workers: int) -> int:
    """Threads for each of so many processes that share this one's, at least 1."""
    return max(1, torch.get_num_threads() // workers)


@contextmanager
def limited_threads(threads: int) -> Iterator[None]:
    """Compute with so many threads within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
