"""The library's verbs for a notebook or a script; :mod:`ssl_kedro` offers them."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
import torch

from ssl_kedro.augment.config import ViewConfig
from ssl_kedro.augment.views import RandomViews, SeveralViews
from ssl_kedro.core.config import NOT_NEGATIVE, ConfigError
from ssl_kedro.core.errors import InputError
from ssl_kedro.core.form import is_whole
from ssl_kedro.encoders.base import Branch, Encoder
from ssl_kedro.encoders.classifier import with_classifier
from ssl_kedro.encoders.starting import set_pixel_statistics
from ssl_kedro.evaluation.classifier import check_labels, trained_classifier
from ssl_kedro.evaluation.features import branch_arrays
from ssl_kedro.evaluation.linear_probe import ProbeConfig
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.methods.base import Method
from ssl_kedro.retrieval.embeddings import FeatureNetwork, image_files
from ssl_kedro.retrieval.extraction import ExtractConfig
from ssl_kedro.training.batches import BatchSource
from ssl_kedro.training.checkpoints import CheckpointStore
from ssl_kedro.training.config import TrainConfig, recipe_identity
from ssl_kedro.training.execution import choose_execution
from ssl_kedro.training.loop import TrainingResult, some_images
from ssl_kedro.training.loop import train as train_method

M = TypeVar("M", bound=Method)
# The thesis warms up over 10 of 500 epochs; a training of few epochs over a tenth of them.
_LONGEST_WARMUP = 10
# Images that are embedded at a time by a thread.
_AT_ONCE = 32


@dataclass(frozen=True)
class Recipe(TrainConfig):
    """Recipe of a training: thesis 6.3.1, with a warm-up that fits a short one.

    Fields are those of :class:`~ssl_kedro.training.config.TrainConfig`.

    Args:
        warmup_epochs: linear warm-up; None = 10, or a tenth of a training that is shorter than 100.
    """

    warmup_epochs: Annotated[float, NOT_NEGATIVE] | None = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.warmup_epochs is None:
            object.__setattr__(self, "warmup_epochs", min(_LONGEST_WARMUP, self.epochs / 10))
        super().__post_init__()


@dataclass(frozen=True)
class Trained(TrainingResult[M]):
    """What a training leaves behind, in evaluation mode, on the CPU.

    Fields are those of :class:`~ssl_kedro.training.loop.TrainingResult`.
    """

    @property
    def encoder(self) -> Encoder:
        """The method's encoder, with its ``dense`` and ``gated`` features."""
        return self.method.encoder


def train(
    method: M,
    images: ImageSet,
    views: ViewConfig | None = None,
    recipe: TrainConfig | None = None,
    *,
    seed: int = 0,
    checkpoint: str | Path | None = None,
) -> Trained[M]:
    """Train a method on images, in this process.

    The encoder takes over the images' mean and deviation, which it normalises its input by, unless
    it began with trained weights.

    Args:
        method: freshly built, such as ``ssl.methods.DualGating(...)``; trained in place.
        images: what it learns from; labels are not looked at.
        views: recipe of the two random views; None = thesis 6.3.1. Smaller ones than the images
            (``size``) train faster.
        recipe: epochs, batch size, optimiser; None = thesis 6.3.1. What it leaves to a trial
            ("auto") may come out differently the next time; equal numbers need it named.
        seed: of order, views and gate noise. Weights are drawn when the method is built.
        checkpoint: file that keeps the state after every epoch; with ``Recipe(resume=True)`` a
            training goes on from it.

    Raises:
        ConfigError: a recipe for several processes, which only pipelines start, or with batches
            that the method cannot take.
        InputError: neither images nor views have the size that the encoder was made for.
        BatchSizeError: fewer images than a batch.
        TrainingDiverged: loss or gradients are not finite. The last checkpoint is intact.
    """
    views, recipe = views or ViewConfig(), recipe or Recipe()
    if recipe.processes > 1:
        raise ConfigError("workers", recipe.processes, "1: pipelines train in several processes")
    method.check_batch(method.config, recipe.batch_size, 1)
    whole = images.images.shape[-1]
    if is_whole(images.images):
        whole = method.encoder.image_size
        views = replace(views, size=views.size or whole)
    side = views.size or whole
    if method.encoder.image_size not in (side, whole):
        raise InputError(
            "images",
            f"{whole} px, and views of {side} px",
            f"{method.encoder.image_size}, which the encoder was made for",
            f"make it with image_size={whole}, or load the images with another size",
        )
    if not method.begins_trained:
        set_pixel_statistics(method, *images.channel_statistics())
    method.view_size = side
    execution = choose_execution(method, (3, side, side), recipe)
    described = {"views": asdict(views), "train": asdict(recipe), "method": asdict(method.config)}
    result = train_method(
        method,
        BatchSource(images.images, recipe.batch_size, torch.device(execution.device), seed),
        SeveralViews(RandomViews(views), method.view_count),
        recipe,
        execution=execution,
        label=method.name,
        identity=recipe_identity(described)
        | {"name": method.name, "seed": seed, "images": images.fingerprint()}
        | ({} if side == method.encoder.image_size else {"image_size": method.encoder.image_size})
        | execution.identity,
        checkpoints=None if checkpoint is None else CheckpointStore(Path(checkpoint)),
    )
    result.method.after_training(some_images(images.images, seed, method.encoder.image_size))
    return Trained(result.method, result.history, result.seconds)


def add_classifier(
    encoder: Encoder, images: ImageSet, probe: ProbeConfig | None = None, *, seed: int = 0
) -> Encoder:
    """A copy of an encoder that names classes: ``.classify(...)``, also after it was saved.

    Args:
        encoder: trained.
        images: with labels, of the encoder's size.
        probe: recipe of the linear layer on each branch's features; None = thesis 6.3.1.
        seed: of the linear layer.

    Raises:
        InputError: there are no labels, or images of another size.
    """
    check_labels(images)
    if (side := images.images.shape[-1]) != encoder.image_size:
        raise InputError(
            "images",
            f"{side} px",
            f"{encoder.image_size}, which the encoder was made for",
            "load the images with that size",
        )
    features = branch_arrays(encoder, {"train": images.images})
    recipe = probe or ProbeConfig(runs=1)
    return with_classifier(
        encoder, trained_classifier(encoder, features, images, recipe, seed=seed)
    )


def embed(
    encoder: Encoder,
    folder: str | Path,
    *,
    branch: Branch | None = None,
    budget: float | None = None,
    device: str = "auto",
) -> tuple[list[str], np.ndarray]:
    """Paths and features of all images of a folder, at any depth; files that cannot be read lack.

    All in memory; ``--tags embed`` of the pipelines has a file for millions.

    Args:
        encoder: trained.
        folder: of images, or one image.
        branch: "dense" or "gated"; None = dense, where the encoder has that.
        budget: share of the dense MACs, of an encoder for every budget.
        device: "auto" = CUDA where there is one.

    Returns:
        Paths below the folder, sorted, and float32 (N, D).

    Raises:
        InputError: nothing is there, or no image.
        ConfigError: the encoder has no such branch, or none of such a budget.
    """
    files = image_files(Path(folder).expanduser(), "folder")
    network = FeatureNetwork.of(encoder, branch, budget)
    found = network.vectors(files, ExtractConfig(device=device, batch_size=_AT_ONCE))
    return files.names.chosen(np.flatnonzero(found.counts))[:], found.vectors
