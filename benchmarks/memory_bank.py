"""Scores of a batch against a memory bank: ours beside gathering, time and peak memory.

python benchmarks/memory_bank.py [--images 90000] [--batch 80] [--negatives 16000] [--threads 1]

Each way runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time

import torch
from torch import Tensor
from torch.nn import functional

from ssl_kedro.losses.memory_nce import MemoryBank, memory_nce

DIMENSIONS, TEMPERATURE = 512, 0.07


def gathered(bank: MemoryBank, f: Tensor, indices: Tensor, negatives: Tensor) -> Tensor:
    """The published way: the vectors of all negatives laid out, then a product a sample."""
    vectors = bank.vectors[torch.cat([indices[:, None], negatives], dim=1)]
    scores = torch.bmm(vectors, f[:, :, None])[:, :, 0] / TEMPERATURE
    normaliser = bank.normaliser(0, scores[:, 0], scores[:, 1:])
    return memory_nce(scores[:, 0], scores[:, 1:], normaliser, len(bank.vectors))


def ours(bank: MemoryBank, f: Tensor, indices: Tensor, negatives: Tensor) -> Tensor:
    """As the pre-training does it."""
    positive, negative = bank.scores(f, indices, negatives, TEMPERATURE)
    return memory_nce(positive, negative, bank.normaliser(0, positive, negative), len(bank.vectors))


WAYS = {"gathered": gathered, "ours": ours}


def measure(way: str, images: int, batch: int, negatives: int, repetitions: int) -> None:
    """Prints loss, median seconds of forward and backward pass, and peak memory in MB."""
    generator = torch.Generator().manual_seed(0)
    bank = MemoryBank(images, DIMENSIONS, generator)
    f = functional.normalize(torch.randn(batch, DIMENSIONS, generator=generator), dim=1)
    f.requires_grad_()
    indices = torch.randint(images, (batch,), generator=generator)
    drawn = torch.randint(images, (batch, negatives), generator=generator)
    taken = []
    for _ in range(repetitions + 1):
        f.grad = None
        began = time.perf_counter()
        loss = WAYS[way](bank, f, indices, drawn)
        loss.backward()
        taken.append(time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(float(loss.detach()), statistics.median(taken[1:]), peak)


def main() -> None:
    """Both ways, turn by turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=90_000)
    parser.add_argument("--batch", type=int, default=80)
    parser.add_argument("--negatives", type=int, default=16_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--way", choices=list(WAYS))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.way:
        measure(given.way, given.images, given.batch, given.negatives, given.repetitions)
        return
    found = {}
    for way in WAYS:
        command = [sys.executable, __file__, *sys.argv[1:], "--way", way]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        loss, seconds, peak = map(float, printed.split())
        found[way] = seconds
        print(f"{way}: loss {loss:.4f}, {1000 * seconds:.0f} ms a step, peak {peak:.0f} MB")
    print(f"ratio {found['gathered'] / found['ours']:.1f}x")


if __name__ == "__main__":
    main()
