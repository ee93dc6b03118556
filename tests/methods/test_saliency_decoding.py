from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from ssl_kedro.methods.saliency_decoding import DecodingConfig, SaliencyDecoding

H, W = 32, 64


class Cells(nn.Module):
    """Decoder that repeats the first channel of each cell, made positive."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, maps: Tensor) -> Tensor:
        return (self.scale * maps[:, :1]).exp().repeat_interleave(16, 2).repeat_interleave(16, 3)


class Encoder(nn.Module):
    """Mean of each cell, then a batch norm and a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 16, 16)
        self.norm = nn.BatchNorm2d(2)

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(self.conv(images))  # type: ignore[no-any-return]


def truth(count: int = 5) -> Tensor:
    return torch.rand(count, H, W, generator=torch.Generator().manual_seed(1)) + 0.1


def features(count: int, versions: int = 2) -> Tensor:
    shape = (count, versions, 3, H // 16, W // 16)
    return torch.rand(shape, generator=torch.Generator().manual_seed(2))


def slow_kld(prediction: Tensor, wanted: Tensor, weights: Tensor | None) -> float:
    p, q = prediction.double().flatten().tolist(), wanted.double().flatten().tolist()
    w = [1.0] * len(p) if weights is None else weights.flatten().tolist()
    p = [a * b for a, b in zip(p, w, strict=True)]
    q = [a * b for a, b in zip(q, w, strict=True)]
    sum_p, sum_q = sum(p), sum(q)
    return sum(b / sum_q * math.log((b / sum_q) / (a / sum_p)) for a, b in zip(p, q, strict=True))


@pytest.mark.parametrize("weighting", ["planar", "sphere"])
def test_the_loss_is_the_divergence_from_the_maps_of_the_batch(weighting: str) -> None:
    method = SaliencyDecoding(Cells(), truth(), DecodingConfig(weighting=weighting))  # type: ignore[arg-type]
    seen = features(2)
    method.before_step(0.0, torch.tensor([4, 1]))
    found = method((seen, seen), 0.0, torch.Generator().manual_seed(0)).loss
    edges = [math.sin(math.pi / 2 - math.pi * row / H) for row in range(H + 1)]
    area = torch.tensor([edges[row] - edges[row + 1] for row in range(H)]).double()
    weights = area[:, None].expand(H, W) if weighting == "sphere" else None
    expected = [
        slow_kld(Cells()(seen[k : k + 1, 0])[0, 0], truth()[image], weights)
        for k, image in enumerate((4, 1))
    ]
    assert float(found.detach()) == pytest.approx(sum(expected) / 2, rel=3e-3)


def test_mirroring_takes_the_mirrored_maps_for_some_samples() -> None:
    method = SaliencyDecoding(Cells(), truth(), DecodingConfig(flip=True))
    seen = features(5)
    method.before_step(0.0, torch.arange(5))
    inputs, wanted = method._augmented(seen, truth(), torch.Generator().manual_seed(0))
    mirrored = [bool(torch.equal(inputs[k], seen[k, 1])) for k in range(5)]
    assert 0 < sum(mirrored) < 5
    for k in range(5):
        assert torch.equal(inputs[k], seen[k, int(mirrored[k])])
        expected = truth()[k].flip(-1) if mirrored[k] else truth()[k]
        assert torch.equal(wanted[k], expected)


@pytest.mark.parametrize("cached", [True, False])
def test_turning_moves_panorama_and_map_by_the_same_angle(cached: bool) -> None:
    encoder = None if cached else Encoder()
    method = SaliencyDecoding(Cells(), truth(), DecodingConfig(turn=True), encoder=encoder)
    width = W // 16 if cached else W
    columns = torch.arange(width, dtype=torch.float32)
    seen = columns.expand(5, 1, 3, 2, width) if cached else columns.expand(5, 3, H, width)
    marks = torch.arange(W, dtype=torch.float32).expand(5, H, W)
    inputs, wanted = method._augmented(seen, marks, torch.Generator().manual_seed(0))
    turned = [int(wanted[k, 0, 0]) for k in range(5)]
    assert len(set(turned)) > 1
    for k in range(5):
        assert turned[k] % 16 == 0
        assert torch.equal(wanted[k], marks[k].roll(-turned[k], -1))
        cells = turned[k] // 16 if cached else turned[k]
        assert int(inputs[k].flatten()[0]) == cells


@pytest.mark.parametrize("tune", ["nothing", "norms", "everything"])
def test_what_of_the_encoder_is_trained(tune: str) -> None:
    encoder = Encoder()
    method = SaliencyDecoding(
        Cells(),
        truth(),
        DecodingConfig(),
        encoder=encoder,
        tune=tune,  # type: ignore[arg-type]
        macs=(100, 10),
    )
    method.train()
    assert encoder.norm.training == (tune != "nothing")
    trained = {name for name, p in encoder.named_parameters() if p.requires_grad}
    assert (
        trained
        == {
            "nothing": set(),
            "norms": {"norm.weight", "norm.bias", "conv.bias"},
            "everything": {"norm.weight", "norm.bias", "conv.bias", "conv.weight"},
        }[tune]
    )
    images = torch.rand(2, 3, H, W)
    before = encoder.norm.running_mean.clone()  # type: ignore[union-attr]
    method.before_step(0.0, torch.tensor([0, 3]))
    method((images, images), 0.0, torch.Generator()).loss.backward()
    assert torch.equal(encoder.norm.running_mean, before) == (tune == "nothing")  # type: ignore[arg-type]
    assert (encoder.norm.bias.grad is None) == (tune == "nothing")
    assert method.macs_per_image == 30 + (100 if tune == "nothing" else 300)


def test_maps_are_no_part_of_the_state() -> None:
    method = SaliencyDecoding(Cells(), truth(), DecodingConfig())
    assert set(method.state_dict()) == {"decoder.scale"}
    assert method.macs_per_image == 0
