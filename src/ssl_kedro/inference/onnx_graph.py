"""A compact network as an ONNX graph, operator by operator.

The network has so few kinds of layers that its graph is written down directly: in milliseconds,
where tracing takes seconds, with the batch size open, and the same under every version of
PyTorch.
"""

from __future__ import annotations

import itertools

import torch
from torch import nn

from ssl_kedro.encoders.folding import STEMS, SameMaxPool, same_padding
from ssl_kedro.inference.network import CompactBlock, CompactNetwork
from ssl_kedro.inference.onnx_file import OPSET, check_opset
from ssl_kedro.inference.onnx_vit import write_vit
from ssl_kedro.inference.onnx_writer import GraphWriter, gate_mask
from ssl_kedro.inference.plan import NetworkPlan
from ssl_kedro.inference.planned import PlannedNetwork
from ssl_kedro.inference.vit import CompactViT

INPUT, MASKS, OUTPUT = "images", "masks", "features"
# What readers of opset 18 know; newer writers would name a newer one without need.
_IR_VERSION = 8


def compact_onnx(
    network: PlannedNetwork,
    image_size: int | None = None,
    *,
    masks: bool = False,
    opset: int = OPSET,
) -> bytes:
    """An ONNX file's content, weights inside, that does what the network does.

    It takes ``images``, float32 (N, 3, side, side) in [0, 1], and gives ``features``, float32
    (N, D), for any N.

    Args:
        network: gated, static or dense.
        image_size: side in px; None = that of the training images.
        masks: whether a second input ``masks``, float32 (N, dependent), is imposed instead of
            what the gates decide.
        opset: version of the ONNX operators; at least 18.

    Raises:
        ModuleNotFoundError: onnx is not installed.
        ValueError: an opset below 18, or a size that a transformer's patches do not fill.
    """
    import onnx  # noqa: PLC0415  optional

    check_opset(opset)
    side = image_size or network.plan.image_size
    writer = GraphWriter()
    x = writer.node("Sub", INPUT, network.pixel_mean)
    x = writer.node("Div", x, network.pixel_std)
    parts = _imposed(writer, network.plan) if masks else [""] * len(network.plan.layers)
    if isinstance(network, CompactViT):
        if side % network.plan.patch:
            expected = f"expected a multiple of the patch, {network.plan.patch} px"
            raise ValueError(f"image_size = {side}: {expected}")
        write_vit(writer, network, x, side // network.plan.patch, parts, OUTPUT)
    elif isinstance(network, CompactNetwork):
        _write_residual(writer, network, x, parts, side)
    else:
        raise TypeError(f"expected residual blocks or a transformer, found {type(network)}")
    real = onnx.TensorProto.FLOAT
    value = onnx.helper.make_tensor_value_info
    inputs = [value(INPUT, real, ["batch", 3, side, side])]
    if masks:
        inputs.append(value(MASKS, real, ["batch", network.plan.dependent]))
    outputs = [value(OUTPUT, real, ["batch", network.plan.feature_dimensions])]
    graph = onnx.helper.make_graph(writer.nodes, "compact", inputs, outputs, writer.tensors)
    model = onnx.helper.make_model(
        graph,
        producer_name="ssl_kedro",
        opset_imports=[onnx.helper.make_opsetid("", opset)],
        ir_version=_IR_VERSION,
    )
    return bytes(model.SerializeToString())


def _imposed(writer: GraphWriter, plan: NetworkPlan) -> list[str]:
    """Each layer's part of the masks, "" where nothing depends on the image."""
    ends = list(itertools.accumulate(layer.dependent for layer in plan.layers))
    return [
        writer.node("Slice", MASKS, [start], [end], [1]) if end > start else ""
        for start, end in itertools.pairwise([0, *ends])
    ]


def _write_residual(
    writer: GraphWriter, network: CompactNetwork, x: str, parts: list[str], side: int
) -> None:
    x = writer.node("Relu", writer.conv(x, network.stem))
    if isinstance(network.pool, nn.MaxPool2d):
        before, after = 1, 1
        if isinstance(network.pool, SameMaxPool):
            kernel, stride, padding = STEMS[network.plan.stem]
            before, after = same_padding((side + 2 * padding - kernel) // stride + 1)
        pads = [before, before, after, after]
        x = writer.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=pads)
    remaining = iter(parts)
    for block in network.compact_blocks():
        x = _block(writer, block, x, list(itertools.islice(remaining, len(block.plan.layers))))
    writer.node("ReduceMean", x, [2, 3], output=OUTPUT, keepdims=0)


def _block(writer: GraphWriter, block: CompactBlock, x: str, imposed: list[str]) -> str:
    masks: list[str] = []
    for gate, layer, wanted in zip(block.gates(), block.plan.layers, imposed, strict=True):
        mask = ""
        if gate is not None:
            mean = writer.node("ReduceMean", x, [2, 3], keepdims=0)
            mask = gate_mask(writer, gate, mean, wanted)
            if layer.always_on:
                mask = writer.node("Pad", mask, [0, layer.always_on, 0, 0], 1.0)
        masks.append(mask)

    def behind(convolved: str, index: int) -> str:
        """What follows a convolution (from 0) of the block but for the last."""
        if index == len(masks):
            return convolved
        out = writer.node("Relu", convolved)
        mask = masks[index]
        return writer.node("Mul", out, writer.node("Unsqueeze", mask, [2, 3])) if mask else out

    shortcut = x if block.downsample is None else writer.conv(x, block.downsample)
    out, convolutions = x, block.convolutions()
    if block.constant is not None:
        constant = torch.as_tensor(block.constant).view(1, -1, 1, 1)
        out = behind(writer.constant(constant), block.first - 1)
    for index, conv in enumerate(convolutions, block.first):
        out = behind(writer.conv(out, conv), index)
    return writer.node("Relu", writer.node("Add", out, shortcut))
