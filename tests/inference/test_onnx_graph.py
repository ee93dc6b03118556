from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from inference.networks import random_encoder, random_usage
from ssl_kedro.encoders.gated_resnet import Stem
from ssl_kedro.inference.compact import compact
from ssl_kedro.inference.onnx_graph import compact_onnx

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


@pytest.mark.parametrize("stem", ["cifar", "cifar_pad1", "imagenet"])
@pytest.mark.parametrize("masks", [False, True])
@torch.no_grad()
def test_the_graph_is_valid_and_computes_what_the_network_does(stem: Stem, masks: bool) -> None:
    encoder = random_encoder(stem, size=32)
    usage = random_usage(encoder)
    counts = list(usage.open_counts)
    counts[1] = np.zeros_like(counts[1])  # a block that keeps nothing
    counts[2] = np.full_like(counts[2], 10)  # one without a gate
    counts[4] = np.full_like(counts[4], 4)  # one with nothing but dependent channels
    network = compact(encoder, replace(usage, open_counts=tuple(counts)))
    model = onnx.load_from_string(compact_onnx(network, masks=masks))
    onnx.checker.check_model(model, full_check=True)
    assert {entry.domain for entry in model.opset_import} == {""}
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    for batch in (1, 5):
        images = torch.rand(batch, 3, 32, 32)
        imposed = (torch.rand(batch, network.plan.dependent) < 0.5).float()
        feed = {"images": images.numpy()} | ({"masks": imposed.numpy()} if masks else {})
        found = session.run(["features"], feed)[0]
        expected = network(images, imposed if masks else None).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_old_opsets_are_refused() -> None:
    encoder = random_encoder()
    with pytest.raises(ValueError, match="opset = 17: expected at least 18"):
        compact_onnx(compact(encoder, random_usage(encoder)), opset=17)
