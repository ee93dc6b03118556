"""Accuracies and costs of a frozen encoder, and what any trained one has to beat."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from ssl_kedro.augment.config import ViewConfig
from ssl_kedro.core.seeding import derived_seed
from ssl_kedro.encoders.base import Branch, Encoder
from ssl_kedro.evaluation.features import BlockUsage, channel_usage, extract_features, gate_record
from ssl_kedro.evaluation.knn import KnnConfig, knn_right
from ssl_kedro.evaluation.linear_probe import (
    ProbeConfig,
    augmented_batches,
    linear_probe_right,
)
from ssl_kedro.images.image_set import ImageSet

# Features and labels of the training part, then of the evaluation part.
_Sides = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Accuracies:
    """Top-1 accuracies of one branch in [0, 1]; None where there are no labels, or was not asked.

    Args:
        knn_top1: of the nearest neighbours, as the run has them.
        knn_normalised_top1: of those among L2-normalised features.
        linear_top1: of the linear probe, one a run.
    """

    knn_top1: float | None = None
    knn_normalised_top1: float | None = None
    linear_top1: tuple[float, ...] | None = None

    def flat(self) -> dict[str, float]:
        """What there is of knn_top1 and linear_top1_mean, the mean over the probe's runs."""
        found = {} if self.knn_top1 is None else {"knn_top1": self.knn_top1}
        if self.linear_top1 is not None:
            found["linear_top1_mean"] = statistics.fmean(self.linear_top1)
        return found


@dataclass(frozen=True)
class Costs:
    """Multiply-accumulates of an image.

    Args:
        dense: of the whole network with every channel.
        own: of this network with every channel; a student may be narrower.
        gated_mean: mean over the evaluation images of what the gates leave; None without gates.
        flop_reduction: 1 - gated_mean / dense.
    """

    dense: int
    own: int
    gated_mean: float | None = None
    flop_reduction: float | None = None


