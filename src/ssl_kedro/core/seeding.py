"""Random numbers without a global state.

Every random draw takes an explicit generator, and every generator's seed is a hash of the
run's seed and of what it is for. The draws of epoch 7 are therefore the same whether the run
was interrupted or not, and one part of the program cannot shift the draws of another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derived_seed(seed: int, *purpose: str | int) -> int:
    """Seed for one purpose, in [0, 2^63).

    Args:
        seed: the run's seed.
        purpose: what the numbers are for, e.g. ``("views", epoch)``.

    Returns:
        A number that changes with the seed and with every part of the purpose.
    """
    text = "\x1f".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def torch_generator(
    seed: int, *purpose: str | int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """Torch generator for one purpose on one device."""
    import torch  # noqa: PLC0415  slow to import; who makes images needs none of it

    return torch.Generator(device=device).manual_seed(derived_seed(seed, *purpose))


@contextmanager
def weights_drawn(seed: int, *purpose: str | int) -> Iterator[None]:
    """Draw the weights of layers made within the block for one purpose, on the CPU.

    They depend on nothing drawn before; torch's global generator is left as it was found.
    """
    import torch  # noqa: PLC0415  as above

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, *purpose))
        yield


def numpy_generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """NumPy generator for one purpose."""
    return np.random.default_rng(derived_seed(seed, *purpose))
