"""The linear layers that an evaluation trains, kept with class names."""

from collections.abc import Mapping

import numpy as np
import torch

from ssl_kedro.core.errors import InputError
from ssl_kedro.encoders.base import Branch, Encoder
from ssl_kedro.encoders.classifier import Classifier, Head
from ssl_kedro.evaluation.linear_probe import ProbeConfig, fitted_probe
from ssl_kedro.images.image_set import ImageSet


def check_labels(images: ImageSet) -> np.ndarray:
    """The labels of images, int (N,).

    Raises:
        InputError: there are none.
    """
    if images.labels is None:
        raise InputError(
            images.source,
            "images without labels",
            "labels, to train a linear layer with",
            "give one folder a class",
        )
    return images.labels


def trained_classifier(
    encoder: Encoder,
    features: Mapping[str, np.ndarray],
    images: ImageSet,
    config: ProbeConfig,
    *,
    seed: int,
    device: torch.device | str = "cpu",
) -> Classifier:
    """The linear probe of each branch, of its first run: none is chosen by the evaluation images.

    It is trained on features of whole images, as the evaluation does unless its probe augments.

    Args:
        encoder: whose features they are.
        features: "<branch>.train" float32 (N, D), as ``branch_arrays`` makes them.
        images: the training images, with labels.
        config: the probe's recipe.
        seed: of the probe.
        device: where to compute.

    Raises:
        InputError: there are no labels.
    """
    labels, heads = check_labels(images), dict[Branch, Head]()
    for branch in encoder.branches:
        probe = fitted_probe(
            features[f"{branch}.train"],
            labels,
            len(images.class_names),
            config,
            seed=seed,
            device=device,
            label=f"head, {branch}",
        )
        heads[branch] = Head(probe.weight[0].cpu().clone(), probe.bias[0, 0].cpu().clone())
    return Classifier(images.class_names, heads)
