"""A residual network whose masked channels are physically cut out of the weights.

Independent of the library's forward pass: plain functional calls on sliced tensors, one
sample at a time, with a count of the multiply-accumulates that each convolution really does.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_kedro.encoders.gated_resnet import GatedResNet18
from ssl_kedro.gating.gate import ChannelGate


class MacCounter:
    def __init__(self) -> None:
        self.total = 0

    def conv(self, x: Tensor, weight: Tensor, **options: int) -> Tensor:
        if not weight.numel():  # PyTorch convolves no empty tensors
            kernel, step = weight.shape[2], options.get("stride", 1)
            side = (x.shape[2] + 2 * options.get("padding", 0) - kernel) // step + 1
            return x.new_zeros(len(x), len(weight), side, side)
        out = F.conv2d(x, weight, **options)
        out_channels, in_channels, height, width = weight.shape
        pixels = out.shape[-2] * out.shape[-1]
        self.total += pixels * out_channels * in_channels * height * width
        return out


def _norm(x: Tensor, bn: torch.nn.BatchNorm2d, keep: Tensor | None = None) -> Tensor:
    index = slice(None) if keep is None else keep
    if not x.numel():
        return x
    mean, var = bn.running_mean[index], bn.running_var[index]
    return F.batch_norm(x, mean, var, bn.weight[index], bn.bias[index], eps=bn.eps)


def sliced_forward(
    encoder: GatedResNet18, image: Tensor, masks: list[Tensor], branch: str
) -> tuple[Tensor, int]:
    """Features (D,) and MACs of one image (3, H, W), keeping only channels where mask is 1."""
    count = MacCounter()
    x = (image[None] - encoder.pixel_mean) / encoder.pixel_std
    conv = encoder.stem[0]
    x = count.conv(x, conv.weight, stride=conv.stride[0], padding=conv.padding[0])
    x = F.relu(_norm(x, encoder.stem[1]))
    if encoder.config.stem == "imagenet":
        x = F.max_pool2d(x, 3, 2, 1)
    given = list(masks)
    for _, block in encoder.residual_blocks():
        if encoder.config.block == "basic":
            keep = given.pop(0).nonzero()[:, 0]
            stride, gates = block.conv1.stride[0], [block.gate]
            inner = count.conv(x, block.conv1.weight[keep], stride=stride, padding=1)
            inner = F.relu(_norm(inner, block.bn1[branch], keep))
            out = count.conv(inner, block.conv2.weight[:, keep], padding=1)
            out = _norm(out, block.bn2[branch])
        else:
            first, second = given.pop(0).nonzero()[:, 0], given.pop(0).nonzero()[:, 0]
            stride, gates = block.conv2.stride[0], [block.gate, block.gate2]
            inner = F.relu(
                _norm(count.conv(x, block.conv1.weight[first]), block.bn1[branch], first)
            )
            weight = block.conv2.weight[second][:, first]
            inner = count.conv(inner, weight, stride=stride, padding=1)
            inner = F.relu(_norm(inner, block.bn2[branch], second))
            out = count.conv(inner, block.conv3.weight[:, second])
            out = _norm(out, block.bn3[branch])
        if block.downsample is not None:
            shortcut = count.conv(x, block.downsample[0].weight, stride=stride)
            x_short = _norm(shortcut, block.downsample[1])
        else:
            x_short = x
        for gate in gates:
            if isinstance(gate, ChannelGate) and branch == "gated":
                pooled = x.mean(dim=(2, 3))[:, :, None, None]
                hidden = count.conv(pooled, gate.squeeze.weight[:, :, None, None])
                count.conv(hidden, gate.expand.weight[:, :, None, None])
        x = F.relu(out + x_short)
    assert not given
    return x.mean(dim=(2, 3))[0], count.total
