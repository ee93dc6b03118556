"""A memory map is read in pieces: memory does not grow with the number of images.

Measured is anonymous and shared memory (Linux: RssAnon, RssShmem), which is what a process
needs. Pages of a mapped file are not counted: they belong to the system's cache, which takes
them back when others need the room.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ssl_kedro

SIDE = 128
FEW, MANY = 700, 2800  # images; 33 MiB is more than any block that is read at once
IMAGE_MB = 3 * SIDE**2 / 2**20

pytestmark = pytest.mark.slow

PROGRAM = """
import gc, json, sys, threading
from pathlib import Path

sys.path.insert(0, sys.argv[1])
import numpy as np
import torch
from ssl_kedro.augment.config import ViewConfig
from ssl_kedro.augment.views import RandomViews, SeveralViews
from ssl_kedro.encoders.gated_resnet import EncoderConfig
from ssl_kedro.evaluation.features import extract_features
from ssl_kedro.images.load import DataConfig, load_images
from ssl_kedro.encoders.factory import EncoderSetup
from ssl_kedro.methods.base import ExpanderConfig, MethodConfig
from ssl_kedro.methods.plan import MethodPlan
from ssl_kedro.training.batches import BatchSource
from ssl_kedro.training.config import TrainConfig
from ssl_kedro.training.loop import train

torch.set_num_threads(1)


def memory_mb():
    lines = Path("/proc/self/status").read_text().splitlines()
    parts = (line.split() for line in lines if line.startswith(("RssAnon", "RssShmem")))
    return sum(int(part[1]) for part in parts) / 1024


class Peak:
    # Largest memory while the block runs, looked at every few milliseconds.
    def __enter__(self):
        gc.collect()
        self.mb, self.ended = memory_mb(), threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self):
        while not self.ended.wait(0.005):
            self.mb = max(self.mb, memory_mb())

    def __exit__(self, *error):
        self.ended.set()
        self.thread.join()


def peaks(root, count, limit_mb, cache):
    config = DataConfig(
        source="folder", root=root, size=SIDE, limit=count, eval_limit=2, workers=1,
        memory_limit_mb=limit_mb, cache_dir=f"{root}-{cache}",
    )
    found = {}
    with Peak() as peak:
        images = load_images(config, "train", 0)
    found["store"] = peak.mb
    assert len(images) == count and isinstance(images.images, np.memmap) == (limit_mb == 1)
    with Peak() as peak:
        mean, std = images.channel_statistics()
        images.fingerprint()
    found["summary"] = peak.mb
    setup = EncoderSetup(EncoderConfig("imagenet", 4), 32, mean, std)
    method = MethodPlan("dual_gating", setup, MethodConfig(ExpanderConfig(8, 8)), 0.8, 0).build()
    recipe = TrainConfig(epochs=1, batch_size=50, lr=0.01, warmup_epochs=0)
    with Peak() as peak:
        source = BatchSource(images.images, 50, torch.device("cpu"), 0)
        train(method, source, SeveralViews(RandomViews(ViewConfig(size=32))), recipe)
    found["training"] = peak.mb
    with Peak() as peak:
        extract_features(method.encoder, images.images, "gated", batch_size=50)
    found["features"] = peak.mb
    return found


root, SIDE, few, many = sys.argv[2], *map(int, sys.argv[3:6])
peaks(root, 100, 1, "first")  # what first use imports and allocates stays for good
rows = {"few": peaks(root, few, 1, "maps"), "many": peaks(root, many, 1, "maps")}
rows["in memory"] = peaks(root, many, 4096, "none")
print(json.dumps(rows))
"""


@pytest.fixture(scope="module")
def peaks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, float]]:
    """MiB at the peak of each stage, for stores of few and of many images."""
    root = tmp_path_factory.mktemp("images") / "files"
    generator = np.random.default_rng(0)
    for part, count in (("train", MANY), ("test", 2)):
        for number in range(count):
            folder = root / part / f"class_{number % 2}"
            folder.mkdir(parents=True, exist_ok=True)
            pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number:05d}.bmp")
    source = Path(ssl_kedro.__file__).parents[1]
    numbers = (str(number) for number in (SIDE, FEW, MANY))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(source), str(root), *numbers],
        check=False,
        capture_output=True,
        text=True,
        # Freed blocks go back to the system at once, so that stages do not hide one another.
        env={**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "1048576"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


STAGES = ("store", "summary", "training", "features")
STORE_GROWTH_MB = (MANY - FEW) * IMAGE_MB


@pytest.mark.parametrize("stage", STAGES)
def test_four_times_the_images_take_no_more_memory(
    peaks: dict[str, dict[str, float]], stage: str
) -> None:
    growth = peaks["many"][stage] - peaks["few"][stage]
    assert growth < 0.1 * STORE_GROWTH_MB


@pytest.mark.parametrize("stage", STAGES)
def test_the_measurement_sees_images_held_in_memory(
    peaks: dict[str, dict[str, float]], stage: str
) -> None:
    difference = peaks["in memory"][stage] - peaks["many"][stage]
    assert difference > 0.9 * MANY * IMAGE_MB
