"""What training costs on more machines than there are: tables of docs/scaling.md.

``python benchmarks/scaling_training.py [--rate 20000 --bandwidth 50e9 ...]`` computes time,
memory and communication of dual gating for a number of images, epochs and processes, from a rate
of one device and the exact sizes of the network, and simulates stragglers and failures. Closed
forms and simulations are printed side by side; nothing is trained.

Model: data parallel, weak scaling (a fixed batch on each device), messages as the code sends them,
one after another. Sums travel the cheaper of two ways, as nccl chooses: a ring of p processes,
2 (p - 1) / p of the bytes over each link and 2 (p - 1) hops, or trees, all bytes twice and
2 ceil(log2 p) hops. Gradients are averaged behind the backward pass, in pieces; ``--overlap`` tells
what sending them under it would give. Covariances of the loss travel as the embeddings
of both views where the batch has fewer rows N than columns D, else as two D x D matrices. Every
batch norm exchanges its sums, forward and backward, and the loss sends a few more numbers; of
these small messages only the hops count.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

import numpy as np
import torch

from ssl_kedro.core.collectives import pieces
from ssl_kedro.encoders.factory import EncoderSetup
from ssl_kedro.encoders.gated_resnet import EncoderConfig
from ssl_kedro.methods.base import ExpanderConfig, MethodConfig
from ssl_kedro.methods.plan import MethodPlan

FLOAT = 4  # bytes
DAY = 86_400.0
# Of the loss: distance of the views, means and variances of both, the centre of both for their
# covariances and its gradient, cost and densities of the gates, means and variances of the
# spreads together.
SMALL_MESSAGES = 1 + 4 + 4 + 2 + 2


@dataclass(frozen=True)
class Sizes:
    """Numbers of one dual-gating network.

    Args:
        parameters: trained numbers.
        state: numbers in a checkpoint: weights, running statistics, momenta.
        norms: batch norms that a step passes through, both branches.
        pieces: messages in which the gradients travel, with the loss.
        embedding: D.
        macs: of a training step for one image.
    """

    parameters: int
    state: int
    norms: int
    pieces: int
    embedding: int
    macs: int


def sizes(width: int, expander: int, image_size: int) -> Sizes:
    """Sizes of dual gating at a width; nothing is allocated."""
    setup = EncoderSetup(EncoderConfig(width=width), image_size, (0.5,) * 3, (0.25,) * 3)
    with torch.device("meta"):
        method = MethodPlan(
            "dual_gating", setup, MethodConfig(ExpanderConfig(expander, expander)), 0.5, seed=0
        ).build()
    parameters = sum(p.numel() for p in method.parameters())
    sent = [torch.empty(1, device="meta"), *method.parameters()]
    state = sum(value.numel() for value in method.state_dict().values()) + parameters
    kinds = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)
    found = {name: m for name, m in method.named_modules() if isinstance(m, kinds)}
    # Shared ones (stem, shortcuts, expander) are passed by both views, the others by one.
    shared = sum(
        ".bn1." not in name and ".bn2." not in name and ".gate." not in name for name in found
    )
    norms = len(found) + shared
    return Sizes(parameters, state, norms, len(list(pieces(sent))), expander, method.macs_per_image)


def ring_seconds(size: float, processes: int, bandwidth: float, latency: float) -> float:
    """Time of a ring all-reduce of size bytes (Patarasuk & Yuan 2009)."""
    if processes == 1:
        return 0.0
    share = (processes - 1) / processes
    return 2 * share * size / bandwidth + 2 * (processes - 1) * latency


def tree_seconds(size: float, processes: int, bandwidth: float, latency: float) -> float:
    """Time of an all-reduce of size bytes up and down two trees (Sanders et al. 2009)."""
    if processes == 1:
        return 0.0
    return 2 * size / bandwidth + 2 * math.ceil(math.log2(processes)) * latency


def sum_seconds(size: float, processes: int, bandwidth: float, latency: float) -> float:
    """Time of an all-reduce by whichever is cheaper."""
    link = (processes, bandwidth, latency)
    return min(ring_seconds(size, *link), tree_seconds(size, *link))


def gather_seconds(size: float, processes: int, bandwidth: float, latency: float) -> float:
    """Time of a ring all-gather of size bytes in all."""
    if processes == 1:
        return 0.0
    return (processes - 1) / processes * size / bandwidth + (processes - 1) * latency


def gradient_seconds(size: Sizes, processes: int, bandwidth: float, latency: float) -> float:
    """Time of averaging the gradients: each of their pieces takes all hops."""
    one = FLOAT * (size.parameters + 1) / size.pieces
    return size.pieces * sum_seconds(one, processes, bandwidth, latency)


def covariance_messages(rows: int, columns: int) -> tuple[int, int]:
    """Large and further small messages for both views' covariances of N rows and D columns."""
    return (2, 4) if rows < columns else (2, 0)


