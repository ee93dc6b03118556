"""A compact network as an ONNX graph, operator by operator.

The network has so few kinds of layers that its graph is written down directly: in milliseconds,
where tracing takes seconds, with the batch size open, and the same under every version of
PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ssl_kedro.inference.network import CompactBlock, CompactGate, CompactNetwork
from ssl_kedro.inference.onnx_file import OPSET, check_opset

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

INPUT, MASKS, OUTPUT = "images", "masks", "features"
# What readers of opset 18 know; newer writers would name a newer one without need.
_IR_VERSION = 8


def compact_onnx(
    network: CompactNetwork,
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
        ValueError: an opset below 18.
    """
    import onnx  # noqa: PLC0415  optional

    check_opset(opset)
    writer = _Writer()
    x = writer.node("Sub", INPUT, writer.constant(network.pixel_mean))
    x = writer.node("Div", x, writer.constant(network.pixel_std))
    x = writer.node("Relu", writer.conv(x, network.stem))
    if isinstance(network.pool, nn.MaxPool2d):
        x = writer.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    start = 0
    for block in network.compact_blocks():
        imposed = writer.columns(MASKS, start, block.plan.dependent) if masks else ""
        x = _block(writer, block, x, imposed)
        start += block.plan.dependent
    writer.node("ReduceMean", x, writer.integers(2, 3), output=OUTPUT, keepdims=0)
    side = image_size or network.plan.image_size
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


def _block(writer: _Writer, block: CompactBlock, x: str, imposed: str) -> str:
    shortcut = x if block.downsample is None else writer.conv(x, block.downsample)
    if block.conv1 is None or block.conv2 is None:
        constant = torch.as_tensor(block.constant).detach().view(1, -1, 1, 1)
        return writer.node("Relu", writer.node("Add", shortcut, writer.constant(constant)))
    inner = writer.node("Relu", writer.conv(x, block.conv1))
    if block.gate is not None:
        mask = _mask(writer, block.gate, x, imposed)
        if block.plan.always_on:
            pads = writer.integers(0, block.plan.always_on, 0, 0)
            mask = writer.node("Pad", mask, pads, writer.constant(torch.tensor(1.0)))
        mask = writer.node("Unsqueeze", mask, writer.integers(2, 3))
        inner = writer.node("Mul", inner, mask)
    out = writer.node("Add", writer.conv(inner, block.conv2), shortcut)
    return writer.node("Relu", out)


def _mask(writer: _Writer, gate: CompactGate, x: str, imposed: str) -> str:
    """The mask (N, dependent) that a gate decides, or the imposed one, as the network has it."""
    mean = writer.node("ReduceMean", x, writer.integers(2, 3), keepdims=0)
    squeeze = [writer.constant(gate.squeeze.weight), writer.constant(gate.squeeze.bias)]
    hidden = writer.node("Relu", writer.node("Gemm", mean, *squeeze, transB=1))
    logits = writer.node("Gemm", hidden, writer.constant(gate.expand.weight), transB=1)
    if imposed:
        one, four = writer.constant(torch.tensor(1.0)), writer.constant(torch.tensor(4.0))
        low, two = writer.constant(torch.tensor(-1.0)), writer.constant(torch.tensor(2.0))
        moved = writer.node("Sub", writer.node("Mul", imposed, four), two)
        logits = writer.node("Add", writer.node("Clip", logits, low, one), moved)
    threshold = writer.constant(torch.tensor(0.0))
    opened = writer.node("GreaterOrEqual", logits, threshold)
    return writer.node("Cast", opened, to=1)


class _Writer:
    """Nodes and tensors of a graph, named by number."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.tensors: list[TensorProto] = []

    def node(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """A node; its output's name."""
        import onnx  # noqa: PLC0415  optional

        name = output or f"{kind.lower()}_{len(self.nodes)}"
        made = onnx.helper.make_node(kind, list(inputs), [name], name=name, **attributes)
        self.nodes.append(made)
        return name

    def constant(self, value: Tensor) -> str:
        """A float32 tensor; its name."""
        return self._tensor(value.detach().cpu().float().contiguous().numpy())

    def integers(self, *values: int) -> str:
        """A vector of integers; its name."""
        return self._tensor(np.array(values, dtype=np.int64))

    def conv(self, x: str, layer: nn.Conv2d) -> str:
        """A convolution with its bias."""
        weights = [self.constant(layer.weight), self.constant(torch.as_tensor(layer.bias))]
        row, column = (int(padding) for padding in layer.padding)
        return self.node(
            "Conv",
            x,
            *weights,
            kernel_shape=list(layer.kernel_size),
            strides=list(layer.stride),
            pads=[row, column, row, column],
        )

    def columns(self, matrix: str, start: int, count: int) -> str:
        """Some columns of a matrix."""
        if not count:
            return ""
        ends = self.integers(start), self.integers(start + count), self.integers(1)
        return self.node("Slice", matrix, *ends)

    def _tensor(self, value: np.ndarray) -> str:
        import onnx  # noqa: PLC0415  optional

        name = f"constant_{len(self.tensors)}"
        self.tensors.append(onnx.numpy_helper.from_array(value, name))
        return name
