"""Bundles and checkpoints that versions before 2026-11-28 wrote are read, and say the same.

``written_before.json`` holds what that code wrote for small networks (descriptions, names, shapes),
and what its networks answered. Weights are sines of their index, so that nothing large is kept.
"""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from ssl_kedro.encoders.base import Encoder
from ssl_kedro.encoders.bundle import load_bundle, load_encoder
from ssl_kedro.encoders.factory import EncoderSetup
from ssl_kedro.encoders.gated_resnet import EncoderConfig
from ssl_kedro.encoders.maps import load_map_network
from ssl_kedro.encoders.panorama_encoder import PanoramaEncoder
from ssl_kedro.encoders.saliency_model import SaliencyModel
from ssl_kedro.inference.network import CompactNetwork
from ssl_kedro.methods.base import ExpanderConfig, MethodConfig
from ssl_kedro.methods.plan import MethodPlan
from ssl_kedro.training.checkpoints import Checkpoint, CheckpointStore, restore_state
from ssl_kedro.training.config import TrainConfig
from ssl_kedro.training.optimisers import build_optimiser

FOUND = json.loads((Path(__file__).parent / "written_before.json").read_text())
READERS: dict[str, Any] = {
    "gated_resnet18": load_encoder,
    "pair": load_encoder,
    "bottleneck_resnet": load_map_network,
    "amdim": load_map_network,
    "panorama_encoder": lambda folder: load_bundle(folder, PanoramaEncoder),
    "saliency_model": lambda folder: load_bundle(folder, SaliencyModel),
    "compact": lambda folder: load_bundle(folder, CompactNetwork),
}


def sines(name: str, shape: list[int]) -> Tensor:
    """The weights that the earlier code was given under this name."""
    index = torch.arange(math.prod(shape), dtype=torch.float64)
    found = 0.3 * torch.sin(1.7 * index + zlib.crc32(name.encode()) % 1000)
    if name.endswith("running_var"):
        found = found.abs() + 0.5
    return found.reshape(shape).float()


def weights(described: dict[str, Any]) -> dict[str, Tensor]:
    return {
        name: sines(name, one)
        if isinstance(one, list)
        else torch.tensor(one["values"], dtype=getattr(torch, one["dtype"]))
        for name, one in described.items()
    }


@pytest.mark.parametrize("kind", sorted(FOUND["bundles"]))
def test_a_bundle_written_before_answers_as_it_did(kind: str, tmp_path: Path) -> None:
    before = FOUND["bundles"][kind]
    (tmp_path / "config.json").write_text(json.dumps(before["description"]))
    save_file(weights(before["tensors"]), tmp_path / "weights.safetensors")
    network = READERS[kind](tmp_path)
    height, width = before["image"]
    pixels = torch.arange(3 * height * width, dtype=torch.float64)
    images = (0.5 + 0.5 * torch.sin(0.37 * pixels)).reshape(1, 3, height, width).float()
    with torch.no_grad():
        answer = network.gated(images) if isinstance(network, Encoder) else network(images)
    found = answer.double().flatten()
    np.testing.assert_allclose(
        found[:: max(1, len(found) // 8)][:8], before["outputs"], rtol=1e-3, atol=1e-5
    )
    assert float(found.mean()) == pytest.approx(before["mean"], rel=1e-4)
    assert float(found.std()) == pytest.approx(before["std"], rel=1e-4)


@pytest.mark.parametrize("name", sorted(FOUND["checkpoints"]))
def test_a_checkpoint_written_before_goes_into_the_method_of_today(
    name: str, tmp_path: Path
) -> None:
    described = FOUND["checkpoints"][name]
    tensors = {
        key: sines(key, shape).abs().to(getattr(torch, dtype))
        for key, (dtype, *shape) in described.items()
    }
    store = CheckpointStore(tmp_path / "checkpoint.safetensors")
    store.save(Checkpoint(tensors, 1, [{"epoch": 1}], {}, 1.0))
    setup = EncoderSetup(EncoderConfig(stem="cifar", width=4), 16, (0.5,) * 3, (0.25,) * 3)
    method = MethodPlan(name, setup, MethodConfig(ExpanderConfig(8, 8)), 0.5, seed=0).build()
    optimiser = build_optimiser(method, TrainConfig(optimiser="adam"))
    stored = store.load()
    assert stored is not None
    restore_state(stored.tensors, method, optimiser)
    for key, value in method.state_dict().items():
        assert torch.equal(value, tensors[f"model.{key}"]), key
    # Each moment lies with the parameter whose shape it has.
    moments = optimiser.state_dict()["state"]
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    assert len(moments) == len(parameters)
    for index, parameter in enumerate(parameters):
        assert moments[index]["exp_avg"].shape == parameter.shape
        assert torch.equal(moments[index]["exp_avg"], tensors[f"optimiser.{index}.exp_avg"])