def covariance_seconds(
    rows: int, columns: int, processes: int, bandwidth: float, latency: float
) -> float:
    """Time of the large messages: embeddings of both views where N < D, else two matrices."""
    if rows < columns:
        return 2 * gather_seconds(FLOAT * rows * columns, processes, bandwidth, latency)
    return 2 * sum_seconds(FLOAT * columns**2, processes, bandwidth, latency)


def small_seconds(messages: int, processes: int, latency: float) -> float:
    """Time of messages of a few numbers: latency only."""
    return messages * tree_seconds(0, processes, math.inf, latency)


def straggling(jitter: float, processes: int) -> float:
    """Slowdown by waiting for the slowest of p whose steps take 1 + Exp(jitter).

    The largest of p exponential times is jitter H_p on average, H_p = 1 + 1/2 + ... + 1/p; a
    single process takes 1 + jitter.
    """
    harmonic = sum(1 / k for k in range(1, processes + 1))
    return (1 + jitter * harmonic) / (1 + jitter)


def simulated_straggling(
    jitter: float, processes: int, steps: int, generator: np.random.Generator
) -> float:
    """The same by drawing every step of every process."""
    slowest = generator.exponential(jitter, (steps, processes)).max(axis=1)
    return float((1 + slowest).mean() / (1 + jitter))


def young_interval(checkpoint_s: float, mtbf_s: float) -> float:
    """Seconds between checkpoints that lose least, sqrt(2 C M) (Young 1974)."""
    return math.sqrt(2 * checkpoint_s * mtbf_s)


def time_with_failures(
    work_s: float, interval_s: float, checkpoint_s: float, restart_s: float, mtbf_s: float
) -> float:
    """Expected time of some work under Poisson failures (Daly 2006, eq. 20).

    M e^(R / M) (e^((tau + C) / M) - 1) W / tau.
    """
    segment = math.expm1((interval_s + checkpoint_s) / mtbf_s)
    return mtbf_s * math.exp(restart_s / mtbf_s) * segment * work_s / interval_s


def simulated_time(
    segments: int,
    interval_s: float,
    checkpoint_s: float,
    restart_s: float,
    mtbf_s: float,
    generator: np.random.Generator,
) -> float:
    """The same by drawing failures: a segment lost in part is done again behind a restart."""
    needed = interval_s + checkpoint_s
    elapsed, until = 0.0, generator.exponential(mtbf_s)
    for _ in range(segments):
        doing = needed
        while until < doing:  # fails; the restart may fail as well
            elapsed += until
            until = generator.exponential(mtbf_s)
            doing = restart_s + needed
        elapsed += doing
        until -= doing
    return elapsed


def step_table(size: Sizes, options: argparse.Namespace) -> None:
    """Print communication and efficiency for each number of processes."""
    compute = options.batch / options.rate
    print(f"step of {options.batch} images a device: {1000 * compute:.1f} ms; milliseconds of")
    print("processes  gradients  covariances  norms  others  stragglers  efficiency  images/s")
    for processes in options.processes:
        link = (processes, options.bandwidth, options.latency)
        rows = options.batch * processes
        gradients = gradient_seconds(size, *link)
        covariances = covariance_seconds(rows, size.embedding, *link)
        norms = small_seconds(2 * size.norms, processes, options.latency)
        small = SMALL_MESSAGES + covariance_messages(rows, size.embedding)[1]
        others = small_seconds(small, processes, options.latency)
        waiting = (straggling(options.jitter, processes) - 1) * compute
        # The backward pass, two thirds of a step, is what gradients could hide under.
        exposed = max(0.0, gradients - 2 / 3 * compute) if options.overlap else gradients
        efficiency = compute / (compute + exposed + covariances + norms + others + waiting)
        numbers = [1000 * t for t in (gradients, covariances, norms, others, waiting)]
        print(
            f"{processes:9d} " + " ".join(f"{value:8.2f}" for value in numbers),
            f"   {efficiency:9.2f} {processes * options.rate * efficiency:12,.0f}",
        )


