"""What the inference stage writes down of races, comparisons and forced gates."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

from ssl_kedro.inference.comparison import Comparison
from ssl_kedro.inference.engines.probe import Probe
from ssl_kedro.inference.forcing import ForcingReport
from ssl_kedro.inference.network import CompactNetwork

Json = dict[str, Any]


def channel_counts(network: CompactNetwork) -> Json:
    """Counts over all blocks."""
    blocks = network.plan.blocks
    return {
        "all": sum(block.channels for block in blocks),
        "always_on": sum(block.always_on for block in blocks),
        "dependent": network.plan.dependent,
        "removed": sum(block.channels - len(block.kept) for block in blocks),
    }


def forced_json(report: ForcingReport) -> Json:
    """What forcing gates does, as plain numbers."""
    rows = report.rows()
    off = sum(cast(int, row["forced_off"]) for row in rows) * report.images
    opened = sum(cast(int, row["opened"]) for row in rows)
    return {
        "images": report.images,
        "changed_images": report.changed_images / report.images,
        "opened_share": opened / max(1, off),
        "changed_gates": report.changed_gates,
        "followed_gates": report.followed_gates,
        "feature_change": report.feature_change,
        "largest_change": report.largest_change,
        "blocks": rows,
    }


def probe_json(probe: Probe) -> Json:
    """A race: which engine won, and what each took or why it is missing."""
    timings = [dataclasses.asdict(timing) for timing in probe.timings]
    return dataclasses.asdict(probe) | {"timings": timings}


def comparison_json(comparison: Comparison) -> Json:
    """Milliseconds of a batch, engines and ratios by network."""
    return {
        "batch_size": comparison.batch_size,
        "threads": comparison.threads,
        "chosen": comparison.chosen,
        "ratio": comparison.ratio,
        "networks": {
            name: {
                "ms": timing.ms,
                "measured_ratio": comparison.measured_ratio(name),
                **probe_json(timing.probe),
            }
            for name, timing in comparison.timings.items()
        },
    }
