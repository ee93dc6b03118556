from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ssl_kedro.methods.saliency_decoding import DecodingConfig
from ssl_kedro.saliency.fitting import fit_decoder
from ssl_kedro.training.checkpoints import CheckpointError, CheckpointStore
from ssl_kedro.training.config import TrainConfig

H, W = 32, 64


class Encoder(nn.Conv2d):
    map_channels = 2

    def __init__(self) -> None:
        super().__init__(3, 2, 16, 16)


class Decoder(nn.Conv2d):
    """Each cell's maps to one positive number, repeated over the cell."""

    def __init__(self) -> None:
        super().__init__(2, 1, 1)

    def forward(self, maps: Tensor) -> Tensor:
        return super().forward(maps).exp().repeat_interleave(16, 2).repeat_interleave(16, 3)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.decoder = Encoder(), Decoder()

    def macs(self, height: int, width: int) -> dict[str, int]:
        return {"encoder": 2 * 3 * height * width, "decoder": 2 * height * width // 256}


def fit(store: CheckpointStore, **changes: object) -> dict[str, object]:
    generator = np.random.default_rng(0)
    recipe = {"epochs": 1, "batch_size": 2, "warmup_epochs": 0, "device": "cpu", "optimiser": "sgd"}
    return fit_decoder(
        Model(),  # type: ignore[arg-type]
        generator.integers(0, 256, (4, 3, H, W), dtype=np.uint8),
        generator.random((4, H, W), dtype=np.float32) + 0.1,
        DecodingConfig(),
        TrainConfig(**(recipe | {"precision": "fp32"} | changes)),  # type: ignore[arg-type]
        tune="nothing",
        cache_bytes=2**20,
        seed=0,
        label="a decoder",
        identity={"seed": 0},
        checkpoints=store,
    )


def test_a_fitting_is_resumed_only_in_the_way_it_was_computed(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "checkpoint.safetensors")
    first = fit(store, memory_format="contiguous")
    again = fit(store, memory_format="contiguous", resume=True)
    assert again["history"] == first["history"]
    with pytest.raises(CheckpointError, match="memory_format: checkpoint 'contiguous', now 'chan"):
        fit(store, memory_format="channels_last", resume=True)
