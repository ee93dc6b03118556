from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from ssl_kedro.core.config import ConfigError
from ssl_kedro.saliency.predict.runtime import STAGES, RuntimeConfig, runtimes


class Sleeping(nn.Module):
    """Takes a known time, an image or a batch."""

    def __init__(self, per_image_s: float, per_batch_s: float, channels: int) -> None:
        super().__init__()
        self.times, self.channels = (per_image_s, per_batch_s), channels
        self.batches: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.batches.append(len(x))
        time.sleep(self.times[0] * len(x) + self.times[1])
        return torch.full((len(x), self.channels, 10, 20), 0.5)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = Sleeping(0.002, 0, 4), Sleeping(0, 0.008, 1)


@pytest.fixture
def panorama(tmp_path: Path) -> Path:
    path = tmp_path / "p.png"
    Image.fromarray(np.full((32, 64, 3), 9, np.uint8)).save(path)
    return path


def test_stages_take_the_time_they_take(panorama: Path) -> None:
    model = Model().train()
    config = RuntimeConfig(batch_sizes=(1, 4), warm_up=1, device="cpu", width=32, threads=1)
    rows = runtimes(model, [panorama], config)
    found = {(row.stage, row.batch_size): row for row in rows}
    assert list(found) == [(stage, size) for size in (1, 4) for stage in STAGES]
    assert model.training
    # Batch sizes take turns, and one warm-up of each is not counted.
    assert model.encoder.batches == [1, 4] * 16
    for size in (1, 4):
        assert 2 <= found["encoder", size].milliseconds < 6  # other work on the machine
        assert 8 / size <= found["decoder", size].milliseconds < 8 / size + 4
        parts = [found[stage, size].milliseconds for stage in STAGES[:-1]]
        assert found["total", size].milliseconds == pytest.approx(sum(parts), rel=0.2)
    for row in rows:
        assert row.low_ms <= row.milliseconds <= row.high_ms
        assert (row.repetitions, row.device, row.threads) == (15, "CPU", 1)


def test_threads_are_as_before(panorama: Path) -> None:
    before = torch.get_num_threads()
    other = before + 1
    config = RuntimeConfig(batch_sizes=(1,), device="cpu", width=32, threads=other)
    assert {row.threads for row in runtimes(Model(), [panorama], config)} == {other}
    assert torch.get_num_threads() == before


def test_what_cannot_be_measured(panorama: Path) -> None:
    with pytest.raises(ConfigError, match="repetitions = 14: expected a number at least 15"):
        RuntimeConfig(repetitions=14)
    with pytest.raises(ConfigError, match="batch_sizes"):
        RuntimeConfig(batch_sizes=(4, 4))
    with pytest.raises(ConfigError, match="width = 30: expected a number at least 32"):
        RuntimeConfig(width=30)
    with pytest.raises(ValueError, match="at least one panorama"):
        runtimes(Model(), [], RuntimeConfig())
    with pytest.raises(ValueError, match="found no encoder"):
        runtimes(nn.Identity(), [panorama], RuntimeConfig())
