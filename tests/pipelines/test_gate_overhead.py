"""What gates add, by hand, and beside the thesis' figures."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ssl_kedro.encoders.factory import gate_overhead
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.gating.budget import GateConfig
from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters
from ssl_kedro.pipelines.gated.report.overhead import overhead_section

# Channels of the input and of the mask of each block of ResNet-18.
BLOCKS = [(64, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512), (512, 512)]


def test_gates_add_what_the_thesis_says_at_224_px() -> None:
    found = gate_overhead(EncoderConfig("imagenet"), 224, GateConfig())
    # Two 1x1 convolutions around r = 4 times fewer channels, and a batch norm's weight and bias.
    macs = sum(given * given // 4 + given // 4 * masked for given, masked in BLOCKS)
    assert found.macs == macs
    assert found.parameters == macs + sum(2 * (given // 4) for given, _ in BLOCKS)
    assert found.dense_macs == 1_813_561_344
    assert found.all_parameters - found.parameters == 11_176_512  # torchvision's, without fc
    assert round(100 * found.parameters / found.all_parameters, 2) == 2.11
    assert round(100 * found.macs / found.dense_macs, 3) == 0.013


def test_the_overhead_is_that_of_an_encoder_that_exists() -> None:
    shape = EncoderConfig("cifar_pad1", 8)
    found = gate_overhead(shape, 32, GateConfig(reduction=2))
    encoder = GatedResNet18(shape, image_size=32, gate_reduction=2)
    assert found.parameters == sum(p.numel() for g in encoder.gates() for p in g.parameters())
    assert found.macs == sum(block.gate for block in encoder.cost().blocks)
    assert gate_overhead(shape, 32, GateConfig(input_dependent=False)).macs == 0


@pytest.mark.parametrize("gated", [True, False])
def test_a_page_with_gates_says_what_they_add(gated: bool) -> None:
    model: Any = SimpleNamespace(channel_usage=("some",) if gated else ())
    found = overhead_section(DualGatingParameters(), {"dual.budget_30": model})
    if not gated:
        assert found == []
        return
    ((own, ours, thesis),) = (list(table.rows) for table in found[0].tables)
    assert own[0] == "This run, 32 px"
    shares = [[cell.replace("\xa0", " ") for cell in row[2::2]] for row in (ours, thesis)]
    assert shares == [["2.11 %", "0.013 %"]] * 2
