"""What gating gains in time: the dense, the gated and the static network, each on its best engine.

A gated network that is no faster than the dense one is not worth running: then the dense one
is what :func:`compare` chooses, and nothing is lost.
"""

import itertools
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ssl_kedro.inference.engines.base import Engine
from ssl_kedro.inference.engines.probe import (
    ENGINES,
    EngineName,
    Probe,
    fastest_engine,
    timed_in_turns,
)
from ssl_kedro.inference.network import CompactNetwork

NetworkName = Literal["dense", "gated", "static"]
# A gate's decision makes one image cheaper than another, so several batches take turns: at most
# so many, and so many images where they hold more than one.
_BATCHES, _IMAGES = 16, 512


@dataclass(frozen=True)
class NetworkTime(Probe):
    """One network on its best engine, and the race which that won.

    Args:
        ms: median milliseconds of a batch, in turns with the other networks.
        measured_ratio: time of the dense network over its own, above 1 where it is faster.
    """

    ms: float
    measured_ratio: float


@dataclass(frozen=True)
class Comparison:
    """Networks side by side at one batch size.

    Args:
        batch_size: images a batch.
        threads: of each engine.
        chosen: what to run: "gated" where it is faster, else "dense".
        ratio: time of the dense network over that of what is chosen; at least 1.
        networks: by name.
    """

    batch_size: int
    threads: int
    chosen: NetworkName
    ratio: float
    networks: dict[NetworkName, NetworkTime]


def compare(
    networks: Mapping[NetworkName, CompactNetwork],
    batch_size: int,
    images: np.ndarray,
    *,
    dense_engines: Sequence[EngineName] | None = None,
    engines: Sequence[EngineName] = ENGINES,
    threads: int | None = None,
    rounds: int = 15,
    seconds: float = 2.0,
) -> tuple[dict[NetworkName, Engine], Comparison]:
    """Each network's fastest engine, then these engines in turns.

    Args:
        networks: "dense" and "gated" at least.
        batch_size: images a batch.
        images: real ones, uint8 (N, 3, side, side); repeated where a batch needs more.
        dense_engines: the winner of an earlier race of the dense network, which is not run
            again; None = ``engines`` race.
        engines: those that race.
        threads: of each engine; None = as many as PyTorch has.
        rounds: timed batches of each, at least; more where they are short.
        seconds: of each race and of the turns, where they are not over before.

    Returns:
        The engines, ready to use, and the comparison; ``engines[comparison.chosen]`` is the
        fastest way to features.

    Raises:
        EngineUnavailableError: none of the engines can be used.
        ValueError: no images.
    """
    batches = timed_batches(images, batch_size)
    made: dict[NetworkName, Engine] = {}
    probes: dict[NetworkName, Probe] = {}
    for name, network in networks.items():
        known = dense_engines if name == "dense" else None
        made[name], probes[name] = fastest_engine(
            network,
            batch_size,
            images.shape[-1],
            images=batches[0],
            threads=threads,
            engines=known or engines,
            rounds=1 if known else rounds,
            seconds=0 if known else seconds,
        )
    calls = {name: _cycling(engine, batches) for name, engine in made.items()}
    times = timed_in_turns(calls, rounds, seconds)
    ms = {name: 1e3 * statistics.median(values) for name, values in times.items()}
    found = {
        n: NetworkTime(**vars(probes[n]), ms=ms[n], measured_ratio=ms["dense"] / ms[n]) for n in ms
    }
    chosen: NetworkName = "gated" if found["gated"].measured_ratio > 1 else "dense"
    ratio = found[chosen].measured_ratio
    return made, Comparison(batch_size, probes["dense"].threads, chosen, ratio, found)


def timed_batches(images: np.ndarray, batch_size: int) -> list[Tensor]:
    """Some batches of real images, float (batch_size, 3, side, side) in [0, 1].

    Raises:
        ValueError: there are no images.
    """
    if not len(images):
        raise ValueError("expected at least one image to time networks with, found none")
    count = max(1, min(_BATCHES, _IMAGES // batch_size, len(images) // batch_size))
    wanted = np.arange(count * batch_size) % len(images)
    found = torch.from_numpy(np.array(images[: len(wanted)])[wanted]).float() / 255
    return list(torch.split(found, batch_size))


def _cycling(engine: Engine, batches: list[Tensor]) -> Callable[[], object]:
    turns = itertools.cycle(batches)
    return lambda: engine(next(turns))