@dataclass(frozen=True)
class Evaluator:
    """Labelled images, and how features of them are evaluated; accuracies are top-1 in [0, 1].

    Args:
        bank: training images.
        queries: evaluation images.
        knn: the nearest-neighbour search.
        probe: the linear probe; None = there is none.
        views: geometry of the probe's crops, where it augments.
        seed: of the probe.
        device: where to compute.

    Raises:
        ValueError: there are no labels.
    """

    bank: ImageSet
    queries: ImageSet
    knn: KnnConfig
    probe: ProbeConfig | None
    views: ViewConfig
    seed: int
    device: torch.device | str = "cpu"

    def __post_init__(self) -> None:
        if self.bank.labels is None or self.queries.labels is None:
            raise ValueError("accuracies need labels")

    def accuracies(
        self, encoder: Encoder, branch: Branch, features: Mapping[str, np.ndarray]
    ) -> Accuracies:
        """Linear probe and nearest neighbours of one branch; L2-normalised features as well.

        Args:
            encoder: frozen.
            branch: "dense" or "gated".
            features: of both parts, from :func:`~ssl_kedro.evaluation.features.branch_arrays`.
        """
        parts = features[f"{branch}.train"], features[f"{branch}.eval"]
        nearest = {
            normalise: self.nearest(*parts, normalise) for normalise in {self.knn.normalise, True}
        }
        linear = None if self.probe is None else self.linear(encoder, branch, features)
        return Accuracies(nearest[self.knn.normalise], nearest[True], linear)

    def nearest(self, known: np.ndarray, asked: np.ndarray, normalise: bool | None = None) -> float:
        """Nearest neighbours of features (N, D); ``normalise`` None = as ``knn`` says."""
        normalise = self.knn.normalise if normalise is None else normalise
        sides = self._with_labels(known, asked)
        right = knn_right(*sides, k=self.knn.k, normalise=normalise, device=self.device)
        return float(right.mean())

    def linear(
        self, encoder: Encoder, branch: Branch, features: Mapping[str, np.ndarray]
    ) -> tuple[float, ...]:
        """The probe on one branch, one accuracy a run; see :meth:`accuracies`."""
        if self.probe is None:
            raise ValueError("linear evaluation needs a probe")
        sides = self._with_labels(features[f"{branch}.train"], features[f"{branch}.eval"])
        batches = None
        if self.probe.features == "augmented":
            batches = augmented_batches(
                encoder,
                self.bank.images,
                sides[1],
                branch,
                self.probe,
                self.views,
                seed=derived_seed(self.seed, "probe", branch),
                device=self.device,
            )
        right = linear_probe_right(
            *sides,
            self.probe,
            seed=self.seed,
            batches=batches,
            device=self.device,
            label=f"linear, {branch}",
        )
        return tuple(right.mean(axis=1).tolist())

    def right(self, known: np.ndarray, asked: np.ndarray) -> dict[str, np.ndarray]:
        """Which evaluation images are named rightly by features of whole images.

        Args:
            known: of the training images, (N, D).
            asked: of the evaluation images, (Q, D).

        Returns:
            "knn": boolean (Q,); with a probe "linear": boolean (R, Q), one row a run.
        """
        sides, recipe = self._with_labels(known, asked), vars(self.knn)
        found = {"knn": knn_right(*sides, **recipe, device=self.device)}
        if self.probe is not None:
            found["linear"] = linear_probe_right(
                *sides, self.probe, seed=self.seed, device=self.device
            )
        return found

    def pixels(self) -> float:
        """Nearest neighbours among the pixels themselves.

        Images above 32 px are averaged down to 32 px first: neighbours in tens of thousands of
        correlated dimensions are no better, and need gigabytes.
        """
        return self.nearest(small_pixels(self.bank.images), small_pixels(self.queries.images))

    def untrained(self, encoder: Encoder) -> float:
        """Nearest neighbours among the dense features of an encoder that learnt nothing."""
        known, asked = (
            extract_features(
                encoder, images.images, "dense", device=self.device, label="random encoder"
            ).features
            for images in (self.bank, self.queries)
        )
        return self.nearest(known, asked)

    def chance(self) -> float:
        """Accuracy of always naming the most frequent class."""
        labels = np.asarray(self.queries.labels)
        return float(np.bincount(labels).max() / len(labels))

    def _with_labels(self, known: np.ndarray, asked: np.ndarray) -> _Sides:
        return known, np.asarray(self.bank.labels), asked, np.asarray(self.queries.labels)


def branch_costs(
    encoder: Encoder, features: Mapping[str, np.ndarray], image_size: int, whole: int
) -> tuple[Costs, tuple[BlockUsage, ...]]:
    """Cost of an encoder, and how its gates used the channels of the evaluation images.

    Args:
        encoder: dense, gated or both.
        features: what the gates did, from :func:`~ssl_kedro.evaluation.features.branch_arrays`.
        image_size: side in px.
        whole: MACs of the whole dense network.
    """
    own = encoder.cost(image_size).dense
    if "gated" not in encoder.branches:
        return Costs(whole, own), ()
    record = gate_record(features, "eval")
    mean = float(record.macs.mean())
    return Costs(whole, own, mean, 1 - mean / whole), tuple(channel_usage(record))


def small_pixels(images: np.ndarray, side: int = 32, block: int = 1024) -> np.ndarray:
    """Pixels in [0, 1] as (N, 3 s s) float32, averaged down to at most ``side`` px."""
    found = np.empty((len(images), 3 * min(side, images.shape[-1]) ** 2), dtype=np.float32)
    for start in range(0, len(images), block):
        batch = torch.from_numpy(np.array(images[start : start + block])).float() / 255
        if batch.shape[-1] > side:
            batch = torch.nn.functional.adaptive_avg_pool2d(batch, side)
        found[start : start + block] = batch.flatten(1).numpy()
    return found
