"""Linear evaluation: one linear layer on frozen features."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from torch import Tensor

from ssl_kedro.augment.config import ViewConfig
from ssl_kedro.augment.views import RandomViews
from ssl_kedro.core.config import EPOCHS, PROBABILITY, RATE, STRENGTH, Config, Range
from ssl_kedro.core.progress import progress_bar
from ssl_kedro.core.seeding import torch_generator
from ssl_kedro.encoders.base import Branch, Encoder


@dataclass(frozen=True)
class ProbeConfig(Config):
    """Recipe of the linear probe (thesis 6.3.1).

    Args:
        epochs: passes over the training features (100).
        batch_size: features a step (512); fewer features make one batch.
        lr: learning rate of SGD (0.3).
        milestones: shares of the epochs after which the rate falls (60 and 80 of 100).
        decay: factor at each milestone (0.1).
        momentum: of SGD (0.9, solo-learn).
        weight_decay: of SGD (0).
        runs: repetitions with other initial weights and order; mean and std are over
            them (5).
        features: "cached" = features of the plain images, extracted once; "augmented" =
            features of a new random crop and flip of every image each epoch, the authors'
            way, which costs a pass through the encoder an epoch.
    """

    epochs: Annotated[int, EPOCHS] = 100
    batch_size: Annotated[int, Range(at_least=1)] = 512
    lr: Annotated[float, RATE] = 0.3
    milestones: tuple[Annotated[float, PROBABILITY], ...] = (0.6, 0.8)
    decay: Annotated[float, PROBABILITY] = 0.1
    momentum: Annotated[float, Range(at_least=0, below=1)] = 0.9
    weight_decay: Annotated[float, STRENGTH] = 0.0
    runs: Annotated[int, Range(at_least=1, at_most=100)] = 5
    features: Literal["cached", "augmented"] = "cached"


# Epoch -> batches of (features (R or 1, B, D), labels (R or 1, B)), R being the runs.
ProbeBatches = Callable[[int], Iterator[tuple[Tensor, Tensor]]]


class LinearProbe:
    """R independent linear classifiers trained side by side.

    All runs share one batched matrix product a step, which costs little more than a single
    run; each has its own initial weights. Gradients are written out: softmax cross-entropy
    of a linear layer has a closed form.

    Args:
        dimensions: D.
        classes: K.
        config: the recipe.
        seed: of the initial weights.
        device: where to compute.
    """

    def __init__(
        self,
        dimensions: int,
        classes: int,
        config: ProbeConfig,
        seed: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self.config = config
        bound = dimensions**-0.5
        shape = (config.runs, dimensions, classes)
        generator = torch_generator(seed, "probe weights")
        # nn.Linear's initialisation, uniform in +-1/sqrt(D).
        self.weight = ((torch.rand(shape, generator=generator) * 2 - 1) * bound).to(device)
        bias = torch.rand((config.runs, 1, classes), generator=generator) * 2 - 1
        self.bias = (bias * bound).to(device)
        self._weight_momentum = torch.zeros_like(self.weight)
        self._bias_momentum = torch.zeros_like(self.bias)

    def learning_rate(self, epoch: int) -> float:
        """Rate in an epoch counted from 0."""
        passed = sum(epoch >= m * self.config.epochs for m in self.config.milestones)
        return self.config.lr * self.config.decay**passed

    @torch.inference_mode()
    def step(self, features: Tensor, labels: Tensor, lr: float) -> None:
        """One SGD step of every run on its own (or a shared) batch.

        Args:
            features: (R or 1, B, D).
            labels: (R or 1, B) int64.
            lr: learning rate.
        """
        error = torch.softmax(self.logits(features), dim=2)
        index = labels.expand(len(error), -1)[:, :, None]
        error.scatter_add_(2, index, torch.full_like(index, -1, dtype=error.dtype))
        error /= features.shape[1]
        weight_gradient = features.transpose(1, 2) @ error
        weight_gradient += self.config.weight_decay * self.weight
        self._weight_momentum.mul_(self.config.momentum).add_(weight_gradient)
        self._bias_momentum.mul_(self.config.momentum).add_(error.sum(dim=1, keepdim=True))
        self.weight -= lr * self._weight_momentum
        self.bias -= lr * self._bias_momentum

    def logits(self, features: Tensor) -> Tensor:
        """Scores (R, B, K) of features (R or 1, B, D)."""
        scores: Tensor = features @ self.weight + self.bias
        return scores

    @torch.inference_mode()
    def fit(self, batches: ProbeBatches, label: str = "linear probe") -> None:
        """Train for the configured epochs."""
        with progress_bar(self.config.epochs, label, "epochs") as bar:
            for epoch in range(self.config.epochs):
                lr = self.learning_rate(epoch)
                for features, labels in batches(epoch):
                    self.step(features, labels, lr)
                bar.update(1)

    @torch.inference_mode()
    def right(self, features: Tensor, labels: Tensor) -> Tensor:
        """Which of the features (N, D) each run gives their class, (R, N) boolean."""
        parts = zip(torch.split(features, 4096), torch.split(labels, 4096), strict=True)
        found = [self.logits(part[None]).argmax(dim=2) == truth for part, truth in parts]
        return torch.cat(found, dim=1)


def cached_batches(
    features: Tensor, labels: Tensor, config: ProbeConfig, seed: int
) -> ProbeBatches:
    """Batches of features (N, D) that were extracted once; every run has its own order."""

    def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        draws = [torch_generator(seed, "probe order", run, epoch) for run in range(config.runs)]
        orders = torch.stack([torch.randperm(len(features), generator=draw) for draw in draws])
        for order in torch.split(orders.to(features.device), config.batch_size, dim=1):
            yield features[order], labels[order]

    return batches


def augmented_batches(
    encoder: Encoder,
    images: np.ndarray,
    labels: np.ndarray,
    branch: Branch,
    config: ProbeConfig,
    crops: ViewConfig,
    *,
    seed: int,
    device: torch.device | str = "cpu",
) -> ProbeBatches:
    """Features of a fresh crop and flip of every image each epoch.

    The runs of the probe share the views and their order, so that an epoch costs one pass
    through the encoder; they differ in their initial weights.

    Args:
        encoder: frozen, put in evaluation mode.
        images: uint8 (N, 3, H, W).
        labels: (N,) int.
        branch: "dense" or "gated".
        config: the probe's recipe.
        crops: geometry of the views, in the size of the images; colours are left as they are.
        seed: of order and views.
        device: where to compute.
    """
    encoder = encoder.to(device).eval()
    views = RandomViews(crops.geometry)
    targets = torch.from_numpy(np.asarray(labels, dtype=np.int64)).to(device)

    def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(images), generator=torch_generator(seed, "probe order", epoch))
        noise = torch_generator(seed, "probe views", epoch, device=device)
        for indices in torch.split(order, config.batch_size):
            batch = torch.from_numpy(np.array(images[indices.numpy()])).to(device)
            features = encoder(views(batch, noise), branch).features
            yield features[None], targets[indices.to(device)][None]

    return batches


def fitted_probe(
    bank: np.ndarray,
    bank_labels: np.ndarray,
    classes: int,
    config: ProbeConfig,
    *,
    seed: int,
    batches: ProbeBatches | None = None,
    device: torch.device | str = "cpu",
    label: str = "linear probe",
) -> LinearProbe:
    """A trained probe of so many classes; see :func:`linear_probe_right`."""
    probe = LinearProbe(bank.shape[1], classes, config, seed, device)
    if batches is None:
        features = torch.from_numpy(np.ascontiguousarray(bank)).to(device)
        labels = torch.from_numpy(np.asarray(bank_labels, dtype=np.int64)).to(device)
        batches = cached_batches(features, labels, config, seed)
    probe.fit(batches, label)
    return probe


def linear_probe_right(
    bank: np.ndarray,
    bank_labels: np.ndarray,
    queries: np.ndarray,
    query_labels: np.ndarray,
    config: ProbeConfig,
    *,
    seed: int,
    batches: ProbeBatches | None = None,
    device: torch.device | str = "cpu",
    label: str = "linear probe",
) -> np.ndarray:
    """Which queries each run of the probe gives their class, (R, Q) boolean.

    Args:
        bank: training features (N, D).
        bank_labels: (N,) int, in [0, K).
        queries: evaluation features (Q, D).
        query_labels: (Q,) int.
        config: the recipe.
        seed: of weights and order.
        batches: where training batches come from; None = the cached ``bank``.
        device: where to compute.
        label: name on the progress bar.
    """
    classes = int(max(bank_labels.max(), query_labels.max())) + 1
    probe = fitted_probe(
        bank, bank_labels, classes, config, seed=seed, batches=batches, device=device, label=label
    )
    asked = torch.from_numpy(np.ascontiguousarray(queries)).to(device)
    truth = torch.from_numpy(np.asarray(query_labels, dtype=np.int64)).to(device)
    return probe.right(asked, truth).cpu().numpy()
