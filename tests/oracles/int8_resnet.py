"""The int8 network one convolution after the other, in integers, each rounding written out."""

import torch
from torch import Tensor
from torch.nn import functional

from ssl_kedro.encoders.folding import STEMS
from ssl_kedro.inference.int8 import Int8Block, Int8Layer, Int8Network


def sums(x: Tensor, layer: Int8Layer, stride: int, padding: int) -> Tensor:
    """Exact sums of products, as float32 like the machine converts them."""
    if not layer.weight.numel():
        side = (x.shape[-1] - 1) // stride + 1
        return torch.zeros(len(x), layer.weight.shape[0], side, side)
    exact = functional.conv2d(x.double(), layer.weight.double(), stride=stride, padding=padding)
    assert torch.equal(exact, exact.round())
    return exact.float()


def scaled(total: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """total * scale + bias rounded once to float32; scale and bias are float32 before."""
    scale, bias = (part.float().double()[:, None, None] for part in (scale, bias))
    return (total.double() * scale + bias).float()


def rounded(value: Tensor) -> Tensor:
    return value.round().clamp(0, 255)


def block_forward(
    block: Int8Block, x: Tensor, kept: Tensor, stride: int, mask: Tensor
) -> tuple[Tensor, Tensor]:
    """What the block gives before the last rounding to bytes; x bytes, kept half floats."""
    first, second = block.input_scale.double(), block.inner_scale.double()
    total = sums(x, block.conv1, stride, 1)
    scale, bias = block.conv1.scale.double() * first / second, block.conv1.bias.double() / second
    inner = rounded(scaled(total, scale, bias)) * mask[:, :, None, None]
    if block.downsample is not None:
        shortcut = sums(x, block.downsample, stride, 0)
        scale = block.downsample.scale.double() * first
        kept = scaled(shortcut, scale, block.downsample.bias).half()
    total = sums(inner, block.conv2, 1, 1)
    value = scaled(total, block.conv2.scale.double() * second, block.conv2.bias) + kept.float()
    return value.relu(), inner


def int8_forward(network: Int8Network, images: Tensor, masks: Tensor) -> Tensor:
    """Features (N, D) of uint8 images under masks (N, dependent)."""
    plan = network.plan
    _, stride, padding = STEMS[plan.stem]
    side = images.shape[-1] + 2 * padding
    padded = network.pixel_levels[None, :, None, None].expand(len(images), 3, side, side).clone()
    padded[:, :, padding : side - padding, padding : side - padding] = images
    value = scaled(sums(padded, network.stem, stride, 0), network.stem.scale, network.stem.bias)
    value = value.relu()
    blocks = network.int8_blocks()
    x = rounded(value * (1 / blocks[0].input_scale))
    if plan.stem == "imagenet":
        x = functional.max_pool2d(x, 3, 2, 1)
        value = x * blocks[0].input_scale
    imposed = torch.split(masks.float(), [block.dependent for block in plan.blocks], dim=1)
    for index, (block, part) in enumerate(zip(plan.blocks, imposed, strict=True)):
        mask = functional.pad(part, (block.always_on, 0), value=1.0)
        value, _ = block_forward(blocks[index], x, value.half(), block.stride, mask)
        if index + 1 < len(blocks):
            x = rounded(value * (1 / blocks[index + 1].input_scale))
    return value.half().double().mean(dim=(2, 3)).float()
