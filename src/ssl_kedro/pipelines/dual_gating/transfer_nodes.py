"""Nodes of Table 6.2: frozen encoders on images of another data set."""

from __future__ import annotations

from typing import Any

from ssl_kedro.encoders.base import Encoder
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters
from ssl_kedro.pipelines.gated.nodes import extract, labelled_probe

Json = dict[str, Any]


def evaluate_transfer(
    parameters: DualGatingParameters,
    encoder: Encoder,
    train_images: ImageSet,
    eval_images: ImageSet,
    *,
    seed: int,
) -> Json:
    """Linear evaluation of every branch on a target; the images come at the source's size."""
    if train_images.labels is None or eval_images.labels is None:
        raise ValueError(
            f"the transfer target {train_images.source!r} has no labels; linear evaluation "
            "needs them: give one folder a class, or leave it out of transfer.targets"
        )
    features = extract(parameters, encoder, train_images, eval_images)
    return {
        branch: labelled_probe(
            parameters,
            parameters.probe,
            encoder,
            branch,
            features,
            train_images,
            eval_images,
            seed,
        )
        for branch in encoder.branches
    }
