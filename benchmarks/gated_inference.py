"""Wall-clock of gated and static encoders against the best dense one of any precision.

Run ``python benchmarks/gated_inference.py [--architecture resnet18 --densities .1 .3 .5 1 --batches
1 32 256 --sizes 32 96 224 --threads 2 --width 64 --precisions f32 bf16 int8]``. For each size and
batch it races the dense network with folded batch norms in each precision on every engine there is
(the C++ kernel, PyTorch eager in channels_last, torch.compile with frozen weights, ONNX Runtime,
OpenVINO), and the same for two networks of each density:

gated: ResNet-18 or ResNet-50 with random weights; of each mask a share of the closed channels is
closed for every image (``--off``, which compaction removes), the others are closed at random for
each image, so that exactly ``density`` of the channels is open. Gates are computed all the same.
static: as many channels, the same for every image, without gates.

At density 1 every channel is always on: the network is the dense one. Then all of them take turns,
so that a change of the machine's load meets them alike; medians of at least 15 rounds count. The
baseline is the fastest dense network of any precision; the ratio to that in f32 stands beside.
(``--dense-engines openvino`` leaves the kernel out of the baseline, and shows what it gains.) The
MAC limit is dense MACs over the network's, gates included; a ratio of a half of it means that an
open channel costs twice as much time as one of the baseline. On a machine that others use, the
ratio of the fastest rounds tells what it would be on one of its own, and so does processor time
(``--cpu-time --threads 1``), which leaves out waiting. 32 px take the cifar stem, larger images the
imagenet stem. Random weights say nothing of accuracy.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ssl_kedro.core.precision import PRECISIONS
from ssl_kedro.encoders.folding import Stem
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.encoders.resnet50 import GatedResNet50, ResNet50Config
from ssl_kedro.inference.compact import GateUsage, compact, dense_network
from ssl_kedro.inference.engines.base import Engine, EngineUnavailableError
from ssl_kedro.inference.engines.probe import ENGINES, EngineName, fastest_engine
from ssl_kedro.inference.network import CompactNetwork

Call = tuple[Engine, Tensor, Tensor | None]


ARCHITECTURES = {
    "resnet18": (GatedResNet18, EncoderConfig),
    "resnet50": (GatedResNet50, ResNet50Config),
}


def encoder_of(size: int, width: int, architecture: str = "resnet18") -> GatedResNet18:
    """Untrained encoder with the stem that fits the size."""
    torch.manual_seed(0)
    stem: Stem = "cifar" if size <= 32 else "imagenet"
    made, config = ARCHITECTURES[architecture]
    return made(config(stem=stem, width=width), image_size=size).eval()


def imposed(
    encoder: GatedResNet18, density: float, off: float, batch: int
) -> tuple[CompactNetwork, Tensor]:
    """Compact network and masks (batch, dependent) with ``density`` of each mask open.

    Of the closed share of the channels, ``off`` is closed for every image.
    """
    generator = torch.Generator().manual_seed(1)
    names, counts, masks = [], [], []
    for layer in encoder.cost().blocks:
        channels = layer.channels
        opened = round(density * channels)
        removed = round(off * (channels - opened))
        order = torch.randperm(channels, generator=generator)
        left = order[removed:]
        rank = torch.rand(batch, len(left), generator=generator).argsort(dim=1)
        mask = torch.zeros(batch, channels)
        mask[:, left] = (rank < opened).float()
        count = np.full(channels, 1 if density < 1 else 2)
        count[order[:removed].numpy()] = 0
        names.append(layer.name)
        counts.append(count)
        masks.append(mask)
    network = compact(encoder, GateUsage("imposed", 2, tuple(names), tuple(counts)))
    return network, network.plan.dependent_masks(masks).to(torch.uint8)


def interleaved(
    calls: dict[str, Call],
    rounds: int,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[dict[str, float], dict[str, float]]:
    """Median and smallest seconds of each call, in turns, at least ``rounds`` each."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for engine, images, masks in calls.values():
        engine(images, masks)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or min(map(len, times.values())) < rounds:
        for name, (engine, images, masks) in calls.items():
            start = clock()
            engine(images, masks)
            times[name].append(clock() - start)
    medians = {name: statistics.median(values) for name, values in times.items()}
    return medians, {name: min(values) for name, values in times.items()}


def static(encoder: GatedResNet18, density: float) -> CompactNetwork:
    """Without gates, with ``density`` of the channels of each mask."""
    names, counts = [], []
    for layer in encoder.cost().blocks:
        names.append(layer.name)
        counts.append(2 * (np.arange(layer.channels) < round(density * layer.channels)))
    return compact(encoder, GateUsage("imposed", 2, tuple(names), tuple(counts)))


