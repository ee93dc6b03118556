"""Plain dense encoders made of parts of another one's weights."""

import functools
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.encoders.recalibration import recalibrated


def without_memory(shape: EncoderConfig, image_size: int) -> GatedResNet18:
    """A dense encoder of a shape that has no values, for its names, shapes and cost.

    Nothing is drawn from the global generator, as initial weights would be.
    """
    with torch.device("meta"):
        return GatedResNet18(shape, branches=("dense",), image_size=image_size)


def cut_encoder(
    thin: GatedResNet18,
    weights: Mapping[str, Tensor],
    images: np.ndarray,
    *,
    batch_size: int = 512,
    device: torch.device | str = "cpu",
) -> GatedResNet18:
    """An encoder with copies of weights, whose batch norms are re-estimated.

    Args:
        thin: from :func:`without_memory`; takes the weights over.
        weights: parameters and buffers by its names for them, such as views of another's.
        images: uint8 (N, 3, H, W), as are the next two for
            :func:`~ssl_kedro.encoders.recalibration.recalibrated`.
        batch_size: at most so many images a batch.
        device: where to re-estimate.

    Returns:
        The encoder, on the CPU, in evaluation mode.

    Raises:
        ValueError: no images.
    """
    own = {name: value.detach().cpu().clone() for name, value in weights.items()}
    thin.load_state_dict(own, assign=True)
    return recalibrated(thin, images, batch_size=batch_size, device=device)


def first_channels(encoder: GatedResNet18, shape: EncoderConfig) -> dict[str, Tensor]:
    """Parameters and buffers of a smaller network, as views of an encoder's.

    Each layer keeps the channels that come first, as many as the shape has; what was trained so
    that these are a network of their own can be cut so.

    Args:
        encoder: with a dense branch.
        shape: in no layer wider than its own.
    """
    state = encoder.state_dict(keep_vars=True)
    return {n: state[n][tuple(map(slice, size))] for n, size in _sizes(shape).items()}


def features_by(encoder: GatedResNet18, weights: Mapping[str, Tensor], images: Tensor) -> Tensor:
    """Features of a smaller network in training, with gradients to its weights alone.

    Batch norms take the batch's own moments and leave the running statistics as they are; in
    evaluation they would take those, which fit no smaller network: see :func:`cut_encoder`.

    Args:
        encoder: with a dense branch.
        weights: views of its own by :func:`first_channels`.
        images: (N, 3, H, W), uint8 or float in [0, 1].

    Returns:
        (N, D of the smaller network).
    """
    buffers = weights.keys() & {name for name, _ in encoder.named_buffers()}
    weights = dict(weights) | {name: weights[name].clone() for name in buffers}
    found: Tensor = torch.func.functional_call(encoder, weights, (images, "dense")).features
    return found


@functools.lru_cache(maxsize=4096)
def _sizes(shape: EncoderConfig) -> dict[str, torch.Size]:
    return {n: value.shape for n, value in without_memory(shape, 32).state_dict().items()}
