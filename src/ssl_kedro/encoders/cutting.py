"""Plain dense encoders made of parts of another one's weights."""

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
