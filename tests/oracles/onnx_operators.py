"""ONNX graphs of compact networks, operator by operator in float64, with quantisation by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

onnx = pytest.importorskip("onnx")


def every_value(file: bytes, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    """All values of a graph, by name.

    A byte q with scale s and zero point z stands for s (q - z); q is r / s + z rounded to the
    nearest, half to even, and clipped to what the type holds.
    """
    graph = onnx.load_from_string(file).graph
    values = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    values |= {name: value.astype(np.float64) for name, value in inputs.items()}
    for node in graph.node:
        given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        found = _apply(node.op_type, [values[name] for name in node.input], given)
        values[node.output[0]] = found
    return values


def _apply(kind: str, x: list[np.ndarray], given: dict[str, object]) -> np.ndarray:
    if kind in {"Add", "Sub", "Mul", "Div"}:
        operation = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide}[kind]
        return operation(*(np.asarray(part, np.float64) for part in x))
    rules = {
        "QuantizeLinear": lambda: _bytes(*x, given),
        "DequantizeLinear": lambda: (
            (x[0].astype(np.float64) - _along(x[2], x[0], given)) * _along(x[1], x[0], given)
        ),
        "Conv": lambda: functional.conv2d(*_tensors(x), given["strides"], given["pads"][:2]),
        "MaxPool": lambda: functional.max_pool2d(
            *_tensors(x), given["kernel_shape"], given["strides"], given["pads"][:2]
        ),
        "Gemm": lambda: functional.linear(*_tensors(x)),
        "Relu": lambda: np.maximum(x[0], 0),
        "ReduceMean": lambda: x[0].mean(axis=(2, 3)),
        "Unsqueeze": lambda: np.expand_dims(x[0], tuple(x[1])),
        "Pad": lambda: np.pad(x[0], x[1].reshape(2, -1).T, constant_values=float(x[2])),
        "GreaterOrEqual": lambda: x[0] >= x[1],
        "Cast": lambda: x[0].astype(np.float64),
    }
    return np.asarray(rules[kind]())


def _tensors(x: list[np.ndarray]) -> list[torch.Tensor]:
    return [torch.from_numpy(np.array(part, np.float64)) for part in x]


def _bytes(
    real: np.ndarray, scale: np.ndarray, zero: np.ndarray, given: dict[str, object]
) -> np.ndarray:
    whole = np.rint(real / _along(scale, real, given)) + _along(zero, real, given)
    limits = np.iinfo(zero.dtype)
    return np.clip(whole, limits.min, limits.max).astype(zero.dtype)


def _along(part: np.ndarray, whole: np.ndarray, given: dict[str, object]) -> np.ndarray:
    """Scales or zero points, one a channel, so that they broadcast."""
    part = part.astype(np.float64)
    if part.size == 1:
        return part.reshape(())
    shape = [1] * whole.ndim
    shape[given.get("axis", 1)] = -1
    return part.reshape(shape)
