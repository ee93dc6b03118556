"""Nodes and tensors of an ONNX graph that is written operator by operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ssl_kedro.inference.planned import CompactGate

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto


class GraphWriter:
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


def gate_mask(writer: GraphWriter, gate: CompactGate, mean: str, imposed: str) -> str:
    """The mask (N, dependent) that a gate decides, or the imposed one, as the network has it.

    Args:
        writer: of the graph.
        gate: of a unit.
        mean: of the unit's input, (N, C_in).
        imposed: mask (N, dependent); "" leaves it to the gate.
    """
    squeezed = writer.node("Gemm", mean, gate.squeeze.weight, gate.squeeze.bias, transB=1)
    logits = writer.node("Gemm", writer.node("Relu", squeezed), gate.expand.weight, transB=1)
    if imposed:
        moved = writer.node("Sub", writer.node("Mul", imposed, 4.0), 2.0)
        logits = writer.node("Add", writer.node("Clip", logits, -1.0, 1.0), moved)
    return writer.node("Cast", writer.node("GreaterOrEqual", logits, 0.0), to=1)
