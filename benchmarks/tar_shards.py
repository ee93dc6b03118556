"""Resident memory of a training from tar shards, by the number of images.

python benchmarks/tar_shards.py --folder /tmp/shards [--few 2000] [--many 200000] [--steps 100]
    [--mapped]

Writes shards of at most 10,000 generated 32 px JPEGs with labels, where they are missing. A process
for few and one for many images indexes and stores them and trains dual gating (width 4, batches of
256) for as many steps. With --mapped rows are looked at through the memory map instead of read.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

SIZE, A_SHARD, CLASSES = 32, 10_000, 10
PROGRAM = """
import sys, time
from pathlib import Path
import numpy as np
import torch
from ssl_kedro.augment.config import ViewConfig
from ssl_kedro.augment.views import RandomViews, SeveralViews
from ssl_kedro.encoders.factory import EncoderSetup
from ssl_kedro.encoders.gated_resnet import EncoderConfig
from ssl_kedro.images import image_set
from ssl_kedro.images.load import DataConfig, load_images
from ssl_kedro.methods.base import ExpanderConfig, MethodConfig
from ssl_kedro.methods.plan import MethodPlan
from ssl_kedro.training import batches, loop
from ssl_kedro.training.config import TrainConfig

root, cache, count, steps, mapped = sys.argv[1:3] + [int(value) for value in sys.argv[3:6]]
if mapped:
    batches.rows_of = image_set.rows_of = lambda images, rows: np.asarray(images[rows])
torch.set_num_threads(1)

def memory(label):
    wanted = ("VmHWM", "VmRSS", "RssAnon", "RssFile")
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    found = {line[0][:-1]: int(line[1]) // 1024 for line in lines if line[0][:-1] in wanted}
    pss = next(line for line in Path("/proc/self/smaps_rollup").read_text().splitlines()
               if line.startswith("Pss:"))
    found["Pss"] = int(pss.split()[1]) // 1024
    print(count, label, *(f"{name} {value}" for name, value in found.items()), flush=True)

memory("imported")
began = time.perf_counter()
config = DataConfig(source="webdataset", root=root, size=32, limit=count, workers=2,
                    memory_limit_mb=1.0, cache_dir=cache, eval_fraction=0.001)
images = load_images(config, "train", 0)
assert isinstance(images.images, np.memmap), "not mapped"
memory(f"stored {len(images)} in {time.perf_counter() - began:.0f} s")
mean, std = images.channel_statistics()
images.fingerprint()
memory("summed up")
setup = EncoderSetup(EncoderConfig("cifar_pad1", 4), 32, mean, std)
method = MethodPlan("dual_gating", setup, MethodConfig(ExpanderConfig(64, 64)), 0.5, 0).build()

class Source(batches.BatchSource):
    # An epoch of at most so many batches, of random rows of all images.
    batches_per_epoch = property(lambda self: min(steps, self._count // self.batch_size))

source = Source(images.images, 256, torch.device("cpu"), 0)
recipe = TrainConfig(epochs=round(steps / source.batches_per_epoch), batch_size=256, lr=0.01,
                     warmup_epochs=0)
began = time.perf_counter()
loop.train(method, source, SeveralViews(RandomViews(ViewConfig(size=32))), recipe)
taken = recipe.epochs * source.batches_per_epoch
memory(f"trained {taken} steps in {time.perf_counter() - began:.0f} s")
"""


def write_shards(folder: Path, count: int) -> None:
    """Shards of noisy JPEGs with labels."""
    generator = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for shard in range(-(-count // A_SHARD)):
        with tarfile.open(folder / f"{shard:05d}.tar", "w") as tar:
            for index in range(shard * A_SHARD, min(count, (shard + 1) * A_SHARD)):
                coarse = generator.integers(0, 256, (4, 4, 3), dtype=np.uint8)
                buffer = io.BytesIO()
                Image.fromarray(coarse).resize((SIZE, SIZE)).save(buffer, "JPEG")
                label = str(index % CLASSES).encode()
                for ending, data in (("jpg", buffer.getvalue()), ("cls", label)):
                    member = tarfile.TarInfo(f"{index:08d}.{ending}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))


def main() -> None:
    """Few images, then many."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--few", type=int, default=2000)
    parser.add_argument("--many", type=int, default=200_000)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--mapped", action="store_true")
    given = parser.parse_args()
    peaks = []
    for count in (given.few, given.many):
        folder = given.folder / str(count)
        if not folder.exists():
            began = time.perf_counter()
            write_shards(folder, count + count // 100)
            print(f"written in {time.perf_counter() - began:.0f} s", flush=True)
        values = [str(folder), f"{folder}-cache", str(count), str(given.steps)]
        command = [sys.executable, "-c", PROGRAM, *values, str(int(given.mapped))]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        print(done.stdout, end="", flush=True)
        last = done.stdout.split()
        peaks.append(int(last[len(last) - 1 - last[::-1].index("VmHWM") + 1]))
    print(f"peak resident memory, MiB: {peaks[0]} and {peaks[1]}: {peaks[1] - peaks[0]} more")


if __name__ == "__main__":
    main()
