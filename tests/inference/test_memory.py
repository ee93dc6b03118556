"""Memory of an engine in a process of its own."""

from __future__ import annotations

import functools
import math
import statistics
import sys
from pathlib import Path

import pytest
import torch

from inference.hungry_engines import Broken, Hungry
from inference.networks import random_encoder
from ssl_kedro.inference import memory
from ssl_kedro.inference.compact import dense_network
from ssl_kedro.inference.memory import engine_maker, engine_memory_mb


def test_a_kilobyte_of_the_system_is_1024_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = tmp_path / "status"
    status.write_text("VmPeak:\t 9 kB\nVmRSS:\t   15625 kB\n", encoding="ascii")
    monkeypatch.setattr(memory, "_STATUS", status)
    assert memory._status_mb("VmRSS") == 16.0


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="proc(5) is Linux'")
def test_memory_is_what_an_engine_keeps_and_takes_at_most() -> None:
    # Medians: beside other tests a tensor now and then goes uncounted in one measurement.
    small, more_taken, more_kept = (
        statistics.median(
            engine_memory_mb(functools.partial(Hungry, *mb), 1, 8) or math.nan for _ in range(3)
        )
        for mb in ((40, 20), (40, 220), (240, 20))
    )
    # What PyTorch itself allocates for its first batches depends on the machine.
    assert 60 <= small < 120
    assert more_taken - small == pytest.approx(200, abs=15)
    assert more_kept - small == pytest.approx(200, abs=15)
    assert engine_memory_mb(Broken, 1, 8) is None


@pytest.mark.slow
def test_engines_are_built_elsewhere_as_they_are_here() -> None:
    network = dense_network(random_encoder())
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    engine = engine_maker("eager", network, None, 2, 16, 1, "f32", None)()
    with torch.no_grad():
        assert torch.allclose(engine(images), network(images), atol=1e-5)
    with pytest.raises(ValueError, match="reads an ONNX file"):
        engine_maker("openvino", network, None, 2, 16, 1, "f32", None)
