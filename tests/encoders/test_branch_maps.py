from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from ssl_kedro.encoders.base import Branch
from ssl_kedro.encoders.bottleneck_resnet import BottleneckConfig, BottleneckResNet
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.encoders.maps import BranchMaps, MapNetwork, NormalisedMaps, adapt_batch_norm
from ssl_kedro.encoders.pair import EncoderPair

BRANCHES: tuple[Branch, ...] = ("dense", "gated")


def settled(network: nn.Module, seed: int = 0) -> nn.Module:
    """Batch norms as after a training, each unlike the others."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for name in ("running_mean", "running_var", "weight", "bias"):
                value = getattr(module, name).data
                value.copy_(0.5 + torch.rand(value.shape, generator=generator))
    return network.eval()


def single(branches: tuple[Branch, ...] = BRANCHES) -> GatedResNet18:
    torch.manual_seed(0)
    encoder = GatedResNet18(
        EncoderConfig(stem="cifar_pad1", width=4), branches=branches, image_size=20
    )
    settled(encoder)
    return encoder


def pair() -> EncoderPair:
    encoder = EncoderPair(single(("dense",)), single(("gated",)))
    settled(encoder.member("gated"), seed=1)
    return encoder.eval()


@pytest.mark.parametrize("branch", BRANCHES)
@pytest.mark.parametrize("build", [single, pair])
def test_mean_of_a_branchs_maps_is_the_encoders_vector(build: object, branch: Branch) -> None:
    encoder = build()  # type: ignore[operator]
    network = BranchMaps(encoder, branch).eval()
    images = torch.randint(0, 256, (3, 3, 20, 28), dtype=torch.uint8)
    with torch.no_grad():
        maps = network(images)
        expected = encoder(images, branch).features
    assert maps.shape == (3, 32, 3, 4)
    assert network.map_channels == 32
    torch.testing.assert_close(maps.mean(dim=(2, 3)), expected)


def test_branches_differ_and_absent_ones_are_refused() -> None:
    images = torch.rand(2, 3, 20, 20)
    encoder = single()
    with torch.no_grad():
        dense, gated = (BranchMaps(encoder, b).eval()(images) for b in BRANCHES)
    assert not torch.allclose(dense, gated)
    with pytest.raises(ValueError, match="no 'gated' branch"):
        BranchMaps(single(("dense",)), "gated")


class TwoNorms(NormalisedMaps):
    """Small enough to know each layer's input."""

    map_channels = 5

    def __init__(self) -> None:
        super().__init__((0.2, 0.4, 0.6), (0.5, 0.25, 0.125))
        torch.manual_seed(0)
        self.first, self.second = nn.BatchNorm2d(3, momentum=0.3), nn.BatchNorm2d(5)
        self.convolution = nn.Conv2d(3, 5, 3)
        self.unused = nn.BatchNorm2d(2)
        settled(self)

    def forward(self, images: Tensor) -> Tensor:
        return self.second(self.convolution(self.first(self.normalised(images))))


def batches() -> list[Tensor]:
    """Of several sizes and shapes, far from what the norms know."""
    generator = torch.Generator().manual_seed(3)
    sizes = ((4, 9, 12), (3, 12, 9), (7, 8, 8), (2, 20, 6))
    return [
        0.3 * torch.rand(n, 3, h, w, generator=generator) + i / 10
        for i, (n, h, w) in enumerate(sizes)
    ]


def positions(tensors: list[Tensor]) -> Tensor:
    return torch.cat([t.double().transpose(0, 1).flatten(1) for t in tensors], dim=1)


