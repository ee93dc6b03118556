"""Self-supervised methods of lightly and solo-learn, trained by their own loops for given seconds.

``python benchmarks/methods.py lightly simclr --folder TRAIN --seconds 300`` trains one
method and prints what it took and its accuracies. ``python benchmarks/methods.py ours
simclr_dual_gating --folder TRAIN`` prints the seconds of an epoch of ours.

- ``lightly``: its transforms, losses, heads and utilities, in a loop as its CIFAR-10 benchmark has
  it: SGD, rate .06 for 128 images, cosine.
- ``solo``: solo-learn's own methods in PyTorch Lightning, by the recipes that it publishes for
  CIFAR-10. Release 1.0.2 asks for PyTorch 1.9; install it beside a newer one with ``pip install
  --no-deps solo-learn pytorch-lightning==1.9.5 lightning-bolts==0.7.0 einops torchmetrics
  lightning-utilities wandb`` and what these import. Its W-MSE calls ``torch.cholesky``, which
  PyTorch no longer has.

VICReg diverges at these rates here: give both a tenth, ``--lr 0.006`` and ``--lr 0.03``.

Both train a dense network of our shape (BasicBlocks of torchvision behind a 3x3 stem that pads by
one), on views by the recipe of ours, on one thread, with images decoded in the loop. A first epoch
is timed, and as many are made as fit the seconds, of the processor, not of the clock, so that other
work on the machine counts for less; ``--epochs`` sets their number. Accuracies are ours: linear and
1-NN on frozen features.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.datasets import ImageFolder
from torchvision.models.resnet import BasicBlock

from ssl_kedro import load_images
from ssl_kedro.augment.config import ViewConfig
from ssl_kedro.augment.views import RandomViews, SeveralViews
from ssl_kedro.encoders.factory import EncoderSetup
from ssl_kedro.encoders.gated_resnet import EncoderConfig
from ssl_kedro.evaluation.knn import knn_right
from ssl_kedro.evaluation.linear_probe import ProbeConfig, linear_probe_right
from ssl_kedro.images.load import DataConfig
from ssl_kedro.images.subsets import limited
from ssl_kedro.methods.base import ExpanderConfig, MethodConfig
from ssl_kedro.methods.plan import MethodPlan
from ssl_kedro.training.batches import BatchSource
from ssl_kedro.training.config import Execution, TrainConfig
from ssl_kedro.training.loop import train_epoch
from ssl_kedro.training.step import TrainingStep

MEAN, STD = (0.491, 0.482, 0.447), (0.247, 0.243, 0.261)
BATCH, HIDDEN = 128, 512
# solo-learn's scripts for CIFAR, but for the width of the heads: rate for 256 images, weight decay,
# LARS over SGD, SGD or Adam, and what only this method has. Momentum methods begin at .99.
SOLO: dict[str, tuple[float, float, str, dict[str, Any]]] = {
    "simclr": (0.4, 1e-5, "lars", {"proj_output_dim": 256, "temperature": 0.2}),
    "mocov2plus": (
        0.3,
        1e-4,
        "lars",
        {"proj_output_dim": 256, "temperature": 0.2, "queue_size": 4096},
    ),
    "byol": (1.0, 1e-5, "lars", {"proj_output_dim": 256, "pred_hidden_dim": HIDDEN}),
    "simsiam": (0.5, 1e-5, "sgd", {"proj_output_dim": HIDDEN, "pred_hidden_dim": HIDDEN // 4}),
    "barlow_twins": (
        0.3,
        1e-4,
        "lars",
        {"proj_output_dim": HIDDEN, "lamb": 5e-3, "scale_loss": 0.1},
    ),
    "vicreg": (
        0.3,
        1e-4,
        "lars",
        {"proj_output_dim": HIDDEN}
        | {"sim_loss_weight": 25.0, "var_loss_weight": 25.0, "cov_loss_weight": 1.0},
    ),
    "dino": (
        0.3,
        1e-6,
        "lars",
        {"proj_output_dim": 256, "num_prototypes": 4096, "clip_grad": 0, "freeze_last_layer": 1}
        | {"norm_last_layer": True, "use_bn_in_head": False, "student_temperature": 0.1}
        | {"teacher_temperature": 0.07, "warmup_teacher_temperature": 0.04},
    ),
}


class Narrow(nn.Module):
    """ResNet-18 of torchvision's blocks at any width, for small images.

    Args:
        width: channels of the first stage.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        stem = nn.Conv2d(3, width, 3, padding=1, bias=False)
        layers: list[nn.Module] = [stem, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        inputs = width
        for stage in range(4):
            outputs, stride = width << stage, 2 if stage else 1
            convolution = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            shortcut = nn.Sequential(convolution, nn.BatchNorm2d(outputs)) if stage else None
            layers.append(BasicBlock(inputs, outputs, stride, shortcut))
            layers.append(BasicBlock(outputs, outputs))
            inputs = outputs
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        # As torchvision's networks have them, which solo-learn reads and replaces.
        self.inplanes, self.fc = inputs, nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """Features (N, 8 width)."""
        found: Tensor = self.layers(images)
        return found


class Files(Dataset[Any]):
    """Some files of a folder, decoded each time: their place, views and label."""

    def __init__(self, folder: Path, rows: np.ndarray, views: Callable[[Image.Image], Any]) -> None:
        samples = ImageFolder(str(folder)).samples
        self.files = [samples[row] for row in rows]
        self.views = views

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[int, Any, int]:
        path, label = self.files[index]
        with Image.open(path) as image:
            return index, self.views(image.convert("RGB")), label


def loader_of(options: argparse.Namespace, views: Callable[[Image.Image], Any]) -> DataLoader[Any]:
    """The images that ``data.limit`` leaves of the folder, in batches."""
    labels = np.array(ImageFolder(str(options.folder)).targets)
    config = DataConfig(source="folder", root=str(options.folder), limit=options.limit)
    rows = limited(labels, len(labels), config, training=True, seed=options.seed)
    return DataLoader(Files(options.folder, rows, views), BATCH, shuffle=True, drop_last=True)


class Lightly:
    """One of lightly's methods, in a loop as its benchmark has it."""

    def __init__(self, options: argparse.Namespace) -> None:
        from lightly import loss, transforms  # noqa: PLC0415
        from lightly.models import utils  # noqa: PLC0415
        from lightly.models.modules import heads  # noqa: PLC0415

        self.utils, self.method = utils, options.method
        views = transforms.VICRegTransform(
            input_size=options.size,
            cj_strength=1.0,
            cj_bright=0.4,
            cj_contrast=0.4,
            cj_sat=0.2,
            cj_hue=0.1,
            min_scale=0.2,
            gaussian_blur=0.0,
            normalize={"mean": list(MEAN), "std": list(STD)},
        )
        self.loader = loader_of(options, views)
        self.backbone = Narrow(options.width)
        wide = 8 * options.width
        plain = [(wide, HIDDEN, nn.BatchNorm1d(HIDDEN), nn.ReLU(inplace=True))]

        def one_hidden(head: nn.Module) -> nn.Module:
            """DINO's head as the benchmark has it: of two hidden layers one is left."""
            layers = [(wide, HIDDEN, nn.BatchNorm1d(HIDDEN), nn.GELU()), (HIDDEN, 256, None, None)]
            head.layers = heads.ProjectionHead(layers).layers
            return head

        siamese = heads.SimSiamPredictionHead(HIDDEN, HIDDEN // 4, HIDDEN)
        made: dict[str, Callable[[], tuple[nn.Module, nn.Module, nn.Module]]] = {
            "simclr": lambda: (
                heads.SimCLRProjectionHead(wide, HIDDEN, 128),
                nn.Identity(),
                loss.NTXentLoss(),
            ),
            "moco": lambda: (
                heads.MoCoProjectionHead(wide, HIDDEN, 128),
                nn.Identity(),
                loss.NTXentLoss(temperature=0.1, memory_bank_size=(4096, 128)),
            ),
            "simsiam": lambda: (
                heads.ProjectionHead([*plain, (HIDDEN, HIDDEN, nn.BatchNorm1d(HIDDEN), None)]),
                siamese,
                loss.NegativeCosineSimilarity(),
            ),
            "byol": lambda: (
                heads.BYOLProjectionHead(wide, 1024, 256),
                heads.BYOLPredictionHead(256, 1024, 256),
                loss.NegativeCosineSimilarity(),
            ),
            "barlow_twins": lambda: (
                heads.ProjectionHead([*plain, (HIDDEN, HIDDEN, None, None)]),
                nn.Identity(),
                loss.BarlowTwinsLoss(),
            ),
            "vicreg": lambda: (
                heads.ProjectionHead([*plain, (HIDDEN, HIDDEN, None, None)]),
                nn.Identity(),
                loss.VICRegLoss(),
            ),
            "dino": lambda: (
                one_hidden(heads.DINOProjectionHead(wide, HIDDEN, 256, 2048, batch_norm=True)),
                nn.Identity(),
                loss.DINOLoss(output_dim=2048),
            ),
        }
        self.head, self.predictor, self.loss = made[options.method]()
        slow_head, *_ = made[options.method]()
        slow_head.load_state_dict(self.head.state_dict())
        self.slow = nn.Sequential(copy.deepcopy(self.backbone), slow_head).requires_grad_(False)
        parts = (self.backbone, self.head, self.predictor)
        parameters = itertools.chain.from_iterable(part.parameters() for part in parts)
        self.optimiser = torch.optim.SGD(
            parameters, lr=options.lr or 0.06, momentum=0.9, weight_decay=5e-4
        )

    def train(self, epochs: int) -> None:
        """All epochs of a training."""
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimiser, epochs)
        for epoch in range(epochs):
            for _, views, _ in self.loader:
                if self.method in ("moco", "byol", "dino"):
                    self.utils.update_momentum(self.backbone, self.slow[0], 0.99)
                    self.utils.update_momentum(self.head, self.slow[1], 0.99)
                loss = self._loss(views, epoch)
                self.optimiser.zero_grad()
                loss.backward()
                self.optimiser.step()
            schedule.step()

    def _loss(self, views: list[Tensor], epoch: int) -> Tensor:
        z = [self.head(self.backbone(view)) for view in views]
        if self.method in ("simclr", "barlow_twins", "vicreg"):
            found: Tensor = self.loss(*z)
            return found
        if self.method == "simsiam":
            targets = [part.detach() for part in z]
        else:
            with torch.no_grad():
                targets = [self._slow(view) for view in views]
        if self.method == "dino":
            return self.loss(targets, z, epoch=epoch)
        p = [self.predictor(part) for part in z]
        return (self.loss(p[0], targets[1]) + self.loss(p[1], targets[0])) / 2

    def _slow(self, view: Tensor) -> Tensor:
        if self.method != "moco":
            found: Tensor = self.slow(view)
            return found
        shuffled, order = self.utils.batch_shuffle(view)
        return self.utils.batch_unshuffle(self.slow(shuffled), order)


class Solo:
    """One of solo-learn's methods, trained by PyTorch Lightning."""

    def __init__(self, options: argparse.Namespace, epochs: int) -> None:
        import torchvision.models  # noqa: PLC0415
        from solo import methods  # noqa: PLC0415
        from solo.utils.pretrain_dataloader import (  # noqa: PLC0415
            prepare_n_crop_transform,
            prepare_transform,
        )

        view = prepare_transform(
            "cifar10",
            brightness=0.4,
            contrast=0.4,
            saturation=0.2,
            hue=0.1,
            gaussian_prob=0.0,
            solarization_prob=0.1,
            min_scale=0.2,
            crop_size=options.size,
        )
        self.loader = loader_of(options, prepare_n_crop_transform([view], [2]))
        torchvision.models.resnet18 = lambda **_: Narrow(options.width)  # what it builds by name
        rate, decay, optimiser, own = SOLO[options.method]
        extra = {"momentum": 0.9} if optimiser != "adam" else {}
        if options.method == "dino":
            own = own | {"warmup_teacher_temperature_epochs": min(10, epochs - 1)}
        kind = methods.METHODS[options.method]
        if hasattr(kind, "momentum_pairs"):  # Lightning 1.9 leaves out the last argument
            ends = kind.on_train_batch_end
            kind.on_train_batch_end = lambda self, *given: ends(self, *given[:3], 0)
        # It has a method of another meaning under this name.
        kind.configure_gradient_clipping = lambda *_, **__: None
        self.method = kind(
            encoder="resnet18",
            num_classes=10,
            backbone_args={},
            max_epochs=epochs,
            batch_size=BATCH,
            optimizer="adam" if optimiser == "adam" else "sgd",
            lars=optimiser == "lars",
            grad_clip_lars=True,
            eta_lars=0.02,
            exclude_bias_n_norm=True,
            lr=(options.lr or rate) * BATCH / 256,
            weight_decay=decay,
            classifier_lr=0.1,
            accumulate_grad_batches=1,
            extra_optimizer_args=extra,
            scheduler="warmup_cosine",
            min_lr=0.0,
            warmup_start_lr=0.003,
            warmup_epochs=min(1, epochs - 1),
            num_large_crops=2,
            num_small_crops=0,
            proj_hidden_dim=HIDDEN,
            base_tau_momentum=0.99,
            final_tau_momentum=1.0,
            momentum_classifier=False,
            **own,
        )
        self.backbone = self.method.encoder

    def train(self, epochs: int) -> None:
        """All epochs of a training."""
        import pytorch_lightning  # noqa: PLC0415

        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        trainer = pytorch_lightning.Trainer(
            max_epochs=epochs, accelerator="cpu", enable_model_summary=False, **quiet
        )
        trainer.fit(self.method, self.loader)


def seconds_of_ours(options: argparse.Namespace) -> float:
    """Processor seconds of an epoch of one of our methods, as a run on CIFAR-10 has it."""
    images = load_images(options.folder.parent, limit=options.limit)
    config = MethodConfig(ExpanderConfig(HIDDEN, HIDDEN))
    setup = EncoderSetup(
        EncoderConfig(width=options.width, stem="cifar_pad1"),
        32,
        MEAN,
        STD,
        view_size=options.size,
    )
    budget = None if options.method.isalpha() else 0.3
    method = MethodPlan(options.method, setup, config, budget, options.seed).build()
    source = BatchSource(images.images, BATCH, torch.device("cpu"), options.seed)
    execution = Execution("cpu", "bf16", "channels_last")
    step = TrainingStep(method, TrainConfig(batch_size=BATCH), execution, source.batches_per_epoch)
    views = SeveralViews(RandomViews(ViewConfig(size=options.size)), method.view_count)
    found = []
    for epoch in range(3):
        began = time.process_time()
        train_epoch(step, source, views, epoch, lambda _: None)
        found.append(time.process_time() - began)
    return min(found)


def trained(options: argparse.Namespace) -> tuple[nn.Module, int, float]:
    """The network, the epochs that fitted and the processor seconds that they took."""

    def built(epochs: int) -> Lightly | Solo:
        torch.manual_seed(options.seed)
        return Lightly(options) if options.peer == "lightly" else Solo(options, epochs)

    def timed(epochs: int) -> tuple[Lightly | Solo, float]:
        peer = built(epochs)
        began = time.process_time()
        peer.train(epochs)
        return peer, time.process_time() - began

    epochs = options.epochs
    if not epochs:
        _, of_one = timed(2)
        epochs = max(2, int(options.seconds / (of_one / 2)))
    peer, seconds = timed(epochs)
    return peer.backbone.eval(), epochs, seconds


@torch.no_grad()
def accuracies(backbone: nn.Module, options: argparse.Namespace) -> tuple[float, float]:
    """Linear and 1-NN accuracy on frozen features, as the pipeline has them."""
    sides = []
    for split, limit in (("train", options.limit), ("eval", None)):
        found = load_images(options.folder.parent, split, seed=options.seed, limit=limit)
        pixels = torch.from_numpy(np.asarray(found.images)).split(256)
        mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
        features = [backbone((part.float() / 255 - mean) / std) for part in pixels]
        sides += [torch.cat(features).numpy(), found.labels]
    bank, bank_labels, queries, labels = sides
    linear = linear_probe_right(
        bank, bank_labels, queries, labels, ProbeConfig(), seed=options.seed
    )
    nearest = knn_right(bank, bank_labels, queries, labels)
    return float(linear.mean()), float(np.mean(nearest))


def main() -> None:
    """Train one method and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peer", choices=("lightly", "solo", "ours"))
    parser.add_argument("method")
    parser.add_argument("--folder", type=Path, required=True, help="train/, of class folders")
    parser.add_argument("--seconds", type=float, default=300.0, help="of the processor")
    parser.add_argument("--epochs", type=int, help="in place of as many as fit the seconds")
    parser.add_argument("--limit", type=int, default=10_000)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--size", type=int, default=24, help="px of the views")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lr", type=float, help="in place of the peer's own")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    name = f"{options.peer} {options.method}"
    if options.peer == "ours":
        print(f"{name}: {seconds_of_ours(options):.1f} s an epoch")
        return
    backbone, epochs, seconds = trained(options)
    linear, nearest = accuracies(backbone, options)
    print(
        f"{name}: {epochs} epochs in {seconds:.0f} s, linear {100 * linear:.1f}, "
        f"1-NN {100 * nearest:.1f}"
    )


if __name__ == "__main__":
    main()
