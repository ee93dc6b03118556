"""Wall-clock of a gated encoder against the best dense engine, and the share of the MAC limit.

Run ``python benchmarks/gated_inference.py [--densities .1 .3 .5 1 --batches 1 32 256 --sizes 32
96 224 --threads 2 --width 64]``. For each size and batch it builds the dense network with folded
batch norms in every engine there is (PyTorch eager in channels_last, torch.compile with frozen
weights, ONNX Runtime, OpenVINO) and takes the fastest as the baseline. The gated network is
ResNet-18 with random weights; in each block a share of its closed channels is closed for every
image (``--off``, which compaction removes), the others are closed at random for each image, so
that exactly ``density`` of the channels is open. Gates are computed all the same. At density 1
every channel is always on: the network is dense, and runs on the dense engine.

Dense baseline and gated engine take turns, so that a change of the machine's load meets both
alike; medians of at least 15 rounds count. The MAC limit is dense MACs over gated MACs, gates
included; a ratio of a half of it means that an open channel costs twice as much time as a
dense one. On a machine that others use, the ratio of the fastest rounds tells what it would be
on one of its own. 32 px take the cifar stem, larger images the imagenet stem.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.inference.compact import GateUsage, compact, dense_network
from ssl_kedro.inference.engines.base import Engine
from ssl_kedro.inference.engines.probe import ENGINES, EngineName, fastest_engine
from ssl_kedro.inference.network import CompactNetwork


def encoder_of(size: int, width: int) -> GatedResNet18:
    """Untrained encoder with the stem that fits the size."""
    torch.manual_seed(0)
    stem = "cifar" if size <= 32 else "imagenet"
    return GatedResNet18(EncoderConfig(stem=stem, width=width), image_size=size).eval()


def imposed(
    encoder: GatedResNet18, density: float, off: float, batch: int
) -> tuple[CompactNetwork, Tensor]:
    """Compact network and masks (batch, dependent) with ``density`` of each block open.

    Of the closed share of the channels, ``off`` is closed for every image.
    """
    generator = torch.Generator().manual_seed(1)
    names, counts, masks = [], [], []
    for name, block in encoder.residual_blocks():
        channels = block.conv1.out_channels
        opened = round(density * channels)
        removed = round(off * (channels - opened))
        order = torch.randperm(channels, generator=generator)
        left = order[removed:]
        rank = torch.rand(batch, len(left), generator=generator).argsort(dim=1)
        mask = torch.zeros(batch, channels)
        mask[:, left] = (rank < opened).float()
        count = np.full(channels, 1 if density < 1 else 2)
        count[order[:removed].numpy()] = 0
        names.append(name)
        counts.append(count)
        masks.append(mask)
    network = compact(encoder, GateUsage("imposed", 2, tuple(names), tuple(counts)))
    return network, network.plan.dependent_masks(masks).to(torch.uint8)


def interleaved(
    calls: dict[str, tuple[Engine, Tensor, Tensor | None]], rounds: int, seconds: float
) -> tuple[dict[str, float], dict[str, float]]:
    """Median and smallest seconds of each call, in turns, at least ``rounds`` each."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for engine, images, masks in calls.values():
        engine(images, masks)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or min(map(len, times.values())) < rounds:
        for name, (engine, images, masks) in calls.items():
            start = time.perf_counter()
            engine(images, masks)
            times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in times.items()}
    return medians, {name: min(values) for name, values in times.items()}


def measure(size: int, batch: int, arguments: argparse.Namespace) -> None:
    """One size and batch at all densities."""
    encoder = encoder_of(size, arguments.width)
    dense_cost = encoder.cost().dense
    engines: Sequence[EngineName] = arguments.engines
    images = torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(2))
    options = {"images": images, "threads": arguments.threads, "rounds": 15}
    baseline, probe = fastest_engine(
        dense_network(encoder),
        batch,
        size,
        engines=[e for e in engines if e != "native"],
        **options,
    )
    told = ", ".join(
        f"{t.engine} {t.ms:.2f} ms" if t.ms else f"{t.engine}: {t.reason}" for t in probe.timings
    )
    print(f"{size} px, batch {batch}: dense engines: {told}")
    for density in arguments.densities:
        network, masks = imposed(encoder, density, arguments.off, batch)
        gated = network.plan.dependent > 0
        if gated:
            ours, _ = fastest_engine(
                network,
                batch,
                size,
                masks=masks,
                engines=[e for e in engines if e != "compiled"],
                **options,
            )
        else:
            ours = baseline
        calls = {
            "dense": (baseline, images, None),
            "ours": (ours, images, masks if gated else None),
        }
        medians, least = interleaved(calls, arguments.rounds, arguments.seconds)
        mask = [m.float() for m in network.plan.encoder_masks(masks)]
        macs = float(encoder.cost().masked(mask).mean()) if gated else dense_cost
        ratio, limit = medians["dense"] / medians["ours"], dense_cost / macs
        print(
            f"  density {density:.2f}: {baseline.name} {1e3 * medians['dense']:9.3f} ms, "
            f"{ours.name} {1e3 * medians['ours']:9.3f} ms, ratio {ratio:.2f} of at most "
            f"{limit:.2f} ({ratio / limit:.0%}); fastest rounds "
            f"{least['dense'] / least['ours']:.2f}",
            flush=True,
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--densities", type=float, nargs="+", default=[0.1, 0.3, 0.5, 1.0])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32, 256])
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 96, 224], help="px")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--off", type=float, default=0.5, help="share of closed: always closed")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--rounds", type=int, default=15, help="at least, of each")
    parser.add_argument("--seconds", type=float, default=4.0, help="at least, a comparison")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(
        f"width {arguments.width}, {arguments.threads} threads; of the closed channels "
        f"{arguments.off:.0%} are closed for every image"
    )
    for size in arguments.sizes:
        for batch in arguments.batches:
            measure(size, batch, arguments)


if __name__ == "__main__":
    main()
