"""Images/s of a dual-gating training in one process and in several that share each batch.

All use the same cores: W workers get a W-th of the threads each. Trainings take turns; the rate is
the median over their epochs but the first, launching not counted, which stands beside.

    python benchmarks/distributed.py [workers] [rounds]
"""

from __future__ import annotations

import statistics
import sys
import time

import numpy as np
import torch

from ssl_kedro.augment.config import ViewConfig
from ssl_kedro.encoders.factory import EncoderSetup
from ssl_kedro.encoders.gated_resnet import EncoderConfig
from ssl_kedro.methods.base import ExpanderConfig, MethodConfig, MethodPlan
from ssl_kedro.training.config import Execution, TrainConfig
from ssl_kedro.training.loop import train_encoder
from ssl_kedro.training.planned import EncoderTraining

SIZE, EPOCHS = 32, 3
SHAPES = ((8, 32), (16, 256))  # width, batch: the base environment's, and a larger one


def training(width: int, batch: int, workers: int) -> EncoderTraining:
    """A training of the base environment's recipe at another width."""
    setup = EncoderSetup(EncoderConfig("cifar_pad1", width), SIZE, (0.5,) * 3, (0.25,) * 3)
    return EncoderTraining(
        method=MethodPlan(
            "dual_gating", setup, MethodConfig(ExpanderConfig(256, 256)), budget=0.5, seed=0
        ),
        views=ViewConfig(),
        recipe=TrainConfig(
            epochs=EPOCHS, batch_size=batch, lr=0.1, warmup_epochs=1, workers=workers
        ),
        execution=Execution("cpu", "fp32"),
        seed=0,
        label=f"width {width}, {workers} workers",
        identity={"benchmark": "distributed"},
    )


def main(workers: int, rounds: int) -> None:
    """Print rates and ratios."""
    print(
        f"{torch.get_num_threads()} threads in all, fp32, median of {rounds * (EPOCHS - 1)} epochs"
    )
    for width, batch in SHAPES:
        images = np.random.default_rng(0).integers(
            0, 256, (max(512, 2 * batch), 3, SIZE, SIZE), dtype=np.uint8
        )
        rates: dict[int, list[float]] = {1: [], workers: []}
        launches: dict[int, list[float]] = {1: [], workers: []}
        for _ in range(rounds):
            for count in rates:
                began = time.perf_counter()
                result = train_encoder(training(width, batch, count), images)
                launches[count].append(time.perf_counter() - began - result.seconds)
                rates[count] += [row["images_per_second"] for row in result.history[1:]]
        medians = {count: statistics.median(found) for count, found in rates.items()}
        for count, rate in medians.items():
            print(
                f"width {width}, batch {batch}, {count} processes: {rate:.0f} images/s, "
                f"ratio {rate / medians[1]:.2f}, start and end "
                f"{statistics.median(launches[count]):.1f} s"
            )


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    main(given[0] if given else 2, given[1] if len(given) > 1 else 3)
