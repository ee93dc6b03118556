"""Any network of maps as an encoder of panoramas: resized maps, branches, costs, bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

from oracles.norms import with_used_norms
from ssl_kedro.encoders.bottleneck_resnet import BottleneckConfig, BottleneckResNet
from ssl_kedro.encoders.bundle import load_bundle, save_bundle
from ssl_kedro.encoders.gated_resnet import GatedResNet18
from ssl_kedro.encoders.maps import BranchMaps, MapNetwork
from ssl_kedro.encoders.panorama_encoder import PanoramaEncoder, PanoramaEncoderConfig
from ssl_kedro.encoders.panorama_maps import (
    PanoramaMaps,
    cost_at_size,
    panorama_network,
    resized,
)
from ssl_kedro.encoders.resnet50 import GatedResNet50
from ssl_kedro.encoders.saliency_model import DecoderConfig, SaliencyModel, build_decoder
from ssl_kedro.encoders.timm_maps import TimmMaps
from ssl_kedro.methods.saliency_decoding import DecodingConfig, SaliencyDecoding
from ssl_kedro.saliency.fitting import encoder_macs
from ssl_kedro.saliency.predict.onnx_export import export_onnx

IMAGES = torch.rand(2, 3, 64, 128, generator=torch.Generator().manual_seed(0))


def encoder(kind: type[GatedResNet18] = GatedResNet18, **shape: Any) -> GatedResNet18:
    torch.manual_seed(0)
    config = kind.config_type(**{"stem": "cifar_pad1", "width": 4, **shape})
    return with_used_norms(kind(config, image_size=32)).eval()


def branch(name: str, padding: Any = "circular", **shape: Any) -> PanoramaMaps:
    return PanoramaMaps(BranchMaps(encoder(**shape), name), padding).eval()  # type: ignore[arg-type]


def by_hand(maps: np.ndarray, rows: int, columns: int, *, around: bool) -> np.ndarray:
    """Bilinear values between cell centres, one place after the other."""
    _, _, h, w = maps.shape
    found = np.empty((*maps.shape[:2], rows, columns))
    for i in range(rows):
        for j in range(columns):
            y = min(max((i + 0.5) * h / rows - 0.5, 0), h - 1)
            x = (j + 0.5) * w / columns - 0.5
            x = x if around else min(max(x, 0), w - 1)
            top, left = int(np.floor(y)), int(np.floor(x))
            value = 0.0
            for row, of_row in ((top, 1 - (y - top)), (min(top + 1, h - 1), y - top)):
                right = (left + 1) % w if around else min(left + 1, w - 1)
                for column, share in ((left % w, 1 - (x - left)), (right, x - left)):
                    value = value + of_row * share * maps[:, :, row, column]
            found[:, :, i, j] = value
    return found


@pytest.mark.parametrize("padding", ["zeros", "circular"])
@pytest.mark.parametrize(
    ("given", "asked"), [((5, 10), (10, 20)), ((2, 4), (3, 6)), ((4, 9), (5, 14))]
)
def test_smaller_maps_are_enlarged_around_the_seam(given: Any, asked: Any, padding: Any) -> None:
    maps = torch.randn(2, 3, *given, dtype=torch.float64)
    expected = by_hand(maps.numpy(), *asked, around=padding == "circular")
    np.testing.assert_allclose(resized(maps, asked, padding).numpy(), expected, atol=1e-12)


def test_larger_maps_become_the_means_of_their_cells() -> None:
    maps = torch.randn(2, 3, 8, 16, dtype=torch.float64)
    cells = maps.numpy().reshape(2, 3, 4, 2, 8, 2).mean(axis=(3, 5))
    for padding in ("zeros", "circular"):
        np.testing.assert_allclose(resized(maps, (4, 8), padding).numpy(), cells, atol=1e-12)
    # Fewer rows, more columns: first the means, then between them.
    rows = maps.numpy().reshape(2, 3, 4, 2, 16).mean(axis=3)
    expected = by_hand(rows, 4, 24, around=True)
    np.testing.assert_allclose(resized(maps, (4, 24), "circular").numpy(), expected, atol=1e-12)
    assert resized(maps, (8, 16), "circular") is maps


@pytest.mark.parametrize("name", ["dense", "gated"])
@pytest.mark.parametrize("stem", ["cifar_pad1", "imagenet"])
def test_maps_are_the_branchs_own_at_stride_16(name: str, stem: str) -> None:
    network = BranchMaps(encoder(stem=stem), name)  # type: ignore[arg-type]
    with torch.no_grad():
        own = network(IMAGES)
        found = PanoramaMaps(network)(IMAGES)
    if stem == "imagenet":
        assert own.shape == (2, 32, 2, 4)
        expected = by_hand(own.double().numpy(), 4, 8, around=False)
    else:
        assert own.shape == (2, 32, 8, 16)
        expected = own.double().numpy().reshape(2, 32, 4, 2, 8, 2).mean(axis=(3, 5))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("build", [branch, lambda _: PanoramaMaps(resnet50(), "circular")])
def test_a_turned_panorama_has_turned_maps(build: Any) -> None:
    network = build("dense").eval()
    with torch.no_grad():
        found, turned = network(IMAGES), network(IMAGES.roll(32, dims=-1))
        assert found.std() > 0
        torch.testing.assert_close(turned, found.roll(2, dims=-1), rtol=1e-4, atol=1e-4)


def resnet50() -> BottleneckResNet:
    torch.manual_seed(0)
    return with_used_norms(BottleneckResNet(BottleneckConfig(50, 2))).eval()


def test_branches_differ_and_say_what_they_are() -> None:
    dense, gated = branch("dense"), branch("gated")
    with torch.no_grad():
        assert not torch.allclose(dense(IMAGES), gated(IMAGES), atol=1e-3)
    assert dense.architecture == "resnet18 of width 4, dense"
    assert gated.architecture == "resnet18 of width 4, gated"
    assert PanoramaMaps(resnet50()).architecture == "resnet50 of width 2"
    assert branch("gated", stages=(3, 4, 6, 3)).architecture == "resnet34 of width 4, gated"
    bottlenecks = encoder(GatedResNet50)
    assert PanoramaMaps(BranchMaps(bottlenecks, "dense")).architecture.startswith("resnet50 of")
    # What the dense branch does without is not in it.
    used = {id(m) for m in dense.used_modules()}
    gates = dense.network.encoder.gates()  # type: ignore[union-attr]
    assert gates
    assert not used & {id(part) for gate in gates for part in gate.modules()}


def counted(network: BranchMaps, image: Tensor) -> float:
    """MACs of one panorama from the maps that its layers really give, with its own masks."""
    sizes: dict[nn.Module, int] = {}
    handles = [
        module.register_forward_hook(
            lambda layer, _, output: sizes.update({layer: output[0].numel() // output.shape[1]})
        )
        for module in network.modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    masks = [int(mask.sum()) for mask in network.encoder.maps(image[None], "gated")[1]]
    for handle in handles:
        handle.remove()
    total = sum(layer.weight.numel() for layer in sizes if isinstance(layer, nn.Linear))
    resnet: Any = network.encoder
    others = [
        resnet.stem[0],
        *(b.downsample[0] for _, b in resnet.residual_blocks() if b.downsample),
    ]
    for layer in others:
        total += sizes[layer] * layer.weight.numel()
    for _, block in resnet.residual_blocks():
        layers = [layer for layer, _ in block.layers()]
        opened = [layers[0].in_channels, *masks[: len(layers) - 1], layers[-1].out_channels]
        del masks[: len(layers) - 1]
        for layer, given, returned in zip(layers, opened, opened[1:], strict=False):
            total += sizes[layer] * layer.kernel_size[0] ** 2 * given * returned
    return total


@pytest.mark.parametrize("kind", [GatedResNet18, GatedResNet50])
@pytest.mark.parametrize("stem", ["cifar", "cifar_pad1", "imagenet", "imagenet_same"])
def test_a_gated_branch_costs_what_its_masks_leave(kind: Any, stem: str) -> None:
    network = PanoramaMaps(BranchMaps(encoder(kind, stem=stem), "gated")).eval()
    images = (IMAGES.numpy() * 255).astype(np.uint8)
    with torch.no_grad():
        expected = [counted(network.network, image / 255) for image in torch.tensor(images)]  # type: ignore[arg-type]
    found = encoder_macs(network, images, torch.device("cpu"))
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    dense = PanoramaMaps(BranchMaps(encoder(kind, stem=stem), "dense")).eval()
    every = encoder_macs(dense, images, torch.device("cpu"))
    assert set(every) == {cost_at_size(encoder(kind, stem=stem), 64, 128).dense}
    assert (found < every).all()


def test_gates_decide_as_in_evaluation_while_all_else_is_trained() -> None:
    network = branch("gated").train()
    decoder = build_decoder(DecoderConfig(width=0.1), network.map_channels)
    truth = torch.rand(2, 64, 128) + 0.1
    method = SaliencyDecoding(
        decoder, truth, DecodingConfig(), encoder=network, tune="everything"
    ).train()
    losses = []
    for _ in range(2):
        method.before_step(0.0, torch.tensor([0, 1]))
        losses.append(method((IMAGES, IMAGES), 0.0).loss)  # type: ignore[arg-type]
    assert losses[0] == losses[1]  # no noise
    losses[0].backward()
    within = network.network.encoder  # type: ignore[union-attr]
    assert all(p.grad is None for gate in within.gates() for p in gate.parameters())
    assert all(norm.training for norm in within.modules() if isinstance(norm, nn.BatchNorm2d)
               and not any(norm in set(g.modules()) for g in within.gates()))  # fmt: skip
    assert within.stem[0].weight.grad.abs().sum() > 0


def timm_network(tmp_path: Path, name: str) -> TimmMaps:
    torch.manual_seed(0)
    torch.save(timm.create_model(name, num_classes=0).state_dict(), tmp_path / f"{name}.pth")
    return TimmMaps(name, tmp_path / f"{name}.pth")


@pytest.mark.parametrize("kind", ["dense", "gated", "resnet50", "timm", "panorama"])
def test_a_model_comes_back_and_is_exported(kind: str, tmp_path: Path) -> None:
    build: dict[str, Any] = {
        "dense": lambda: branch("dense"),
        "gated": lambda: branch("gated"),
        "resnet50": lambda: PanoramaMaps(resnet50(), "circular"),
        # With grouped convolutions.
        "timm": lambda: PanoramaMaps(timm_network(tmp_path, "regnetx_002"), "circular"),
        "panorama": lambda: PanoramaEncoder(PanoramaEncoderConfig(width=0.05)),
    }
    network = build[kind]().eval()
    decoder = build_decoder(DecoderConfig(width=0.1), network.map_channels)
    model = SaliencyModel(network, decoder).eval()
    save_bundle(model, tmp_path / "model")
    read = load_bundle(tmp_path / "model", SaliencyModel)
    with torch.no_grad():
        expected = model(IMAGES)
        assert torch.equal(read(IMAGES), expected)
    assert expected.std() > 0
    assert read.encoder.architecture == network.architecture
    save_bundle(network, tmp_path / "encoder")
    alone = load_bundle(tmp_path / "encoder", MapNetwork)  # type: ignore[type-abstract]
    assert panorama_network(alone, "zeros") is alone  # brought to panoramas once
    if kind in ("gated", "resnet50"):
        report = export_onnx(read, tmp_path / "model.onnx", 64, 128)
        assert report.difference < 1e-4
        assert report.highest > report.lowest


def test_what_is_no_panorama_or_has_no_places_is_refused() -> None:
    network = branch("dense")
    with pytest.raises(ValueError, match=r"multiples of 16, found \(1, 3, 60, 120\)"):
        network(torch.rand(1, 3, 60, 120))

    class Mean(MapNetwork):
        map_channels = 3

        def forward(self, images: Tensor) -> Tensor:
            return images.mean(dim=(2, 3), keepdim=True)

    with pytest.raises(ValueError, match="maps of one place for 64 x 128 px"):
        PanoramaMaps(Mean())(IMAGES)
    with pytest.raises(ValueError, match="no masks whose cost is known"):
        network.masked_macs(IMAGES)


def test_layers_that_wrap_keep_their_groups_and_dilation() -> None:
    class One(MapNetwork):
        map_channels = 6

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 6, 3, padding=2, dilation=2, groups=3)

        def forward(self, images: Tensor) -> Tensor:
            found: Tensor = self.layer(images)
            return found

    network = One()
    wide = nn.functional.pad(IMAGES, (2, 2, 0, 0), mode="circular")
    expected = nn.functional.conv2d(wide, network.layer.weight, network.layer.bias, 1, (2, 0), 2, 3)
    cells = expected.reshape(2, 6, 4, 16, 8, 16).mean(dim=(3, 5))
    torch.testing.assert_close(PanoramaMaps(network, "circular")(IMAGES), cells)
