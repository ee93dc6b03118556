"""A compact network as an ONNX graph, operator by operator.

The network has so few kinds of layers that its graph is written down directly: in milliseconds,
where tracing takes seconds, with the batch size open, and the same under every version of
PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    x = writer.node("Sub", INPUT, network.pixel_mean)
    x = writer.node("Div", x, network.pixel_std)
    x = writer.node("Relu", writer.conv(x, network.stem))
    if isinstance(network.pool, nn.MaxPool2d):
        x = writer.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    start = 0
    for block in network.compact_blocks():
        end = start + block.plan.dependent
        imposed = writer.node("Slice", MASKS, [start], [end], [1]) if masks and end > start else ""
        x = _block(writer, block, x, imposed)
        start = end
    writer.node("ReduceMean", x, [2, 3], output=OUTPUT, keepdims=0)
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
    masks: list[str] = []
    start = 0
    for gate, layer in zip(block.gates(), block.plan.layers, strict=True):
        mask, end = "", start + layer.dependent
        if gate is not None:
            wanted = writer.node("Slice", imposed, [start], [end], [1]) if imposed else ""
            mask = _mask(writer, gate, x, wanted)
            if layer.always_on:
                mask = writer.node("Pad", mask, [0, layer.always_on, 0, 0], 1.0)
        masks.append(mask)
        start = end

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


def _mask(writer: _Writer, gate: CompactGate, x: str, imposed: str) -> str:
    """The mask (N, dependent) that a gate decides, or the imposed one, as the network has it."""
    mean = writer.node("ReduceMean", x, [2, 3], keepdims=0)
    squeezed = writer.node("Gemm", mean, gate.squeeze.weight, gate.squeeze.bias, transB=1)
    logits = writer.node("Gemm", writer.node("Relu", squeezed), gate.expand.weight, transB=1)
    if imposed:
        moved = writer.node("Sub", writer.node("Mul", imposed, 4.0), 2.0)
        logits = writer.node("Add", writer.node("Clip", logits, -1.0, 1.0), moved)
    return writer.node("Cast", writer.node("GreaterOrEqual", logits, 0.0), to=1)


class _Writer:
    """Nodes and tensors of a graph, named by number."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.tensors: list[TensorProto] = []

    def node(
        self, kind: str, *inputs: str | float | Tensor | list[int], output: str = "", **given: Any
    ) -> str:
        """A node; its output's name.

        Args:
            kind: of operator.
            inputs: names, or values that become tensors: float32, of lists int64.
            output: its name, if it matters.
            given: attributes.
        """
        import onnx  # noqa: PLC0415  optional

        names = [value if isinstance(value, str) else self._tensor(value) for value in inputs]
        name = output or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(kind, names, [name], name=name, **given))
        return name

    def constant(self, value: Tensor) -> str:
        """A tensor's name."""
        return self._tensor(value)

    def conv(self, x: str, layer: nn.Conv2d) -> str:
        """A convolution with its bias."""
        row, column = (int(padding) for padding in layer.padding)
        return self.node(
            "Conv",
            x,
            layer.weight,
            torch.as_tensor(layer.bias),
            kernel_shape=list(layer.kernel_size),
            strides=list(layer.stride),
            pads=[row, column, row, column],
        )

    def _tensor(self, value: float | Tensor | list[int]) -> str:
        import onnx  # noqa: PLC0415  optional

        kind = torch.int64 if isinstance(value, list) else torch.float32
        array = torch.as_tensor(value, dtype=kind).detach().cpu().contiguous().numpy()
        name = f"constant_{len(self.tensors)}"
        self.tensors.append(onnx.numpy_helper.from_array(array, name))
        return name