def test_statistics_are_those_of_the_layers_inputs_over_all_images() -> None:
    network = TwoNorms()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    adapt_batch_norm(network, batches())
    mean = torch.tensor([0.2, 0.4, 0.6]).double().view(3, 1, 1)
    std = torch.tensor([0.5, 0.25, 0.125]).double().view(3, 1, 1)
    inputs = [(batch.double() - mean) / std for batch in batches()]
    seen = positions(inputs)
    torch.testing.assert_close(network.first.running_mean.double(), seen.mean(dim=1))
    torch.testing.assert_close(network.first.running_var.double(), seen.var(dim=1))

    after: list[Tensor] = []  # what reaches the second norm: by the batch, as in training
    for x in inputs:
        flat = positions([x])
        centre, spread = flat.mean(dim=1), flat.var(dim=1, correction=0)
        x = (x - centre.view(3, 1, 1)) / (spread.view(3, 1, 1) + 1e-5).sqrt()
        x = x * before["first.weight"].view(3, 1, 1) + before["first.bias"].view(3, 1, 1)
        weight, bias = (before[f"convolution.{n}"].double() for n in ("weight", "bias"))
        after.append(nn.functional.conv2d(x, weight, bias))
    seen = positions(after)
    torch.testing.assert_close(
        network.second.running_mean.double(), seen.mean(dim=1), rtol=1e-5, atol=1e-6
    )
    torch.testing.assert_close(network.second.running_var.double(), seen.var(dim=1))
    for name, value in network.state_dict().items():
        if not name.startswith(("first.running", "second.running")):
            assert torch.equal(value, before[name]), name


def test_one_batch_equals_pytorchs_cumulative_average() -> None:
    images = torch.rand(6, 3, 70, 64)
    ours = BottleneckResNet(BottleneckConfig(50, 2))
    settled(ours)
    theirs = BottleneckResNet(BottleneckConfig(50, 2))
    theirs.load_state_dict(ours.state_dict())
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    theirs.train()
    with torch.no_grad():
        theirs(images)
    adapt_batch_norm(ours, iter([images]))
    for (name, one), other in zip(
        ours.state_dict().items(), theirs.state_dict().values(), strict=True
    ):
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("training", [False, True])
def test_modes_stay_even_where_they_are_mixed(training: bool) -> None:
    network = TwoNorms().train(training)
    network.convolution.train(not training)
    adapt_batch_norm(network, batches())
    assert network.training == network.first.training == training
    assert network.convolution.training is not training
    assert not any(p.grad is not None for p in network.parameters())


def test_failures_on_the_way_leave_everything_as_it_was() -> None:
    network = TwoNorms()
    before = {name: value.clone() for name, value in network.state_dict().items()}

    def broken() -> Iterator[Tensor]:
        yield from batches()[:2]
        raise OSError("an image cannot be read")

    with pytest.raises(OSError, match="cannot be read"):
        adapt_batch_norm(network, broken())
    assert list(network.state_dict()) == list(before)
    assert all(torch.equal(v, before[n]) for n, v in network.state_dict().items())
    assert not network.training
    with pytest.raises(ValueError, match="found none"):
        adapt_batch_norm(network, [])
    assert all(torch.equal(v, before[n]) for n, v in network.state_dict().items())


@pytest.mark.parametrize("branch", BRANCHES)
@pytest.mark.parametrize("build", [single, pair])
def test_only_the_branchs_own_norms_are_adapted(build: object, branch: Branch) -> None:
    encoder = build()  # type: ignore[operator]
    other: Branch = "gated" if branch == "dense" else "dense"
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    images = [torch.rand(4, 3, 20, 20) for _ in range(2)]
    with torch.no_grad():
        untouched = encoder(images[0], other).features
    network: MapNetwork = BranchMaps(encoder, branch)
    adapt_batch_norm(network, images)
    changed = {n for n, v in encoder.state_dict().items() if not torch.equal(v, before[n])}
    assert changed
    assert all(name.endswith(("running_mean", "running_var")) for name in changed)
    blocks = {name for name in changed if ".bn1." in name or ".bn2." in name}
    # Eight blocks, two norms each, mean and variance.
    assert len(blocks) == 8 * 2 * 2
    assert not any(f".{other}." in name.partition(".blocks.")[2] for name in blocks)
    assert not any(f"bn1.{other}" in name or f"bn2.{other}" in name for name in changed)
    if isinstance(encoder, EncoderPair):
        assert all(name.startswith(f"of_branch.{branch}.") for name in changed)
        with torch.no_grad():
            assert torch.equal(encoder(images[0], other).features, untouched)
