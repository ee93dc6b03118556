from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn

from ssl_kedro.encoders.bottleneck_resnet import BottleneckConfig, BottleneckResNet
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.encoders.maps import BranchMaps, MapNetwork, adapt_batch_norm
from ssl_kedro.encoders.pair import EncoderPair


def shuffled(module: nn.Module, seed: int = 0) -> nn.Module:
    """Weights and statistics that no default gives."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point() and not name.startswith("pixel"):
            noise = torch.rand(tensor.shape, generator=generator)
            tensor.mul_(0.8 + 0.4 * noise)
            if name.endswith(("running_mean", "bias")):
                tensor.add_(0.1 * noise)
    return module.eval()


@pytest.mark.parametrize("depth", [50, 101])
def test_resnets_equal_torchvision(depth: int) -> None:
    torch.manual_seed(0)
    theirs = shuffled(getattr(torchvision.models, f"resnet{depth}")(weights=None))
    ours = BottleneckResNet(BottleneckConfig(depth))  # type: ignore[arg-type]
    missing = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert set(missing.missing_keys) == {"pixel_mean", "pixel_std"}
    assert set(missing.unexpected_keys) == {"fc.weight", "fc.bias"}
    ours.eval()
    images = torch.randint(0, 256, (2, 3, 70, 97), dtype=torch.uint8)
    x = torchvision.transforms.functional.normalize(
        images / 255, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    )
    body = nn.Sequential(*list(theirs.children())[:-2])
    with torch.no_grad():
        expected, found = body(x), ours(images)
    assert found.shape == (2, 2048, 3, 4) == expected.shape
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    assert torch.equal(ours(images), ours(images / 255))


@pytest.mark.parametrize(("width", "channels"), [(8, 256), (128, 4096)])
def test_width_widens_every_stage(width: int, channels: int) -> None:
    with torch.device("meta"):
        network = BottleneckResNet(BottleneckConfig(50, width))
    assert network.map_channels == channels
    inner = [network.get_submodule(f"layer{s}.0.conv2").weight.shape[0] for s in (1, 2, 3, 4)]  # type: ignore[union-attr,index]
    assert inner == [width, 2 * width, 4 * width, 8 * width]


@pytest.mark.parametrize(("side", "before"), [(32, 0), (33, 1)])
def test_same_pooling_pads_as_tensorflow_does(side: int, before: int) -> None:
    """SAME with stride 2: output ceil(side / 2); what padding is left over goes after."""
    network = BottleneckResNet(BottleneckConfig(50, 4, max_pool="same"))
    x = torch.rand(1, 1, side, side)
    found = network.maxpool(x)
    count = -(-side // 2)
    expected = torch.empty(1, 1, count, count)
    for i in range(count):
        for j in range(count):
            rows = slice(max(2 * i - before, 0), 2 * i - before + 3)
            columns = slice(max(2 * j - before, 0), 2 * j - before + 3)
            expected[0, 0, i, j] = x[0, 0, rows, columns].max()
    assert torch.equal(found, expected)


def gated(seed: int = 0) -> GatedResNet18:
    torch.manual_seed(seed)
    return shuffled(GatedResNet18(EncoderConfig(stem="cifar_pad1", width=4)), seed)  # type: ignore[return-value]


@pytest.mark.parametrize("branch", ["dense", "gated"])
def test_the_mean_of_the_maps_is_the_feature_vector(branch: str) -> None:
    encoder = gated()
    images = torch.randint(0, 256, (3, 3, 40, 32), dtype=torch.uint8)
    for one in (encoder, EncoderPair(gated(1), encoder)):
        maps = BranchMaps(one, branch).eval()(images)  # type: ignore[arg-type]
        assert maps.shape == (3, 32, 5, 4)
        expected = one(images, branch).features
        assert torch.allclose(maps.mean(dim=(2, 3)), expected, atol=1e-5)


def test_a_missing_branch_is_named() -> None:
    encoder = GatedResNet18(EncoderConfig(width=4), branches=("dense",))
    with pytest.raises(ValueError, match="no 'gated' branch"):
        BranchMaps(encoder, "gated")


class Small(MapNetwork):
    """Two norms, of which the second sees what the first normalised by the batch."""

    map_channels = 5

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3)
        self.first, self.second = nn.BatchNorm2d(5), nn.BatchNorm2d(5)

    def forward(self, images: Tensor) -> Tensor:
        return torch.relu(self.second(torch.relu(self.first(self.conv(images)))))


def test_adaptation_takes_mean_and_variance_over_all_images() -> None:
    network = Small().eval()
    network.second.train()  # modes are given back as they were
    images = torch.rand(11, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    before = {name: p.clone() for name, p in network.named_parameters()}
    adapt_batch_norm(network, [images[:4], images[4:]])
    x = network.conv(images).double()
    assert torch.allclose(network.first.running_mean.double(), x.mean(dim=(0, 2, 3)), atol=1e-6)
    assert torch.allclose(network.first.running_var.double(), x.var(dim=(0, 2, 3)), atol=1e-6)
    inner = [
        nn.functional.batch_norm(x[s], None, None, training=True) for s in (slice(4), slice(4, 11))
    ]
    scaled = torch.relu(torch.cat(inner))
    assert torch.allclose(
        network.second.running_mean.double(), scaled.mean(dim=(0, 2, 3)), atol=1e-5
    )
    assert torch.allclose(network.second.running_var.double(), scaled.var(dim=(0, 2, 3)), atol=1e-5)
    assert not network.first.training
    assert network.second.training
    assert all(torch.equal(p, before[name]) for name, p in network.named_parameters())


def test_adaptation_leaves_the_other_branch_alone() -> None:
    encoder = gated()
    kept = {n: t.clone() for n, t in encoder.state_dict().items()}
    adapt_batch_norm(BranchMaps(encoder, "gated"), [torch.rand(6, 3, 32, 32)])
    changed = {n for n, t in encoder.state_dict().items() if not torch.equal(t, kept[n])}
    assert changed
    assert not any(".dense." in name for name in changed)
    assert any(".gated.running_mean" in name for name in changed)


def test_adaptation_without_images_changes_nothing() -> None:
    network = Small().eval()
    with pytest.raises(ValueError, match="found none"):
        adapt_batch_norm(network, [])
    assert torch.equal(network.first.running_mean, torch.zeros(5))
