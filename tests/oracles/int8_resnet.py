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


def to_bytes(values: Tensor) -> Tensor:
    return values.round().clamp(0, 255)


def to_words(values: Tensor) -> Tensor:
    return values.round().clamp(-(2**15), 2**15 - 1)


def bytes_of_words(words: Tensor, factor: Tensor) -> Tensor:
    return ((words.long() * factor.long() + 2**14) >> 15).clamp(0, 255).float()


def block_forward(
    block: Int8Block, x: Tensor, byte: Tensor, words: Tensor, stride: int, mask: Tensor
) -> Tensor:
    """Words of the output; x are bytes, words those of the input, the mask is of all layers."""
    if hasattr(block, "conv3"):
        return bottleneck_forward(block, x, byte, words, stride, mask)
    inner_scale, word = block.inner_scale.double(), block.word.double()
    scale, bias = block.conv1.scale.double() * byte / inner_scale, block.conv1.bias.double()
    inner = to_bytes(scaled(sums(x, block.conv1, stride, 1), scale, bias / inner_scale))
    inner = inner * mask[:, :, None, None]
    if block.downsample is not None:
        scale, bias = block.downsample.scale.double() * byte, block.downsample.bias.double()
        words = to_words(scaled(sums(x, block.downsample, stride, 0), scale / word, bias / word))
    scale, bias = block.conv2.scale.double() * inner_scale / word, block.conv2.bias.double() / word
    second = to_words(scaled(sums(inner, block.conv2, 1, 1), scale, bias))
    return (second + words).clamp(0, 2**15 - 1)


def bottleneck_forward(
    block: Int8Block, x: Tensor, byte: Tensor, words: Tensor, stride: int, mask: Tensor
) -> Tensor:
    conv1, conv2, conv3 = block.conv1, block.conv2, block.get_submodule("conv3")
    assert isinstance(conv3, Int8Layer)
    byte1, byte2 = block.inner_scale.double(), block.get_buffer("inner_scale2").double()
    word, mask = block.word.double(), mask[:, :, None, None]
    first, second = mask.split([len(conv1.bias), len(conv2.bias)], dim=1)
    scale, bias = conv1.scale.double() * byte / byte1, conv1.bias.double() / byte1
    y = to_bytes(scaled(sums(x, conv1, 1, 0), scale, bias)) * first
    scale, bias = conv2.scale.double() * byte1 / byte2, conv2.bias.double() / byte2
    total = sums(y, conv2, stride, 1)
    y = to_bytes(scaled(total, scale, bias)) * second
    if block.downsample is not None:
        scale, bias = block.downsample.scale.double() * byte / word, block.downsample.bias.double()
        words = to_words(scaled(sums(x, block.downsample, stride, 0), scale, bias / word))
    scale, bias = conv3.scale.double() * byte2 / word, conv3.bias.double() / word
    return (to_words(scaled(sums(y, conv3, 1, 0), scale, bias)) + words).clamp(0, 2**15 - 1)


def int8_forward(network: Int8Network, images: Tensor, masks: Tensor) -> Tensor:
    """Features (N, D) of uint8 images under masks (N, dependent)."""
    plan, blocks = network.plan, network.int8_blocks()
    _, stride, padding = STEMS[plan.stem]
    side = images.shape[-1] + 2 * padding
    padded = network.pixel_levels[None, :, None, None].expand(len(images), 3, side, side).clone()
    padded[:, :, padding : side - padding, padding : side - padding] = images
    total, stem, word = sums(padded, network.stem, stride, 0), network.stem, network.word.double()
    factor = blocks[0].input_factor
    byte = word * 2**15 / factor
    if plan.stem == "imagenet":
        scale, bias = stem.scale.double() / byte, stem.bias.double() / byte
        x = functional.max_pool2d(to_bytes(scaled(total, scale, bias)), 3, 2, 1)
        words = (x * (2**15 / factor.float())).round()
    else:
        scale, bias = stem.scale.double() / word, stem.bias.double() / word
        words = to_words(scaled(total, scale, bias)).clamp(min=0)
        x = bytes_of_words(words, factor)
    imposed = torch.split(masks.float(), [block.dependent for block in plan.blocks], dim=1)
    for index, (block, part) in enumerate(zip(plan.blocks, imposed, strict=True)):
        parts = part.split([layer.dependent for layer in block.layers], dim=1)
        pairs = zip(parts, block.layers, strict=True)
        mask = torch.cat(
            [functional.pad(p, (layer.always_on, 0), value=1.0) for p, layer in pairs], dim=1
        )
        words = block_forward(blocks[index], x, byte, words, block.stride, mask)
        word = blocks[index].word.double()
        if index + 1 < len(blocks):
            factor = blocks[index + 1].input_factor
            byte = word * 2**15 / factor
            x = bytes_of_words(words, factor)
    return (words.double().mean(dim=(2, 3)) * word).float()
