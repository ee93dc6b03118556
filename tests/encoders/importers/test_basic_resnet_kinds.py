"""ResNets of basic blocks as others publish them, with torchvision's network as oracle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import load_file
from torch import Tensor, nn

from ssl_kedro.encoders.bundle import load_encoder, save_bundle
from ssl_kedro.encoders.importers import WeightsError, import_weights
from ssl_kedro.encoders.maps import BranchMaps
from ssl_kedro.encoders.torchvision_names import encoder_name

State = dict[str, Tensor]
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CIFAR = ((0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616))


def randomised(depth: int, *, small: bool = False) -> nn.Module:
    """torchvision's network; as solo-learn changes it for images of 32 px where it is small."""
    torch.manual_seed(depth)
    network = getattr(torchvision.models, f"resnet{depth}")()
    if small:
        network.conv1 = nn.Conv2d(3, 64, 3, 1, padding=2, bias=False)
        network.maxpool = nn.Identity()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
    return network.eval()


def solo_learn(state: State) -> Any:
    own = {f"backbone.{name}": value for name, value in state.items() if "fc." not in name}
    heads = {"projector.0.weight": torch.zeros(2, 2), "classifier.bias": torch.zeros(2)}
    return {"state_dict": own | {f"momentum_{n}": v for n, v in own.items()} | heads}


LAYOUTS: dict[str, tuple[str, int, bool, Callable[[State], Any]]] = {
    "torchvision 18": ("torchvision_resnet18", 18, False, dict),
    "torchvision 34": ("torchvision_resnet34", 34, False, dict),
    "solo-learn, CIFAR": ("solo_learn", 18, True, solo_learn),
    "solo-learn, ImageNet-100": ("solo_learn", 18, False, solo_learn),
    "solo-learn 34": ("solo_learn", 34, False, solo_learn),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_maps_equal_the_publishers_network(tmp_path: Path, layout: str) -> None:
    kind, depth, small, content = LAYOUTS[layout]
    theirs = randomised(depth, small=small)
    torch.save(content(theirs.state_dict()), tmp_path / "w.pth")
    network, report = import_weights(kind, tmp_path / "w.pth")
    side = 32 if small else 64
    images = torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8)
    mean, std = CIFAR if small else IMAGENET
    x = torchvision.transforms.functional.normalize(images / 255, mean, std)
    with torch.no_grad():
        expected = nn.Sequential(*list(theirs.children())[:-2])(x)
        found = network(images)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.max()))
    assert not network.training
    dropped = {name for name in report.dropped if "fc." not in name}
    assert all("momentum" in n or "projector" in n or "classifier" in n for n in dropped)
    used = {name.removeprefix("backbone.") for name in report.used}
    assert used == {name for name in theirs.state_dict() if "fc." not in name}
    # It is an encoder of ours from then on, whose provenance names its weights.
    assert isinstance(network, BranchMaps)
    save_bundle(network, tmp_path / "encoder", report)
    kept = load_file(tmp_path / "encoder" / "weights.safetensors").keys()
    assert set(report.used.values()) == {name for name in kept if "pixel_" not in name}
    again = load_encoder(tmp_path / "encoder")
    features = again(images, "dense").features
    torch.testing.assert_close(features, expected.mean((2, 3)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        (
            "torchvision_resnet18",
            lambda s: s.pop("layer3.1.conv2.weight"),
            r"1 missing: blocks\.layer3_1\.conv2\.weight",
        ),
        (
            "torchvision_resnet18",
            lambda s: s.update({"layer4.2.conv1.weight": torch.zeros(4, 4, 3, 3)}),
            r"1 unexpected: layer4\.2\.conv1\.weight",
        ),
        (
            "torchvision_resnet34",
            lambda _: None,
            r"missing: blocks\.layer1_2",
        ),
        (
            "torchvision_resnet18",
            lambda s: s.update({"layer1.0.conv1.weight": torch.zeros(64, 5, 3, 3)}),
            r"1 of a wrong shape: .*conv1\.weight \(64, 5, 3, 3\) for \(64, 64, 3, 3\)",
        ),
        (
            "torchvision_resnet18",
            lambda s: s.update({"bn1.bias": torch.full((64,), torch.inf)}),
            r"not finite in bn1\.bias",
        ),
        (
            "torchvision_resnet18",
            lambda s: s.update({"conv1.weight": torch.zeros(64, 3, 5, 5)}),
            "without a first convolution of 7x7 or 3x3",
        ),
        (
            "torchvision_resnet18",
            lambda s: s.update({"conv1.weight": torch.zeros(1, 3, 7, 7)}),
            "1 channels after the first convolution",
        ),
    ],
)
def test_faults_are_named(
    tmp_path: Path, kind: str, change: Callable[[State], Any], message: str
) -> None:
    state = dict(randomised(18).state_dict())
    change(state)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=message):
        import_weights(kind, tmp_path / "w.pth")


def test_a_file_that_lacks_a_block_is_no_smaller_network(tmp_path: Path) -> None:
    state = {n: v for n, v in randomised(18).state_dict().items() if "layer4.1." not in n}
    torch.save(solo_learn(state), tmp_path / "w.ckpt")
    with pytest.raises(WeightsError, match=r"\(2, 2, 2, 1\) basic blocks .*\(2, 2, 2, 2\) \("):
        import_weights("solo_learn", tmp_path / "w.ckpt")


def test_a_block_without_its_second_convolution_is_no_bottleneck(tmp_path: Path) -> None:
    state = dict(randomised(18).state_dict())
    del state["layer1.0.conv2.weight"]
    torch.save(solo_learn(state), tmp_path / "w.ckpt")
    with pytest.raises(WeightsError, match=r"keys 1 missing: blocks\.layer1_0\.conv2\.weight;"):
        import_weights("solo_learn", tmp_path / "w.ckpt")


def test_a_tensor_under_two_names_is_refused(tmp_path: Path) -> None:
    state = dict(randomised(18).state_dict())
    state["stem.0.weight"] = state["conv1.weight"] + 1
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="one tensor under two names: conv1"):
        import_weights("torchvision_resnet18", tmp_path / "w.pth")
    assert encoder_name("head.weight") == "head.weight"