def fastest_in_each(
    name: str,
    network: CompactNetwork,
    masks: Tensor | None = None,
    *,
    images: Tensor,
    arguments: argparse.Namespace,
    engines: Sequence[EngineName] | None = None,
    told: bool = False,
) -> dict[str, Call]:
    """The call of the fastest engine in each precision; all engines are printed where ``told``."""
    batch, _, size, _ = images.shape
    engines = engines or arguments.engines
    found = {}
    for precision in arguments.precisions:
        try:
            engine, probe = fastest_engine(
                network,
                batch,
                size,
                images=images,
                masks=masks,
                threads=arguments.threads,
                engines=[e for e in engines if masks is None or e != "compiled"],
                precision=precision,
                calibration=(255 * torch.rand(32, 3, size, size)).byte().numpy(),
            )
        except EngineUnavailableError as error:
            print(f"  {name} {precision}: {error}")
            continue
        found[f"{name} {precision}"] = engine, images, masks
        if told:
            each = (f"{t.engine} {t.ms:.2f} ms" for t in probe.timings if t.ms)
            print(f"  {name} {precision}: {', '.join(each)}", flush=True)
    return found


def measure(size: int, batch: int, arguments: argparse.Namespace) -> None:
    """One size and batch at all densities."""
    encoder = encoder_of(size, arguments.width, arguments.architecture)
    images = torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(2))
    print(f"{size} px, batch {batch}:", flush=True)
    raced = partial(fastest_in_each, images=images, arguments=arguments)
    dense = raced("dense", dense_network(encoder), engines=arguments.dense_engines, told=True)
    for density in arguments.densities:
        calls, limits = dict(dense), {"dense": 1.0}
        if density < 1:
            gated, masks = imposed(encoder, density, arguments.off, batch)
            plain = static(encoder, density)
            calls |= raced("gated", gated, masks) | raced("static", plain)
            mask = [m.float() for m in gated.plan.encoder_masks(masks)]
            macs = encoder.cost().dense
            limits["gated"] = macs / float(encoder.cost().masked(mask).mean())
            limits["static"] = macs / plain.plan.cost(size).dense
        clock = time.process_time if arguments.cpu_time else time.perf_counter
        times = interleaved(calls, arguments.rounds, arguments.seconds, clock)
        _tell(density, calls, limits, *times)


def _tell(
    density: float,
    calls: dict[str, Call],
    limits: dict[str, float],
    medians: dict[str, float],
    least: dict[str, float],
) -> None:
    best, soonest = (
        min((name for name in times if name.startswith("dense")), key=times.__getitem__)
        for times in (medians, least)
    )
    print(f"  density {density:.2f}; baseline {best}, {calls[best][0].name}")
    for name, seconds in medians.items():
        ratio, limit = medians[best] / seconds, limits[name.split()[0]]
        in_f32 = f", to f32 {medians['dense f32'] / seconds:.2f}" if "dense f32" in medians else ""
        print(
            f"    {name:12} {calls[name][0].name:16} {1e3 * seconds:9.3f} ms, ratio {ratio:5.2f} "
            f"of at most {limit:5.2f} ({ratio / limit:.0%}){in_f32}; fastest rounds "
            f"{least[soonest] / least[name]:.2f}",
            flush=True,
        )


def options(description: str) -> argparse.ArgumentParser:
    """What every race of networks can be told."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32, 256])
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 96, 224], help="px")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--off", type=float, default=0.5, help="share of closed: always closed")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--rounds", type=int, default=15, help="at least, of each")
    parser.add_argument("--seconds", type=float, default=4.0, help="at least, a comparison")
    return parser


def main() -> None:
    """Measure and print."""
    parser = options(__doc__.splitlines()[0])
    parser.add_argument("--densities", type=float, nargs="+", default=[0.1, 0.3, 0.5, 1.0])
    parser.add_argument("--dense-engines", nargs="+", choices=ENGINES, help="of the dense network")
    parser.add_argument("--architecture", choices=ARCHITECTURES, default="resnet18")
    parser.add_argument("--cpu-time", action="store_true", help="of the process; with --threads 1")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(
        f"{arguments.architecture}, width {arguments.width}, {arguments.threads} threads; of the "
        f"closed channels {arguments.off:.0%} are closed for every image"
    )
    for size in arguments.sizes:
        for batch in arguments.batches:
            measure(size, batch, arguments)


if __name__ == "__main__":
    main()
