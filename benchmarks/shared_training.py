"""Images/s of a training in one process and in several that share each batch.

All use the same cores: W workers get a W-th of the threads each. Trainings take turns; the rate is
the median over rounds of the median over epochs but the first, launching not counted, which stands
beside; so does the range of the ratio, which says how much other work on the machine disturbed.

    python benchmarks/shared_training.py [--workers 2] [--rounds 3]         # dual gating
    python benchmarks/shared_training.py --panoramas FOLDER [--height 160]  # chapter 4

With panoramas, read from a folder of files, the losses of each epoch stand beside: of one process,
of several, and of one whose first weights were changed by 1e-7, which is what rounding does.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ssl_kedro.augment.config import PanoramaViewConfig, ViewConfig
from ssl_kedro.encoders.factory import EncoderSetup
from ssl_kedro.encoders.gated_resnet import EncoderConfig
from ssl_kedro.encoders.panorama_encoder import PanoramaEncoderConfig
from ssl_kedro.methods.base import ExpanderConfig, MethodConfig
from ssl_kedro.methods.panorama_contrast import ContrastConfig, ContrastPlan
from ssl_kedro.methods.plan import MethodPlan
from ssl_kedro.training.config import Execution, TrainConfig
from ssl_kedro.training.loop import train_in_process, train_planned
from ssl_kedro.training.planned import EncoderTraining, PanoramaTraining, PlannedTraining

SIZE = 32
SHAPES = ((8, 32), (16, 256))  # width, batch: the base environment's, and a larger one
IDENTITY = {"benchmark": "distributed"}


def gating(width: int, batch: int, epochs: int) -> EncoderTraining:
    """A training of the base environment's recipe at another width."""
    setup = EncoderSetup(EncoderConfig("cifar_pad1", width), SIZE, (0.5,) * 3, (0.25,) * 3)
    config = MethodConfig(ExpanderConfig(256, 256))
    return EncoderTraining(
        method=MethodPlan("dual_gating", setup, config, budget=0.5, seed=0),
        views=ViewConfig(),
        recipe=TrainConfig(epochs=epochs, batch_size=batch, lr=0.1, warmup_epochs=1),
        execution=Execution("cpu", "fp32"),
        seed=0,
        label=f"width {width}, batch {batch}",
        identity=IDENTITY,
    )


def contrast(images: np.ndarray, architecture: Any, epochs: int) -> PanoramaTraining:
    """The base environment's pre-training on panoramas."""
    size = (images.shape[2], images.shape[3])
    shape = PanoramaEncoderConfig(architecture, 0.25, "circular")
    objective = ContrastConfig(
        negatives=256, temperature=None, bank_momentum=0.9, head_end="batch_norm"
    )
    recipe = TrainConfig(
        epochs=epochs, batch_size=16, optimiser="adamw", lr=0.016, warmup_epochs=1, warmup_lr=0.0
    )
    return PanoramaTraining(
        method=ContrastPlan(shape, objective, len(images), size, seed=0),
        views=PanoramaViewConfig(),
        recipe=recipe,
        execution=Execution("cpu", "fp32"),
        seed=0,
        label=f"panoramas of {size[0]} x {size[1]}, {architecture}, batch 16",
        identity=IDENTITY,
    )


def panoramas(folder: Path, height: int) -> np.ndarray:
    """uint8 (N, 3, H, 2 H) of all pictures in a folder."""
    files = [f for f in sorted(folder.rglob("*")) if f.suffix in (".jpg", ".png")]
    size = (2 * height, height)
    found = [np.asarray(Image.open(f).convert("RGB").resize(size)) for f in files]
    return np.ascontiguousarray(np.stack(found).transpose(0, 3, 1, 2))


def compare(training: PlannedTraining[Any], images: np.ndarray, workers: int, rounds: int) -> None:
    """Print rates and ratios of one process and several, and the last losses of each."""
    rates: dict[int, list[list[float]]] = {1: [], workers: []}
    launches: dict[int, list[float]] = {1: [], workers: []}
    losses: dict[int, list[float]] = {}
    for _ in range(rounds):
        for count in (1, workers):
            recipe = replace(training.recipe, workers=count)
            began = time.perf_counter()
            result = train_planned(replace(training, recipe=recipe), images)
            launches[count].append(time.perf_counter() - began - result.seconds)
            rates[count].append([row["images_per_second"] for row in result.history[1:]])
            losses[count] = [row["loss"] for row in result.history]
    medians = {n: [statistics.median(one) for one in found] for n, found in rates.items()}
    for count, found in medians.items():
        ratios = sorted(own / alone for own, alone in zip(found, medians[1], strict=True))
        print(
            f"{training.label}, {count} processes: {statistics.median(found):.1f} images/s, "
            f"ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f} by "
            f"round), start and end "
            f"{statistics.median(launches[count]):.1f} s, loss of each epoch "
            + " ".join(f"{loss:.5f}" for loss in losses[count])
        )


def changed_by_rounding(training: PlannedTraining[Any], images: np.ndarray) -> None:
    """Print the losses of one process whose first weights are changed by 1e-7 of each."""
    method = training.method.build()
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in method.parameters():
            weight.mul_(1 + 1e-7 * torch.randn(weight.shape, generator=noise))
    history = train_in_process(training, method, images, None, None).history
    print(f"{training.label}, changed by 1e-7:", *(f"{row['loss']:.5f}" for row in history))


def main() -> None:
    """Read the command line and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--panoramas", type=Path)
    parser.add_argument("--height", type=int, default=160)
    parser.add_argument("--architecture", default="resnet50")
    given = parser.parse_args()
    print(f"{torch.get_num_threads()} threads in all, fp32")
    if given.panoramas is not None:
        images = panoramas(given.panoramas, given.height)
        training = contrast(images, given.architecture, given.epochs)
        compare(training, images, given.workers, given.rounds)
        changed_by_rounding(training, images)
        return
    for width, batch in SHAPES:
        shape = (max(512, 2 * batch), 3, SIZE, SIZE)
        images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        compare(gating(width, batch, given.epochs), images, given.workers, given.rounds)


if __name__ == "__main__":
    main()
