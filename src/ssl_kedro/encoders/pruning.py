"""Channels removed from a finished dense encoder: what toolkits offer without another training."""

import dataclasses
import itertools

import numpy as np
import torch
from torch import Tensor

from ssl_kedro.encoders.cutting import cut_encoder, without_memory
from ssl_kedro.encoders.folding import folded
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18


def pruned(
    encoder: GatedResNet18,
    budget: float,
    images: np.ndarray,
    *,
    image_size: int | None = None,
    device: torch.device | str = "cpu",
) -> GatedResNet18:
    """The dense branch without the inner channels of smallest norm, as a thinner dense encoder.

    A channel's norm is the L2 norm of its filter in the block's first convolution (Li et al. 2017,
    "Pruning Filters for Efficient ConvNets", 3.1, there L1), batch norm folded in: what it does to
    the map is filter times scale, and the scale alone ranks channels in Liu et al. 2017 ("Learning
    Efficient Convolutional Networks through Network Slimming"). One ranking holds for the whole
    network. Filters of different layers have different sizes and scales, so that each norm is
    divided by the root mean square of its layer. Molchanov et al. 2017 ("Pruning Convolutional
    Neural Networks for Resource Efficient Inference", 2.2) divide by the root of the sum, by which
    a layer of many channels loses them first: at 30 % that cost 3 points of 1-NN in a short VICReg
    (width 8, 5,000 CIFAR-10 images, one seed). Batch norms are re-estimated afterwards; weights
    are not trained again.

    Args:
        encoder: with a dense branch; left as it was.
        budget: largest share of its dense MACs, in (0, 1].
        images: uint8 (N, 3, H, W), for the batch norms, such as 2,000 training images.
        image_size: side in px at which MACs are counted; None = that of the training images.
        device: where to re-estimate batch norms.

    Returns:
        The encoder, of which each layer keeps at least one channel, in evaluation mode.

    Raises:
        ValueError: the budget is no share, or below what one channel a block costs.
    """
    encoder.check_branch("dense")
    kept = _kept_channels(encoder, budget, image_size)
    plain = EncoderConfig(**dataclasses.asdict(encoder.config))
    shape = plain.thinned([len(channels) for channels in kept])
    thin, whole = without_memory(shape, encoder.image_size), encoder.state_dict()
    weights = {name: whole[name] for name in thin.state_dict()}
    layers = itertools.product(encoder.blocks, range(1, encoder.config.masks_a_block + 1))
    for (name, number), channels in zip(layers, kept, strict=True):
        block = f"blocks.{name}"
        for part, value in weights.items():
            if part.startswith((f"{block}.conv{number}.", f"{block}.bn{number}.")) and value.ndim:
                weights[part] = value[channels]
        behind = f"{block}.conv{number + 1}.weight"
        weights[behind] = weights[behind][:, channels]
    return cut_encoder(thin, weights, images, device=device)


def channel_norms(encoder: GatedResNet18) -> list[Tensor]:
    """Norm of every inner channel relative to its layer's root mean square, (C_l,) a mask."""
    norms = []
    layers = (layer for _, block in encoder.residual_blocks() for layer in block.layers()[:-1])
    for conv, of_branch in layers:
        filters = folded(conv, of_branch["dense"]).weight.flatten(1)
        own = torch.linalg.vector_norm(filters, dim=1)
        norms.append(own / own.square().mean().sqrt().clamp(min=1e-12))
    return norms


def _kept_channels(
    encoder: GatedResNet18, budget: float, image_size: int | None
) -> list[list[int]]:
    """Channels behind each mask, ascending, that are left once the cost meets the budget.

    Raises:
        ValueError: it cannot.
    """
    if not 0 < budget <= 1:
        raise ValueError(f"budget = {budget}: expected a share of the dense MACs in (0, 1]")
    cost = encoder.cost(image_size)
    norms = channel_norms(encoder)
    largest = [int(norm.argmax()) for norm in norms]
    places = [(float(n), b, c) for b, norm in enumerate(norms) for c, n in enumerate(norm)]
    removable = sorted(place for place in places if place[2] != largest[place[1]])
    macs, kept = cost.dense, [set(range(len(norm))) for norm in norms]
    for _, block, channel in removable:
        if macs <= budget * cost.dense:
            break
        kept[block].remove(channel)
        macs = cost.at([len(channels) for channels in kept])
    if macs > budget * cost.dense:
        raise ValueError(
            f"budget = {budget}: with one channel a block the encoder still costs "
            f"{macs / cost.dense:.3f} of its dense MACs; choose a larger budget"
        )
    return [sorted(channels) for channels in kept]
