"""Batch norms re-estimated on images: what a network needs when fewer of its channels are left.

Running statistics follow the network as it was trained. After channels are removed, or a width is
taken that saw few of the steps, they describe maps that no longer exist (Yu & Huang 2019, 3.3).
"""

import copy
import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from ssl_kedro.encoders.base import Branch, Encoder, Forced

E = TypeVar("E", bound=Encoder)


class _Moments:
    """Moments of a norm's input over all batches, in float64."""

    def __init__(self, channels: int) -> None:
        self.count = 0
        self.first = torch.zeros(channels, dtype=torch.float64)
        self.second = torch.zeros(channels, dtype=torch.float64)

    def observe(self, norm: _BatchNorm, inputs: tuple[Tensor]) -> None:
        """Add a batch (N, C, ...), which the norm is to normalise by its own moments."""
        x = inputs[0].float()
        variance, mean = torch.var_mean(x, dim=[0, *range(2, x.ndim)], correction=0)
        norm.running_mean, norm.running_var = mean, variance
        count = x.numel() // x.shape[1]
        mean, variance = mean.double().cpu(), variance.double().cpu()
        self.count += count
        self.first += count * mean
        self.second += count * (variance + mean.square())

    def give(self, norm: _BatchNorm, device: torch.device) -> None:
        """Set the running statistics; the variance is the unbiased one, as in training."""
        mean = self.first / self.count
        variance = (self.second / self.count - mean.square()).clamp(min=0)
        variance *= self.count / max(1, self.count - 1)
        norm.running_mean = mean.float().to(device)
        norm.running_var = variance.float().to(device)


@contextmanager
def _observed(encoder: Encoder) -> Iterator[dict[_BatchNorm, _Moments]]:
    """Moments of every norm outside the gates, which grow with each batch that passes."""
    within = {id(norm) for gate in encoder.gates() for norm in gate.modules()}
    norms = [m for m in encoder.modules() if isinstance(m, _BatchNorm) and id(m) not in within]
    found = {norm: _Moments(norm.num_features) for norm in norms}
    with ExitStack() as hooks:
        for norm, moments in found.items():
            hooks.enter_context(norm.register_forward_pre_hook(moments.observe))
        yield found


@torch.no_grad()
def recalibrated(
    encoder: E,
    images: np.ndarray,
    branch: Branch = "dense",
    *,
    masks: Forced = None,
    batch_size: int = 512,
    device: torch.device | str = "cpu",
) -> E:
    """A copy whose batch norms have the statistics of images that pass through one branch.

    One pass: each batch is normalised by its own moments, and a norm's statistics become the mean
    and the unbiased variance of its input over all images and pixels (PreciseBN, Wu & Johnson
    2021, "Rethinking 'Batch' in BatchNorm", 3.2; exact where all images are one batch). Norms
    within gates keep theirs, so that a gate decides by what it learnt. Norms that branches share,
    of stem and downsample, follow this branch: use the copy for it alone.

    Args:
        encoder: left as it was.
        images: uint8 (N, 3, H, W), an array or a memory map, such as 2,000 training images.
        branch: through which they pass, in evaluation mode.
        masks: forced masks instead of the gates' own, (N or 1, C_l) a block.
        batch_size: at most so many images a batch; batches are of like size.
        device: where to compute.

    Returns:
        The copy, on the CPU, in evaluation mode.

    Raises:
        ValueError: no images, no such branch, or no batch norm on the way.
    """
    if not len(images):
        raise ValueError("expected images to re-estimate batch norms on, found none")
    copied = copy.deepcopy(encoder).to(device).to(memory_format=torch.channels_last).eval()
    with _observed(copied) as found:
        for rows in np.array_split(np.arange(len(images)), math.ceil(len(images) / batch_size)):
            part = slice(rows[0], rows[-1] + 1)
            batch = torch.from_numpy(np.array(images[part])).to(device)
            forced = masks and [(m if len(m) == 1 else m[part]).to(device) for m in masks]
            copied.maps(batch, branch, masks=forced)
    passed = {norm: moments for norm, moments in found.items() if moments.count}
    if not passed:
        raise ValueError(f"the {branch} branch of this {type(encoder).__name__} has no batch norms")
    for norm, moments in passed.items():
        moments.give(norm, torch.device(device))
    result = copy.deepcopy(encoder).to("cpu").eval()  # in the memory layout that it had
    result.load_state_dict(copied.state_dict())
    return result
