"""Training end to end: this package's step against a loop built with lightly.

``python benchmarks/training.py [--folder TRAIN_JPEGS] [--width 16 --batch 256 --batches 4]``
prints images per second of

- the reference: lightly's VICReg loss and transform (in this project's recipe), torchvision's
  ImageFolder and a torch DataLoader with one worker a core, torchvision's BasicBlocks in the same
  shape, fp32, contiguous, its LARS with the same rates;
- ours: the same loss without gates (``vicreg``), and dual gating, with precision and memory
  format by the usual trial.

Same images, batch, width, stem, expander and recipe of views. What differs: colours in a fixed
order and a linear hue (see ``ssl_kedro.augment.transforms``), LARS with clipping, and that ours
decodes every file once, before the first epoch; that time is printed by itself. Candidates take
turns, an epoch of ``--batches`` each; the median round counts.

``--accuracy 0.3`` instead trains both until 1-NN accuracy (a fifth of the images held out) and
prints the seconds of training that it took; epochs take turns, evaluation is not counted.

``--breakdown`` prints where the time of a dual-gating step goes, and ``--device cuda`` is meant
for that: with ``--width 64 --batch 512 --expander 2048`` it is the CIFAR-10 step of the thesis.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from lightly.loss import VICRegLoss
from lightly.transforms import VICRegTransform
from lightly.utils.lars import LARS
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset
from torchvision.datasets import ImageFolder
from torchvision.models.resnet import BasicBlock

from ssl_kedro.augment.config import ViewConfig
from ssl_kedro.augment.views import RandomViews, SeveralViews
from ssl_kedro.core.devices import resolved_device
from ssl_kedro.core.memory import keep_freed_memory
from ssl_kedro.core.seeding import torch_generator
from ssl_kedro.encoders.factory import EncoderSetup
from ssl_kedro.encoders.gated_resnet import EncoderConfig
from ssl_kedro.evaluation.knn import knn_right
from ssl_kedro.images.sources.textures import textures
from ssl_kedro.losses.vicreg import VICRegConfig
from ssl_kedro.methods.base import ExpanderConfig, MethodConfig, expander
from ssl_kedro.methods.plan import MethodPlan
from ssl_kedro.methods.vicreg import VICRegOptions
from ssl_kedro.training.batches import BatchSource
from ssl_kedro.training.config import Execution, TrainConfig
from ssl_kedro.training.execution import choose_execution
from ssl_kedro.training.loop import train_epoch
from ssl_kedro.training.step import TrainingStep

SIZE = 32
MEAN, STD = (0.5,) * 3, (0.25,) * 3
RATE, WARMUP_EPOCHS = 0.1, 5  # for 256 images; epochs are short here


class Reference:
    """A loop as lightly's examples have it, on this project's network shape and views."""

    def __init__(self, folder: Path, rows: list[int], options: argparse.Namespace) -> None:
        self.device = resolved_device(options.device)
        transform = VICRegTransform(
            input_size=SIZE,
            cj_prob=0.8,
            cj_strength=1.0,
            cj_bright=0.4,
            cj_contrast=0.4,
            cj_sat=0.2,
            cj_hue=0.1,
            min_scale=0.2,
            random_gray_scale=0.2,
            solarize_prob=0.1,
            gaussian_blur=0.0,
            normalize={"mean": list(MEAN), "std": list(STD)},
        )
        self.loader = DataLoader(
            Subset(ImageFolder(str(folder), transform), rows),
            options.batch,
            shuffle=True,
            drop_last=True,
            num_workers=options.workers,
            persistent_workers=options.workers > 0,
            pin_memory=self.device.type == "cuda",
        )
        torch.manual_seed(0)
        self.backbone = torchvision_style_resnet18(options.width).to(self.device)
        head = expander(8 * options.width, ExpanderConfig(options.expander, options.expander))
        self.head = head.to(self.device)
        parameters = [*self.backbone.parameters(), *self.head.parameters()]
        self.optimiser = LARS(
            parameters,
            lr=RATE * options.batch / 256,
            momentum=0.9,
            weight_decay=1e-4,
            trust_coefficient=0.02,
        )
        self.warmup = torch.optim.lr_scheduler.LinearLR(
            self.optimiser, 0.01, total_iters=WARMUP_EPOCHS * len(self.loader)
        )
        self.loss = VICRegLoss()

    def epoch(self, number: int) -> None:  # noqa: ARG002
        """One pass over the images."""
        for (view_1, view_2), *_ in self.loader:
            embeddings = [
                self.head(self.backbone(view.to(self.device, non_blocking=True)))
                for view in (view_1, view_2)
            ]
            loss = self.loss(*embeddings)
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            self.warmup.step()
            if not np.isfinite(loss.item()):
                raise RuntimeError("the reference diverged")

    @torch.no_grad()
    def features(self, images: np.ndarray) -> np.ndarray:
        """Features of uint8 images."""
        self.backbone.eval()
        pixels = torch.from_numpy(images).float().div(255).sub(MEAN[0]).div(STD[0])
        found = [self.backbone(part.to(self.device)).cpu() for part in pixels.split(256)]
        self.backbone.train()
        return torch.cat(found).numpy()


class Ours:
    """This project's step, loop and views on images that were decoded once."""

    def __init__(self, name: str, images: np.ndarray, options: argparse.Namespace) -> None:
        setup = EncoderSetup(EncoderConfig(width=options.width), SIZE, MEAN, STD)
        config = MethodConfig(
            ExpanderConfig(options.expander, options.expander),
            options=VICRegOptions(VICRegConfig(convention="official")),
        )
        method = MethodPlan(name, setup, config, 0.5 if "gating" in name else None, seed=0).build()
        recipe = TrainConfig(
            epochs=100,
            batch_size=options.batch,
            lr=RATE,
            warmup_epochs=WARMUP_EPOCHS,
            device=options.device,
        )
        self.execution: Execution = choose_execution(method, (3, SIZE, SIZE), recipe)
        device = torch.device(self.execution.device)
        self.source = BatchSource(images, options.batch, device, seed=0)
        self.views = SeveralViews(RandomViews(ViewConfig()), method.view_count)
        self.step = TrainingStep(
            method,
            recipe,
            self.execution,
            self.source.batches_per_epoch,
        )

    def epoch(self, number: int) -> None:
        """One pass over the images."""
        train_epoch(self.step, self.source, self.views, number, lambda _: None)

    @torch.no_grad()
    def features(self, images: np.ndarray) -> np.ndarray:
        """Features of uint8 images, of the dense branch."""
        encoder = self.step.method.encoder.eval()
        parts = torch.from_numpy(images).split(256)
        found = [encoder(part.to(self.source.device), "dense").features.cpu() for part in parts]
        encoder.train()
        return torch.cat(found).float().numpy()