def failure_table(size: Sizes, options: argparse.Namespace, efficiency: float) -> None:
    """Print checkpoint interval and lost time for each number of processes."""
    checkpoint = FLOAT * size.state / options.disk + options.checkpoint_overhead
    generator = np.random.default_rng(0)
    work = options.images * options.epochs / options.rate
    print(
        f"checkpoint {FLOAT * size.state / 1e6:.0f} MB, {checkpoint:.1f} s, "
        f"work {work / DAY:,.0f} device days"
    )
    print("processes  MTBF h  interval s  hours alone  with failures  simulated  epoch-wise")
    for processes in options.processes:
        mtbf = options.mtbf_hours * 3600 / processes
        interval = young_interval(checkpoint, mtbf)
        alone = work / processes / efficiency
        expected = time_with_failures(alone, interval, checkpoint, options.restart, mtbf)
        segments = 20_000
        drawn = simulated_time(segments, interval, checkpoint, options.restart, mtbf, generator)
        simulated = drawn / (segments * interval) * alone
        epoch = alone / options.epochs
        by_epoch = time_with_failures(alone, epoch, checkpoint, options.restart, mtbf)
        hours = [t / 3600 for t in (alone, expected, simulated, by_epoch)]
        print(
            f"{processes:9d} {mtbf / 3600:7,.0f} {interval:11,.0f} "
            + " ".join(f"{value:12,.3f}" for value in hours)
        )


def main() -> None:
    """Compute and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--expander", type=int, default=2048)
    parser.add_argument("--size", type=int, default=32, help="px")
    parser.add_argument("--rate", type=float, default=20_000, help="images/s of one device")
    parser.add_argument("--batch", type=int, default=512, help="images a device")
    parser.add_argument("--images", type=float, default=1e9)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 8, 64, 256, 1000])
    parser.add_argument("--bandwidth", type=float, default=50e9, help="bytes/s of a link")
    parser.add_argument("--latency", type=float, default=10e-6, help="s of a hop")
    parser.add_argument("--jitter", type=float, default=0.02, help="mean excess of a step, share")
    parser.add_argument("--mtbf-hours", type=float, default=50_000, help="of one device")
    parser.add_argument("--restart", type=float, default=120.0, help="s behind a failure")
    parser.add_argument("--disk", type=float, default=1e9, help="bytes/s of a checkpoint")
    parser.add_argument("--checkpoint-overhead", type=float, default=1.0, help="s")
    parser.add_argument("--overlap", action="store_true", help="gradients under the backward pass")
    parser.add_argument("--efficiency", type=float, default=1.0, help="for the failures' table")
    options = parser.parse_args()
    size = sizes(options.width, options.expander, options.size)
    print(
        f"width {options.width}, {options.size} px: {size.parameters:,} parameters, gradient "
        f"{FLOAT * size.parameters / 1e6:.1f} MB, {size.macs / 1e9:.2f} G MACs an image, "
        f"{size.norms} batch norms, {size.pieces} pieces, image {3 * options.size**2:,} bytes"
    )
    step_table(size, options)
    failure_table(size, options, options.efficiency)
    generator = np.random.default_rng(1)
    for processes in options.processes:
        drawn = simulated_straggling(options.jitter, processes, 2000, generator)
        closed = straggling(options.jitter, processes)
        print(f"waiting for the slowest of {processes}: {closed:.3f} ({drawn:.3f} simulated)")


if __name__ == "__main__":
    main()
