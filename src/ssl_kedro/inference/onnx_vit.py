"""A compact vision transformer as part of an ONNX graph."""

import math

import torch
from torch import Tensor, nn

from ssl_kedro.encoders.tokens import EPSILON, HEAD, resampled
from ssl_kedro.inference.onnx_writer import GraphWriter, gate_mask
from ssl_kedro.inference.vit import CompactAttention, CompactStep, CompactViT


def write_vit(
    writer: GraphWriter, network: CompactViT, x: str, cells: int, imposed: list[str], output: str
) -> None:
    """Write what computes features of normalised pixels.

    Args:
        writer: of the graph.
        network: gated, static or dense.
        x: pixels (N, 3, side, side).
        cells: patches in a row.
        imposed: masks (N, dependent) of each step, "" where the gate decides.
        output: name of the features (N, D).
    """
    width, mean = network.plan.width, network.plan.pooling == "mean"
    x = writer.node("Reshape", writer.conv(x, network.patch_embed), [0, width, cells**2])
    x = writer.node("Transpose", x, perm=[0, 2, 1])
    # The class token with its position stands in the row of zeros before the patches.
    places = resampled(network.pos_embed, cells, cells).clone()
    places[:, :1] += network.cls_token
    x = writer.node("Add", writer.node("Pad", x, [0, 1, 0, 0, 0, 0]), places)
    for step, wanted in zip(network.steps(), imposed, strict=True):
        x = _step(writer, step, x, wanted)
    if not mean:  # a norm is of each token alone
        x = writer.node("Slice", x, [0], [1], [1])
    norm = network.norm
    x = _normed(writer, x, norm.weight, norm.bias)
    if mean:
        x = writer.node("Slice", x, [1], [cells**2 + 1], [1])
    writer.node("ReduceMean", x, [1], output=output, keepdims=0)


def _step(writer: GraphWriter, step: CompactStep, x: str, imposed: str) -> str:
    if step.first is None or step.last is None:
        return writer.node("Add", x, torch.as_tensor(step.constant))
    mask = ""
    if step.gate is not None:
        mean = writer.node("ReduceMean", x, [1], keepdims=0)
        mask = gate_mask(writer, step.gate, mean, imposed)
        if step.plan.always_on:
            mask = writer.node("Pad", mask, [0, step.plan.always_on, 0, 0], 1.0)
    width = step.last.out_features
    normed = _normed(writer, x, torch.ones(width), torch.zeros(width))
    inner = _attention if isinstance(step, CompactAttention) else _mlp
    return writer.node(
        "Add", x, _linear(writer, inner(writer, step.first, normed, mask), step.last)
    )


def _attention(writer: GraphWriter, first: nn.Linear, x: str, mask: str) -> str:
    """What heads give (N, T, heads 64) of normed tokens, under a mask (N, heads) or none."""
    heads = first.out_features // (3 * HEAD)
    parts = zip(first.weight.chunk(3), first.bias.chunk(3), (HEAD**-0.5, 1, 1), strict=True)
    # Queries are divided by 8 = sqrt(64) in the weights, which is exact.
    query, key, value = (
        writer.node(
            "Reshape", _product(writer, x, weight * scale, bias * scale), [0, 0, heads, HEAD]
        )
        for weight, bias, scale in parts
    )
    query, value = (writer.node("Transpose", part, perm=[0, 2, 1, 3]) for part in (query, value))
    key = writer.node("Transpose", key, perm=[0, 2, 3, 1])
    shares = writer.node("Softmax", writer.node("MatMul", query, key), axis=-1)
    found = writer.node("MatMul", shares, value)
    if mask:
        found = writer.node("Mul", found, writer.node("Unsqueeze", mask, [2, 3]))
    found = writer.node("Transpose", found, perm=[0, 2, 1, 3])
    return writer.node("Reshape", found, [0, 0, heads * HEAD])


def _mlp(writer: GraphWriter, first: nn.Linear, x: str, mask: str) -> str:
    """Hidden units (N, T, kept) of normed tokens, under a mask (N, kept) or none."""
    x = _linear(writer, x, first)
    shares = writer.node("Erf", writer.node("Div", x, math.sqrt(2)))
    x = writer.node("Mul", x, writer.node("Add", shares, 1.0))
    x = writer.node("Mul", x, 0.5)
    return writer.node("Mul", x, writer.node("Unsqueeze", mask, [1])) if mask else x


def _normed(writer: GraphWriter, x: str, weight: Tensor, bias: Tensor) -> str:
    return writer.node("LayerNormalization", x, weight, bias, axis=-1, epsilon=EPSILON)


def _linear(writer: GraphWriter, x: str, layer: nn.Linear) -> str:
    return _product(writer, x, layer.weight, layer.bias)


def _product(writer: GraphWriter, x: str, weight: Tensor, bias: Tensor) -> str:
    return writer.node("Add", writer.node("MatMul", x, weight.T), bias)
