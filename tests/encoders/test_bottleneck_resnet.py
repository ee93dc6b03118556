from __future__ import annotations

import pytest
import torch
import torchvision

from encoders.importers.resnet_oracle import maps, pooled, random_state, relative_error
from ssl_kedro.core.config import ConfigError
from ssl_kedro.encoders.bottleneck_resnet import BottleneckConfig, BottleneckResNet


@pytest.mark.parametrize(
    ("depth", "build"), [(50, torchvision.models.resnet50), (101, torchvision.models.resnet101)]
)
def test_equals_torchvision_on_one_state_dict(depth: int, build: object) -> None:
    state = random_state(depth, width=64, seed=depth)
    theirs = build(weights=None).eval()  # type: ignore[operator]
    missing, unexpected = theirs.load_state_dict(state, strict=False)
    assert set(missing) == {"fc.weight", "fc.bias"}
    assert not unexpected
    ours = BottleneckResNet(
        BottleneckConfig(depth),  # type: ignore[arg-type]
        pixel_mean=(0, 0, 0),
        pixel_std=(1, 1, 1),
    ).eval()
    ours.load_state_dict({**ours.state_dict(), **state})
    assert set(state) == set(ours.state_dict()) - {"pixel_mean", "pixel_std"}
    theirs.fc = torch.nn.Identity()
    images = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        found, expected = ours(images), theirs(images)
    assert found.shape == (1, 2048, 2, 3)
    assert relative_error(found.mean(dim=(2, 3)), expected.double()) < 1e-5


@pytest.mark.parametrize("max_pool", ["symmetric", "same"])
@pytest.mark.parametrize("size", [(64, 64), (63, 65), (70, 33)])
def test_narrow_networks_equal_the_description(max_pool: str, size: tuple[int, int]) -> None:
    state = random_state(50, width=4)
    network = BottleneckResNet(BottleneckConfig(50, 4, max_pool)).eval()  # type: ignore[arg-type]
    network.load_state_dict({**network.state_dict(), **state})
    images = torch.rand(1, 3, *size)
    with torch.no_grad():
        found = network(images)
    expected = maps(state, images, same=max_pool == "same")
    assert relative_error(found, expected) < 1e-5


@pytest.mark.parametrize("size", [(6, 6), (7, 7), (5, 8), (1, 2)])
def test_oracle_pools_as_tensorflow_documents_it(size: tuple[int, int]) -> None:
    """Padding "SAME": total = (ceil(n / 2) - 1) 2 + 3 - n, the smaller half in front."""
    x = torch.rand(1, 1, *size)
    pads = []
    for side in reversed(size):
        total = max((-(-side // 2) - 1) * 2 + 3 - side, 0)
        pads += [total // 2, total - total // 2]
    padded = torch.nn.functional.pad(x, pads, value=-1.0)
    assert torch.equal(pooled(x, same=True), torch.nn.functional.max_pool2d(padded, 3, 2))
    symmetric = torch.nn.functional.max_pool2d(x, 3, 2, padding=1)
    assert torch.equal(pooled(x, same=False), symmetric)


def test_every_stage_is_wider_not_only_the_inner_channels() -> None:
    """SimCLR's 2x and 4x; torchvision's wide_resnet50_2 widens the 3x3 alone."""
    with torch.device("meta"):
        networks = [BottleneckResNet(BottleneckConfig(50, 64 * k)) for k in (1, 2, 4)]
    # Parameters of the encoders, as SimCLR's Table 1 rounds them: 24M, 94M, 375M.
    counts = [sum(p.numel() for p in n.parameters()) for n in networks]
    assert [round(count / 1e6) for count in counts] == [24, 94, 375]
    assert [n.map_channels for n in networks] == [2048, 4096, 8192]
    assert networks[1].get_parameter("conv1.weight").shape[0] == 128
    assert networks[1].get_parameter("layer1.0.downsample.0.weight").shape[:2] == (512, 128)


def test_shapes_without_a_network_are_refused() -> None:
    for changes in ({"depth": 34}, {"width": 0}, {"max_pool": "valid"}):
        with pytest.raises(ConfigError):
            BottleneckConfig(**changes)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected images of shape"):
        BottleneckResNet(BottleneckConfig(width=1))(torch.rand(3, 64, 64))
