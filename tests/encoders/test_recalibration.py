from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inference.networks import gate_usage, random_encoder
from ssl_kedro.encoders.gated_resnet import GatedResNet18
from ssl_kedro.encoders.recalibration import recalibrated
from ssl_kedro.inference.compact import compact
from ssl_kedro.inference.network import CompactEncoder

SIDE = 16


def images(count: int = 12) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 3, SIDE, SIDE), dtype=np.uint8)


def norm_inputs(
    encoder: GatedResNet18, batch: np.ndarray, masks: list[Tensor] | None, branch: str
) -> dict[str, Tensor]:
    """Input (N, C, H, W) of every norm in float64, each normalised by its batch's own moments."""
    found = {}

    def norm(name: str, x: Tensor, layer: nn.BatchNorm2d) -> Tensor:
        found[name] = x
        centred = x - x.mean(dim=(0, 2, 3), keepdim=True)
        unit = centred / (centred.square().mean(dim=(0, 2, 3), keepdim=True) + layer.eps).sqrt()
        return unit * layer.weight[:, None, None] + layer.bias[:, None, None]

    x = torch.from_numpy(batch).double() / 255
    conv = encoder.stem[0]
    x = F.conv2d((x - encoder.pixel_mean) / encoder.pixel_std, conv.weight, padding=conv.padding)
    x = F.relu(norm("stem.1", x, encoder.stem[1]))
    for index, (name, block) in enumerate(encoder.residual_blocks()):
        place, stride = f"blocks.{name.replace('.', '_')}", block.conv1.stride
        inner = F.conv2d(x, block.conv1.weight, stride=stride, padding=1)
        inner = F.relu(norm(f"{place}.bn1.{branch}", inner, block.bn1[branch]))
        if masks is not None:
            inner = inner * masks[index].double()[:, :, None, None]
        out = F.conv2d(inner, block.conv2.weight, padding=1)
        out = norm(f"{place}.bn2.{branch}", out, block.bn2[branch])
        if block.downsample is not None:
            x = F.conv2d(x, block.downsample[0].weight, stride=stride)
            x = norm(f"{place}.downsample.1", x, block.downsample[1])
        x = F.relu(out + x)
    return found


@pytest.mark.parametrize("batch_size", [12, 5])
@pytest.mark.parametrize("branch", ["gated", "dense"])
def test_statistics_equal_those_of_all_inputs_in_float64(branch: str, batch_size: int) -> None:
    encoder = random_encoder()
    masks = None
    if branch == "gated":
        generator = torch.Generator().manual_seed(1)
        shapes = [(12 if i % 2 else 1, b.channels) for i, b in enumerate(encoder.cost().blocks)]
        masks = [(torch.rand(shape, generator=generator) < 0.5).float() for shape in shapes]
    before = copy.deepcopy(encoder.state_dict())
    found = recalibrated(encoder, images(), branch, masks=masks, batch_size=batch_size)
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())
    # Twelve images, at most five at a time: three batches of four.
    size = 4 if batch_size == 5 else 12
    inputs: dict[str, list[Tensor]] = {}
    with torch.no_grad():
        for start in range(0, 12, size):
            part = slice(start, start + size)
            rows = masks and [mask if len(mask) == 1 else mask[part] for mask in masks]
            double = copy.deepcopy(encoder).double()
            for name, x in norm_inputs(double, images()[part], rows, branch).items():
                inputs.setdefault(name, []).append(x)
    assert len(inputs) == 1 + 8 * 2 + 3
    for key, value in found.state_dict().items():
        name, _, statistic = key.rpartition(".")
        if name in inputs and statistic in {"running_mean", "running_var"}:
            x = torch.cat(inputs[name]).transpose(0, 1).flatten(1)
            expected = x.mean(dim=1) if statistic == "running_mean" else x.var(dim=1)
            assert torch.allclose(value.double(), expected, rtol=1e-4, atol=1e-5), key
        else:
            assert torch.equal(value, before[key]), key
    assert not found.training


def test_on_one_batch_evaluation_becomes_what_training_computes() -> None:
    encoder = random_encoder()
    found = recalibrated(encoder, images(40))
    pixels = torch.from_numpy(images(40))
    with torch.no_grad():
        before = encoder.dense(pixels)
        expected = copy.deepcopy(encoder).train()(pixels, "dense").features
        # Unbiased variances are larger by 1 / 40 * 2 * 2 at the last maps.
        assert torch.allclose(found.dense(pixels), expected, atol=0.02, rtol=0.02)
        assert not torch.allclose(before, expected, atol=0.2)


def test_gates_keep_their_norms_and_decide_by_them() -> None:
    encoder = random_encoder()
    found = recalibrated(encoder, images(), "gated")
    for old, new in zip(encoder.gates(), found.gates(), strict=True):
        for before, after in zip(old.buffers(), new.buffers(), strict=True):
            assert torch.equal(before, after)
    again = recalibrated(encoder, images(), "gated", batch_size=4)
    other = "blocks.layer1_1.bn1.gated.running_mean"
    assert not torch.equal(found.state_dict()[other], encoder.state_dict()[other])
    # The stem comes before all that depends on the batch.
    assert torch.allclose(found.stem[1].running_var, again.stem[1].running_var, rtol=1e-5)


def test_what_cannot_be_recalibrated_is_said() -> None:
    encoder = random_encoder()
    with pytest.raises(ValueError, match="found none"):
        recalibrated(encoder, images(0))
    folded = CompactEncoder(compact(encoder, gate_usage(encoder, images(), "seen")))
    with pytest.raises(ValueError, match="CompactEncoder has no batch norms"):
        recalibrated(folded, images(), "gated")