def torchvision_style_resnet18(width: int) -> nn.Sequential:
    """BasicBlocks of torchvision behind the authors' stem (3x3, padding 2), then the mean."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, width, 3, padding=2, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    ]
    inputs = width
    for stage in range(4):
        outputs = width << stage
        shortcut = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, 2, bias=False), nn.BatchNorm2d(outputs)
        )
        first = BasicBlock(inputs, outputs, 2, shortcut) if stage else BasicBlock(inputs, outputs)
        layers += [first, BasicBlock(outputs, outputs)]
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def textures_as_jpegs(folder: Path, count: int) -> None:
    """Generated textures in class folders, so that both sides start from files."""
    labels = np.arange(count) % 10
    images = textures(labels, SIZE, np.random.default_rng(0))
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        place = folder / f"class_{label}"
        place.mkdir(exist_ok=True)
        Image.fromarray(image.transpose(1, 2, 0)).save(place / f"{index:06d}.jpg", quality=95)


def decoded(folder: ImageFolder, rows: list[int]) -> np.ndarray:
    """Images of some rows, uint8 (N, 3, SIZE, SIZE)."""
    pictures = [np.asarray(folder[row][0].resize((SIZE, SIZE))) for row in rows]
    return np.ascontiguousarray(np.stack(pictures).transpose(0, 3, 1, 2))


def compared_rates(candidates: dict[str, Reference | Ours], images: int, rounds: int) -> None:
    """Print images per second of each, the first being what the others are held against."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(rounds + 1):
        for name, candidate in candidates.items():
            began = time.perf_counter()
            candidate.epoch(number)
            if number > 0:  # the first starts workers and picks kernels
                seconds[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    slowest = next(iter(medians.values()))
    for name, median in medians.items():
        print(f"  {name:24s} {images / median:9,.0f} images/s  {slowest / median:5.2f} x reference")


def compared_times(
    candidates: dict[str, Reference | Ours],
    accuracy: Callable[[Reference | Ours], float],
    wanted: float,
    limit_s: float,
) -> None:
    """Print the training time of each until the wanted accuracy; epochs take turns."""
    spent = dict.fromkeys(candidates, 0.0)
    running = dict(candidates)
    number = 0
    while running and min(spent[name] for name in running) < limit_s:
        for name, candidate in list(running.items()):
            began = time.perf_counter()
            candidate.epoch(number)
            spent[name] += time.perf_counter() - began
            found = accuracy(candidate)
            print(f"  {name:24s} epoch {number + 1:3d}  {spent[name]:7.1f} s  1-NN {found:.3f}")
            if found >= wanted:
                del running[name]
        number += 1
    for name, seconds in spent.items():
        print(f"  {name:24s} " + ("did not reach it" if name in running else f"{seconds:.1f} s"))


def breakdown(ours: Ours, rounds: int = 12) -> None:
    """Print where the time of a step goes, piece by piece, and what a batch takes in the loop.

    Pieces are waited for one by one; the loop is not, so that it may take less than their sum.
    They are compiled where the step is, but never recorded: only the whole step and the loop are.
    """
    step, device = ours.step, ours.source.device
    noise = torch_generator(0, "views", device=device)
    pieces: dict[str, list[float]] = {}

    @contextlib.contextmanager
    def timed(name: str) -> Iterator[None]:
        wait(device)
        began = time.perf_counter()
        yield
        wait(device)
        pieces.setdefault(name, []).append(time.perf_counter() - began)

    step.begin_epoch(0, 0)
    reduced = step.execution.precision == "bf16"
    for images, indices in repeated(ours.source, rounds):
        with timed("views"):
            views = ours.views(images, noise)
        step.begin(indices, 0)
        with timed("forward"), torch.autocast(device.type, torch.bfloat16, enabled=reduced):
            loss = step._forward(views, step._progress, step.noise).loss
        step.optimiser.zero_grad(set_to_none=True)
        with timed("backward"):
            torch.autograd.backward(loss)
        with timed("optimiser"):
            step.optimiser.step()
        with timed("whole step as trained"):
            step.take(images, views, indices, 0)
    step.settle()
    for name, times in pieces.items():
        print(f"  {name:24s} {1000 * statistics.median(times[2:]):9.2f} ms")
    wait(device)
    began = time.perf_counter()
    for images, indices in repeated(ours.source, rounds):
        step.take(images, ours.views(images, noise), indices, 0)
    queued = (time.perf_counter() - began) / rounds
    step.settle()
    wait(device)
    seconds = (time.perf_counter() - began) / rounds
    print(f"  {'a batch in the loop':24s} {1000 * seconds:9.2f} ms")
    print(f"  {'  until it was queued':24s} {1000 * queued:9.2f} ms")
    print(f"  {ours.source.batch_size / seconds:,.0f} image pairs/s")


def repeated(source: BatchSource, count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches, epoch after epoch."""
    epoch, given = 0, 0
    while True:
        for batch in source.epoch(epoch):
            if given == count:
                return
            yield batch.images, batch.indices
            given += 1
        epoch += 1


def wait(device: torch.device) -> None:
    """Until the device has nothing left to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="class folders of images; textures if absent")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, help="of torch; its own choice if absent")
    parser.add_argument("--workers", type=int, default=2, help="of the reference's data loader")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--batches", type=int, default=4, help="in an epoch")
    parser.add_argument("--expander", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--accuracy", type=float, help="1-NN accuracy to train to, instead")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds of training for it")
    parser.add_argument("--breakdown", action="store_true", help="of a dual-gating step, instead")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as made:
        measured(options, Path(made))


