"""A compact network as an ONNX file in int8, by ONNX Runtime's post-training quantisation.

Convolutions, residual sums and poolings compute on bytes; gates decide in float32. In transformers
the patches' embedding and linear layers compute on bytes, and all between them in float32.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ssl_kedro.inference.int8 import CalibrationError
from ssl_kedro.inference.onnx_file import OPSET
from ssl_kedro.inference.onnx_graph import INPUT, MASKS, compact_onnx
from ssl_kedro.inference.planned import PlannedNetwork
from ssl_kedro.inference.vit import CompactViT

if TYPE_CHECKING:
    from onnx import ModelProto

# Kinds of nodes that are quantised, in residual networks and in transformers.
_RESIDUAL, _TRANSFORMER = ["Conv", "Relu", "Add", "MaxPool"], ["Conv", "MatMul"]
# Images of a calibration pass at a time.
_BATCH = 32


def quantised_onnx(
    network: PlannedNetwork,
    images: np.ndarray,
    *,
    image_size: int | None = None,
    masks: bool = False,
    opset: int = OPSET,
) -> bytes:
    """An ONNX file's content that does in int8 what the network does.

    Quantised tensors stand in it between QuantizeLinear and DequantizeLinear: r = s (q - z).
    Weights are int8 with z = 0 and a scale s for each output channel, activations uint8 with one
    s and z a tensor, which cover the smallest and the largest value on the calibration images.
    Inputs, outputs and the open batch size are those of
    :func:`~ssl_kedro.inference.onnx_graph.compact_onnx`.

    Args:
        network: gated, static or dense.
        images: to calibrate on, uint8 (N, 3, side, side); training images, some hundred.
        image_size: side in px; None = that of the training images.
        masks: whether a second input imposes masks instead of what the gates decide.
        opset: version of the ONNX operators; at least 18.

    Raises:
        ModuleNotFoundError: onnx or onnxruntime is not installed.
        CalibrationError: images of another shape or type, or none, or a network whose maps are
            not finite on them.
        ValueError: an opset below 18.
    """
    import onnx  # noqa: PLC0415  optional
    from onnxruntime import quantization  # type: ignore[import-untyped]  # noqa: PLC0415

    side = image_size or network.plan.image_size
    if images.dtype != np.uint8 or images.shape[1:] != (3, side, side) or not len(images):
        raise CalibrationError(
            f"expected images to calibrate on as uint8 (N, 3, {side}, {side}), found "
            f"{images.dtype} {images.shape}; give some hundred of the training images"
        )
    kinds, options = _RESIDUAL, {}
    if isinstance(network, CompactViT):
        # What its layers give is added up or passes a GELU in float32; as bytes before that it
        # would be slower and twice as far off.
        kinds, options = _TRANSFORMER, {"OpTypesToExcludeOutputQuantization": _TRANSFORMER}
    model = onnx.load_from_string(compact_onnx(network, side, masks=masks, opset=opset))
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / "quantised.onnx"
        try:
            quantization.quantize_static(
                model,
                path,
                _Reader(network, images, masks=masks),
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=kinds,
                nodes_to_exclude=_in_gates(model) + _products(model),
                extra_options=options,
                per_channel=True,
                weight_type=quantization.QuantType.QInt8,
                activation_type=quantization.QuantType.QUInt8,
                calibrate_method=quantization.CalibrationMethod.MinMax,
            )
        except AssertionError as error:
            raise CalibrationError(
                f"ONNX Runtime finds no scale ({error}): the network gives values that are not "
                "finite for the calibration images; quantise a network that works"
            ) from error
        return path.read_bytes()


class _Reader:
    """Calibration batches as ONNX Runtime asks for them; imposed masks are the gates' own."""

    def __init__(self, network: PlannedNetwork, images: np.ndarray, *, masks: bool) -> None:
        self._batches = self._feeds(network, images, masks)

    @staticmethod
    @torch.inference_mode()
    def _feeds(
        network: PlannedNetwork, images: np.ndarray, masks: bool
    ) -> Iterator[dict[str, np.ndarray]]:
        for start in range(0, len(images), _BATCH):
            batch = torch.from_numpy(np.array(images[start : start + _BATCH])).float() / 255
            feed = {INPUT: batch.numpy()}
            if masks:
                feed[MASKS] = network.decide(batch)[1].numpy()
            yield feed

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch, None at the end."""
        return next(self._batches, None)


def _in_gates(model: ModelProto) -> list[str]:
    """Names of nodes of gates that are of a kind which is quantised elsewhere."""
    makers = {name: node.op_type for node in model.graph.node for name in node.output}
    return [n.name for n in model.graph.node if makers.get(n.input[0]) in {"Gemm", "Clip"}]


def _products(model: ModelProto) -> list[str]:
    """Names of products in which no factor is a weight: attention's, slower on bytes."""
    weights = {tensor.name for tensor in model.graph.initializer}
    products = [node for node in model.graph.node if node.op_type == "MatMul"]
    return [node.name for node in products if weights.isdisjoint(node.input)]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without advice to optimise a graph that is written as small as it gets."""
    root = logging.getLogger()

    def unasked(record: logging.LogRecord) -> bool:
        return "pre-processing before quantization" not in record.getMessage()

    root.addFilter(unasked)
    try:
        yield
    finally:
        root.removeFilter(unasked)
