"""How many channels of each block are always on, always off, or depend on the image."""

from __future__ import annotations

from dataclasses import dataclass

from ssl_kedro.evaluation.features import GateRecord


@dataclass(frozen=True)
class BlockUsage:
    """Channel usage of one residual block over a set of images (thesis Fig. 5.1).

    Always off is an observation on these images, not a property of the network.

    Args:
        block: name, e.g. "layer1.0".
        channels: inner channels.
        always_on: open on every image.
        always_off: open on none.
        dependent: the rest.
        mean_open: mean share of open channels, in [0, 1].
    """

    block: str
    channels: int
    always_on: int
    always_off: int
    dependent: int
    mean_open: float


def channel_usage(record: GateRecord) -> list[BlockUsage]:
    """Usage of every block, in order."""
    images = len(record.macs)
    usage = []
    for name, counts in zip(record.block_names, record.open_counts, strict=True):
        always_on = int((counts == images).sum())
        always_off = int((counts == 0).sum())
        usage.append(
            BlockUsage(
                block=name,
                channels=len(counts),
                always_on=always_on,
                always_off=always_off,
                dependent=len(counts) - always_on - always_off,
                mean_open=float(counts.mean() / images),
            )
        )
    return usage


def mean_open_channels(record: GateRecord) -> tuple[int, ...]:
    """How many channels of each block are open on average, rounded, at least one.

    A dense network with these inner channels costs what the gated one does on these images,
    less its gates: cost is linear in the number of open channels.
    """
    images = len(record.macs)
    return tuple(max(1, round(float(counts.sum()) / images)) for counts in record.open_counts)
