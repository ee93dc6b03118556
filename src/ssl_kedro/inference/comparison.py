"""What gating gains in time: dense, gated and static network in each precision, on its best engine.

A gated network that is no faster than the fastest dense one, of any precision, is not worth
running: then that is what :func:`compare` chooses, and nothing is lost.
"""

import dataclasses
import itertools
import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from ssl_kedro.core.precision import PRECISIONS, Precision
from ssl_kedro.inference.engines.base import Engine, EngineUnavailableError
from ssl_kedro.inference.engines.probe import (
    ENGINES,
    EngineName,
    Probe,
    fastest_engine,
    timed_in_turns,
)
from ssl_kedro.inference.planned import PlannedNetwork

NetworkName = Literal["dense", "gated", "static"]
# A gate's decision makes one image cheaper than another, so several batches take turns: at most
# so many, and so many images where they hold more than one.
_BATCHES, _IMAGES = 16, 512


def network_key(network: NetworkName, precision: Precision) -> str:
    """What a network in a precision is called: "dense" in f32, else "dense int8"."""
    return network if precision == "f32" else f"{network} {precision}"


def key_parts(key: str) -> tuple[NetworkName, Precision]:
    """The network and the precision that :func:`network_key` named so."""
    return _PARTS[key]


_PARTS: dict[str, tuple[NetworkName, Precision]] = {
    network_key(network, precision): (network, precision)
    for network, precision in itertools.product(get_args(NetworkName), PRECISIONS)
}


@dataclass(frozen=True)
class NetworkTime(Probe):
    """One network in one precision on its best engine, and the race which that won.

    Args:
        ms: median milliseconds of a batch, in turns with the other networks.
        measured_ratio: time of the baseline over its own, above 1 where it is faster.
        f32_ratio: time of the dense network in f32 over its own; None = that was not timed.
    """

    ms: float
    measured_ratio: float
    f32_ratio: float | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class Comparison:
    """Networks side by side at one batch size, by :func:`network_key`.

    Args:
        batch_size: images a batch.
        threads: of each engine.
        chosen: what to run: the fastest gated network where it is faster than the baseline, else
            that.
        ratio: time of the baseline over that of what is chosen; at least 1.
        networks: those that were timed.
        baseline: the fastest dense network, of those that are offered.
        missing: why others were not timed.
    """

    batch_size: int
    threads: int
    chosen: str
    ratio: float
    networks: dict[str, NetworkTime]
    baseline: str = "dense"
    missing: dict[str, str] = field(default_factory=dict)

    def offering(self, offered: Collection[str]) -> "Comparison":
        """The same times when only some of the networks may be run or be the baseline.

        Args:
            offered: their keys, e.g. without those that lose too much in a precision.

        Raises:
            ValueError: there is no dense network among them.
        """
        ms = {key: found.ms for key, found in self.networks.items() if key in offered}
        dense = [key for key in ms if _is(key, "dense")]
        if not dense:
            raise ValueError(
                f"expected a dense network among those offered, found {sorted(offered)} of "
                f"{sorted(self.networks)}: the dense network in f32 loses nothing"
            )
        baseline = min(dense, key=ms.__getitem__)
        gated = [key for key in ms if _is(key, "gated")]
        chosen = min([baseline, *gated], key=ms.__getitem__)
        in_f32 = self.networks.get("dense")
        networks = {
            key: dataclasses.replace(
                found,
                measured_ratio=ms[baseline] / found.ms,
                f32_ratio=None if in_f32 is None else in_f32.ms / found.ms,
            )
            for key, found in self.networks.items()
        }
        ratio = ms[baseline] / ms[chosen]
        return dataclasses.replace(
            self, chosen=chosen, ratio=ratio, networks=networks, baseline=baseline
        )


def _is(key: str, network: NetworkName) -> bool:
    return key_parts(key)[0] == network


def compare(
    networks: Mapping[NetworkName, PlannedNetwork],
    batch_size: int,
    images: np.ndarray,
    *,
    precisions: Sequence[Precision] = ("f32",),
    calibration: np.ndarray | None = None,
    dense_engines: Mapping[Precision, EngineName] | None = None,
    engines: Sequence[EngineName] = ENGINES,
    threads: int | None = None,
    rounds: int = 15,
    seconds: float = 2.0,
) -> tuple[dict[str, Engine], Comparison]:
    """Each network's fastest engine in each precision, then these engines in turns.

    Args:
        networks: "dense" at least; "gated" and "static" where there are.
        batch_size: images a batch.
        images: real ones, uint8 (N, 3, side, side); repeated where a batch needs more.
        precisions: of each network; one that no engine has here is passed over, f32 excepted.
        calibration: training images for int8; see
            :func:`~ssl_kedro.inference.engines.probe.fastest_engine`.
        dense_engines: winners of earlier races of the dense network, which are not run again;
            where there is none ``engines`` race.
        engines: those that race.
        threads: of each engine; None = as many as PyTorch has.
        rounds: timed batches of each, at least; more where they are short.
        seconds: of each race and of the turns, where they are not over before.

    Returns:
        The engines, ready to use, by :func:`network_key`, and the comparison, in which every
        network is offered: :meth:`Comparison.offering` leaves out those that lose too much.
        ``engines[comparison.chosen]`` is the fastest way to features.

    Raises:
        EngineUnavailableError: none of the engines can be used.
        ValueError: no images, or int8 without images to calibrate on.
    """
    batches = timed_batches(images, batch_size)
    made: dict[str, Engine] = {}
    probes: dict[str, Probe] = {}
    missing: dict[str, str] = {}
    for (name, network), precision in itertools.product(networks.items(), precisions):
        key = network_key(name, precision)
        known = (dense_engines or {}).get(precision) if name == "dense" else None
        try:
            made[key], probes[key] = fastest_engine(
                network,
                batch_size,
                images.shape[-1],
                images=batches[0],
                threads=threads,
                engines=(known,) if known else engines,
                precision=precision,
                calibration=calibration,
                rounds=1 if known else rounds,
                seconds=0 if known else seconds,
            )
        except EngineUnavailableError as error:
            if precision == "f32":
                raise
            missing[key] = str(error)
    if not any(_is(key, "dense") for key in made):
        raise EngineUnavailableError(
            f"no engine runs the dense network, which others are compared with ({missing}); add f32"
        )
    timed = _in_turns(made, probes, batches, rounds, seconds)
    return made, dataclasses.replace(timed, missing=missing)


def _in_turns(
    made: Mapping[str, Engine],
    probes: Mapping[str, Probe],
    batches: list[Tensor],
    rounds: int,
    seconds: float,
) -> Comparison:
    """Engines against each other, all offered; each of them has won a race of its own."""
    calls = {key: _cycling(engine, batches) for key, engine in made.items()}
    found = {
        key: NetworkTime(**vars(probes[key]), ms=1e3 * statistics.median(values), measured_ratio=1)
        for key, values in timed_in_turns(calls, rounds, seconds).items()
    }
    used = next(iter(probes.values())).threads
    return Comparison(len(batches[0]), used, "dense", 1, found).offering(found)


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
