from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from inference.networks import random_encoder, random_usage
from oracles.onnx_operators import every_value
from ssl_kedro.core.precision import processor_lacks
from ssl_kedro.encoders.gated_resnet import Stem
from ssl_kedro.inference.compact import compact, dense_network
from ssl_kedro.inference.engines.packaged import OnnxRuntimeEngine, OpenVinoEngine
from ssl_kedro.inference.int8 import CalibrationError
from ssl_kedro.inference.network import CompactNetwork
from ssl_kedro.inference.quantisation import quantised_onnx

pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")


def images(count: int, size: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 3, size, size), dtype=np.uint8)


def network(gated: bool, stem: Stem = "cifar", size: int = 16) -> CompactNetwork:
    encoder = random_encoder(stem, size=size)
    return compact(encoder, random_usage(encoder)) if gated else dense_network(encoder)


def real(given: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(given).float() / 255


def kept_wide(file: bytes) -> bytes:
    """The file without the rounding of a block's second convolution before its residual sum."""
    model = onnx.load_from_string(file)
    makers = {node.output[0]: node for node in model.graph.node}
    for node in model.graph.node:
        if node.op_type == "Add":
            rounded = makers[makers[node.input[0]].input[0]]
            assert makers[rounded.input[0]].op_type == "Conv"
            node.input[0] = rounded.input[0]
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(("gated", "stem", "size"), [(False, "cifar", 16), (True, "imagenet", 32)])
def test_runtimes_do_what_scales_and_zero_points_say(gated: bool, stem: Stem, size: int) -> None:
    if lacking := processor_lacks("int8"):
        pytest.skip(lacking)
    given = network(gated, stem, size)
    file = quantised_onnx(given, images(20, size))
    shown = real(images(6, size, seed=1))
    by_hand = every_value(file, images=shown.numpy())["features"]
    found = OnnxRuntimeEngine(file, 6, 1, "int8")(shown).numpy()
    own = given(shown).numpy()
    # A sum that lies between two bytes may be rounded either way, on rare images.
    assert np.median(np.abs(found - by_hand).max(axis=1)) < 1e-5
    assert 1e-3 < np.linalg.norm(by_hand - own) / np.linalg.norm(own) < 0.1
    pytest.importorskip("openvino")
    # OpenVINO adds the shortcut before it rounds, which is nearer to the network.
    by_hand = every_value(kept_wide(file), images=shown.numpy())["features"]
    found = OpenVinoEngine(file, 6, 1, "int8")(shown).numpy()
    assert np.median(np.abs(found - by_hand).max(axis=1)) < 1e-5
    assert np.linalg.norm(found - own) / np.linalg.norm(own) < 0.1


def test_ranges_are_those_of_the_calibration_images() -> None:
    given = network(False)
    seen = images(40)  # more than one batch of calibration
    file = quantised_onnx(given, seen)
    model = onnx.load_from_string(file)
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    scales = [
        (tensors[node.input[1]], tensors[node.input[2]])
        for node in model.graph.node
        if node.op_type == "QuantizeLinear"
    ]
    pixels = given.normalised(real(seen))
    low, high = float(pixels.min()), float(pixels.max())
    assert scales[0][0] == pytest.approx((high - low) / 255, rel=1e-5)
    assert scales[0][1] == round(-low / (high - low) * 255)
    stem = torch.relu(given.stem(pixels))
    assert scales[1][0] == pytest.approx(float(stem.max()) / 255, rel=1e-5)
    assert scales[1][1] == 0  # so that what is below 0 rounds to 0, without a Relu
    assert "Relu" not in {node.op_type for node in model.graph.node}


def weights(file: bytes) -> list[tuple[np.ndarray, np.ndarray]]:
    """Bytes (C_out, C_in, k, k) and scales (C_out,) of each convolution."""
    graph = onnx.load_from_string(file).graph
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    makers = {node.output[0]: node for node in graph.node}
    rows = [makers[node.input[1]] for node in graph.node if node.op_type == "Conv"]
    for row in rows:
        assert not tensors[row.input[2]].any()  # symmetric
    return [(tensors[row.input[0]], tensors[row.input[1]]) for row in rows]


def test_a_channel_of_other_size_costs_the_others_nothing() -> None:
    given = network(False)
    seen = images(8)
    before = weights(quantised_onnx(given, seen))[1]
    conv = given.compact_blocks()[0].conv1
    assert conv is not None
    conv.weight[3] *= 100
    after = weights(quantised_onnx(given, seen))[1]
    assert before[0].dtype == np.int8
    np.testing.assert_array_equal(after[0], before[0])
    factors = np.ones(len(before[1]))
    factors[3] = 100
    np.testing.assert_allclose(after[1], before[1] * factors, rtol=1e-5)
    largest = conv.weight.abs().amax(dim=(1, 2, 3)).numpy()
    np.testing.assert_allclose(after[1], largest / 127, rtol=0.01)


def test_gates_decide_in_float32() -> None:
    given = network(True)
    shown = real(images(6, seed=1))
    file = quantised_onnx(given, images(20))
    model = onnx.load_from_string(file)
    values = every_value(file, images=shown.numpy())
    makers = {node.output[0]: node for node in model.graph.node}
    decisions = [node for node in model.graph.node if node.op_type == "GreaterOrEqual"]
    blocks = [block for block in given.compact_blocks() if block.gate is not None]
    assert len(decisions) == len(blocks) > 0
    for node, block in zip(decisions, blocks, strict=True):
        mean = node
        while mean.op_type != "ReduceMean":
            mean = makers[mean.input[0]]
        x = torch.from_numpy(values[mean.input[0]]).float()
        logits = block.gate(x).numpy()
        clear = np.abs(logits) > 1e-5
        np.testing.assert_array_equal((logits >= 0)[clear], values[node.output[0]][clear])
        np.testing.assert_allclose(values[node.input[0]], logits, atol=1e-5)


def test_masks_are_imposed() -> None:
    given = network(True)
    shown = real(images(5, seed=1))
    masks = (torch.rand(5, given.plan.dependent) < 0.5).float()
    file = quantised_onnx(given, images(20), masks=True)
    found = OnnxRuntimeEngine(file, 2, 1, "int8")(shown, masks)
    own, others = given(shown, masks), given(shown, 1 - masks)
    assert torch.linalg.norm(found - own) < 0.1 * torch.linalg.norm(own)
    assert torch.linalg.norm(found - own) < torch.linalg.norm(found - others) / 2


def test_blocks_that_keep_nothing() -> None:
    encoder = random_encoder()
    usage = random_usage(encoder)
    for counts in usage.open_counts[::2]:
        counts[:] = 0
    given = compact(encoder, usage)
    shown = real(images(6, seed=1))
    found = OnnxRuntimeEngine(quantised_onnx(given, images(20)), 6, 1, "int8")(shown)
    own = given(shown)
    assert torch.linalg.norm(found - own) < 0.1 * torch.linalg.norm(own)


def test_the_batch_is_open_and_the_log_quiet(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        file = quantised_onnx(network(False), images(5))
    assert not caplog.records
    assert not logging.getLogger().filters
    shown = real(images(3, seed=1))
    one, three = (OnnxRuntimeEngine(file, size, 1, "int8")(shown) for size in (1, 3))
    assert torch.equal(one, three)


@pytest.mark.parametrize(
    "wrong", [images(2, 8), images(0), images(2).astype(np.float32), images(2)[0]]
)
def test_images_that_nothing_is_calibrated_on(wrong: np.ndarray) -> None:
    with pytest.raises(CalibrationError, match=r"calibrate on as uint8 \(N, 3, 16, 16\)"):
        quantised_onnx(network(False), wrong)


@pytest.mark.filterwarnings("ignore:All-NaN axis encountered")
@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_networks_that_do_not_work_are_named(value: float) -> None:
    given = network(False)
    given.stem.bias[0] = value
    with pytest.raises(CalibrationError, match="not finite"):
        quantised_onnx(given, images(2))
