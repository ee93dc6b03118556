"""Fine-tuning: all weights of a trained encoder, and a linear layer, with some of the labels."""

import copy
import math
from dataclasses import dataclass, replace
from typing import Annotated, Literal, NamedTuple

import numpy as np
import torch

from ssl_kedro.augment.config import ViewConfig
from ssl_kedro.augment.views import RandomViews, SeveralViews
from ssl_kedro.core.config import EPOCHS, Config, ConfigError, Range
from ssl_kedro.core.seeding import derived_seed, weights_drawn
from ssl_kedro.encoders.base import Branch, Encoder
from ssl_kedro.encoders.classifier import Head
from ssl_kedro.evaluation.features import extract_features
from ssl_kedro.gating.budget import BudgetPenalty
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.images.subsets import label_count
from ssl_kedro.methods.classification import Classification
from ssl_kedro.training.batches import BatchSource
from ssl_kedro.training.config import Execution, TrainConfig
from ssl_kedro.training.loop import train


@dataclass(frozen=True)
class FineTuningConfig(Config):
    """Fine-tuning with few labels; the defaults are VICReg's for 1 % of ImageNet's labels.

    Bardes et al. 2022 (appendix D) and their ``evaluate.py``: SGD with momentum .9, half a cosine,
    no weight decay, random crops and flips, a rate for the encoder and one for the linear layer.
    For 10 % they take .01 and .1.

    Args:
        shares: of the labels.
        epochs: passes over the labelled images (20; SimCLR, Chen et al. 2020, B.5: 60 for 1 %, 30
            for 10 %).
        least_steps: epochs are added where so few labels make fewer steps (ImageNet's 1 % make
            about 1,000 in 20 epochs).
        batch_size: images a step (256); fewer labels make one batch.
        lr: learning rate of the linear layer, for a batch of whatever size (.08).
        encoder_lr: of the encoder, gates among it; 0 = its weights stay, and with norms "kept" its
            features as well (.03).
        scratch_lr: of all weights where they begin random: what labels alone are worth.
        momentum: of SGD (.9).
        gates: "frozen" = they decide as they do when deployed, and keep their weights, so that the
            cost stays near the budget; "trained" = with noise and the budget's penalty.
        norms: "follow" = batch norms use and learn the statistics of the labelled images (both
            papers); "kept" = those of the training without labels stay.
    """

    shares: tuple[Annotated[float, Range(above=0, at_most=1)], ...] = (0.01, 0.1, 1.0)
    epochs: Annotated[int, EPOCHS] = 20
    least_steps: Annotated[int, Range(at_least=0, at_most=100_000)] = 1000
    batch_size: Annotated[int, Range(at_least=2, at_most=65_536)] = 256
    lr: Annotated[float, Range(above=0, at_most=5)] = 0.08
    encoder_lr: Annotated[float, Range(at_least=0, at_most=5)] = 0.03
    scratch_lr: Annotated[float, Range(above=0, at_most=5)] = 0.03
    momentum: Annotated[float, Range(at_least=0, below=1)] = 0.9
    gates: Literal["frozen", "trained"] = "frozen"
    norms: Literal["follow", "kept"] = "follow"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.shares or len(set(self.shares)) < len(self.shares):
            raise ConfigError("shares", list(self.shares), "at least one share, each once")
        if self.gates == "trained" and not self.encoder_lr:
            expected = 'above 0, which is the rate of gates as well, or gates = "frozen"'
            raise ConfigError("encoder_lr", self.encoder_lr, expected)

    @property
    def from_scratch(self) -> "FineTuningConfig":
        """The recipe of a network with random weights: as many steps, one rate."""
        return replace(self, lr=self.scratch_lr, encoder_lr=self.scratch_lr, norms="follow")

    def label_counts(self, images: int, classes: int, key: str = "shares") -> dict[str, int]:
        """How many labels each share is, by its text; none may leave classes without a label.

        Args:
            images: to train with.
            classes: among them.
            key: of the shares.

        Raises:
            ConfigError: naming the key.
        """
        found = {str(share): label_count(share, images) for share in self.shares}
        for share in self.shares:
            if found[str(share)] < classes:
                least = f"at least {classes / images:.4g}, one label for each of {classes} classes"
                expected = f"shares of {least}; there are {images} training images"
                raise ConfigError(key, share, expected)
        return found

    def recipe(self, images: int) -> TrainConfig:
        """The training recipe for so many labelled images."""
        batch = max(2, min(self.batch_size, images))
        least = math.ceil(self.least_steps / max(1, images // batch))
        return TrainConfig(
            epochs=max(self.epochs, least),
            batch_size=batch,
            optimiser="sgd",
            lr=self.lr * 256 / batch,  # which the training scales to the batch
            warmup_epochs=0,
            momentum=self.momentum,
            weight_decay=0.0,
        )


class FineTuned(NamedTuple):
    """An encoder in evaluation mode, on the CPU, and the linear layer that names its features."""

    encoder: Encoder
    head: Head


def fine_tuned(
    encoder: Encoder,
    branch: Branch,
    images: ImageSet,
    config: FineTuningConfig,
    views: ViewConfig,
    *,
    seed: int,
    execution: Execution | None = None,
    penalty: BudgetPenalty | None = None,
    label: str = "fine-tuning",
) -> FineTuned:
    """An encoder whose branch learns the names of labelled images; the one given stays as it is.

    Args:
        encoder: to begin with.
        branch: that learns; the other keeps its own norms but shares the weights.
        images: labelled, all of them used.
        config: the recipe.
        views: geometry of the crops; colours are left as they are.
        seed: of the linear layer, order and crops.
        execution: device and precision; None = CPU, fp32.
        penalty: of gates that are trained.
        label: name on the progress bar.

    Raises:
        ValueError: no labels, no such branch, or gates to be trained without a penalty.
        TrainingDiverged: loss or gradients are not finite.
    """
    if images.labels is None:
        raise ValueError("fine-tuning needs labels")
    learn = branch == "gated" and config.gates == "trained"
    if learn and penalty is None:
        raise ValueError("gates that are trained need the penalty of a budget")
    execution = execution or Execution("cpu", "fp32")
    recipe, device = config.recipe(len(images)), torch.device(execution.device)
    learner = copy.deepcopy(encoder)
    learner.classifier = None  # its layers name features that are no longer these
    with weights_drawn(seed, "fine-tuning", branch):
        method = Classification(
            learner,
            branch,
            torch.from_numpy(images.labels),
            len(images.class_names),
            encoder_rate=config.encoder_lr / config.lr,
            norms_follow=config.norms == "follow",
            penalty=penalty if learn else None,
        )
    # Each training is short: compiling and recording it would take longer than they save.
    result = train(
        method,
        BatchSource(images.images, recipe.batch_size, device, derived_seed(seed, "fine-tuning")),
        SeveralViews(RandomViews(views.geometry), method.view_count),
        recipe,
        execution=replace(execution, compiled=False, recorded=False),
        label=label,
    )
    head = result.method.head
    return FineTuned(
        result.method.encoder.requires_grad_(True),
        Head(head.weight.detach().T.contiguous(), head.bias.detach().clone()),
    )


def named_rightly(
    found: FineTuned, branch: Branch, images: ImageSet, *, device: torch.device | str = "cpu"
) -> tuple[np.ndarray, float]:
    """Which images are given their class, boolean (N,), and the mean MACs of an image.

    Gates decide as they do when deployed. The dense branch costs the same for every image.
    """
    encoder = found.encoder
    seen = extract_features(encoder, images.images, branch, device=device, label="fine-tuned")
    logits = torch.from_numpy(seen.features) @ found.head.weight + found.head.bias
    dense = encoder.cost(images.images.shape[-1]).dense
    macs = float(dense if seen.gates is None else seen.gates.macs.mean())
    return np.asarray(logits.argmax(dim=1).numpy() == images.labels), macs