def measured(options: argparse.Namespace, made: Path) -> None:
    """What the options ask for."""
    count = options.batch * options.batches
    held_out = count // 4 if options.accuracy else 0
    if options.folder is None:
        textures_as_jpegs(made, count + held_out)
    files = ImageFolder(str(options.folder or made))
    if len(files) < count + held_out:
        # Rates are of so many images: fewer would be counted as if they were all there.
        raise SystemExit(
            f"--batch {options.batch} --batches {options.batches} need {count + held_out} files, "
            f"{options.folder} has {len(files)}; lower one of them or give more files"
        )
    order = np.random.default_rng(0).permutation(len(files)).tolist()
    rows = order[:count]
    began = time.perf_counter()
    images = decoded(files, rows)
    print(f"decoding {count:,} files once: {time.perf_counter() - began:.2f} s (not in the rates)")
    gating = Ours("dual_gating", images, options)
    print(f"{options.device}, {torch.get_num_threads()} threads, {gating.execution}")
    if options.breakdown:
        breakdown(gating)
        return
    candidates: dict[str, Reference | Ours] = {
        "reference (lightly)": Reference(options.folder or made, rows, options),
        "ours, vicreg": Ours("vicreg", images, options),
        "ours, dual gating": gating,
    }
    if options.accuracy is None:
        compared_rates(candidates, count, options.rounds)
        return
    labels = np.asarray(files.targets)
    tested = order[count : count + held_out]
    unseen = decoded(files, tested)

    def accuracy(candidate: Reference | Ours) -> float:
        sides = candidate.features(images), labels[rows], candidate.features(unseen), labels[tested]
        return float(knn_right(*sides, k=1, normalise=True).mean())

    compared_times(candidates, accuracy, options.accuracy, options.limit)


if __name__ == "__main__":
    main()
