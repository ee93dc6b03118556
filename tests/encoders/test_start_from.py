"""Encoders that begin with another one's dense weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from ssl_kedro.core.errors import InputError
from ssl_kedro.encoders.base import Backbone, Encoder
from ssl_kedro.encoders.bundle import save_encoder
from ssl_kedro.encoders.factory import EncoderSetup, encoder_setup
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.encoders.importers import import_weights
from ssl_kedro.encoders.maps import BranchMaps
from ssl_kedro.encoders.pair import EncoderPair
from ssl_kedro.encoders.starting import set_pixel_statistics, start_from
from ssl_kedro.gating.budget import GateConfig
from ssl_kedro.methods.base import ExpanderConfig, MethodConfig
from ssl_kedro.methods.nested import Nested
from ssl_kedro.methods.plan import method_classes
from ssl_kedro.methods.slim import VICRegSlimOptions

SHAPE = EncoderConfig("cifar_pad1", 8)
_OPTIONS = {"slim": VICRegSlimOptions(momentum=0.99)}


def trained(shape: EncoderConfig = SHAPE, seed: int = 1) -> GatedResNet18:
    """A dense encoder with norms that are not the identity."""
    torch.manual_seed(seed)
    encoder = GatedResNet18(shape, branches=("dense",), image_size=16, pixel_mean=(0.2, 0.3, 0.4))
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
    return encoder.eval()


def setup_of(source: Encoder) -> EncoderSetup:
    """What methods make an encoder of 16 px with that begins as another."""
    return encoder_setup("resnet18", image_size=16, start=source, stem="cifar_pad1", width=8)


def test_both_branches_begin_as_the_dense_one_and_gates_with_their_own_weights() -> None:
    source = trained()
    torch.manual_seed(2)
    encoder = GatedResNet18(SHAPE, image_size=16).eval()
    gates = [{n: v.clone() for n, v in gate.state_dict().items()} for gate in encoder.gates()]
    start_from(encoder, source)
    images = torch.rand(3, 3, 16, 16)
    expected = source.dense(images)
    assert torch.equal(encoder.dense(images), expected)
    opened = [torch.ones(1, block.channels) for block in encoder.cost().blocks]
    assert torch.equal(encoder(images, "gated", masks=opened).features, expected)
    for gate, before in zip(encoder.gates(), gates, strict=True):
        assert all(torch.equal(value, before[name]) for name, value in gate.state_dict().items())
    # Copies: what is trained from here on leaves the source alone.
    with torch.no_grad():
        encoder.blocks["layer1_0"].conv1.weight.zero_()  # type: ignore[union-attr]
    assert torch.equal(source.dense(images), expected)


def test_a_nested_encoder_begins_so_at_its_whole_size() -> None:
    source = trained()
    method = Nested(setup_of(source), MethodConfig(ExpanderConfig(16, 16)))
    images = torch.rand(3, 3, 16, 16)
    assert torch.equal(method.encoder.eval().dense(images), source.dense(images))
    assert torch.equal(
        method.encoder.blocks["layer4_1"].bn1["gated"].running_var,  # type: ignore[index,union-attr]
        source.blocks["layer4_1"].bn1["dense"].running_var,  # type: ignore[index,union-attr]
    )


def test_a_pair_gives_its_dense_member() -> None:
    dense, gated = trained(), GatedResNet18(SHAPE, branches=("gated",), image_size=16)
    encoder = GatedResNet18(SHAPE, image_size=16).eval()
    start_from(encoder, EncoderPair(dense, gated))
    images = torch.rand(2, 3, 16, 16)
    assert torch.equal(encoder.dense(images), dense.dense(images))


def test_published_weights_become_an_encoder_with_gates(tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "w.pth")
    network, _ = import_weights("torchvision_resnet18", tmp_path / "w.pth")
    assert isinstance(network, BranchMaps)
    setup = encoder_setup("resnet18", image_size=64, stem="imagenet")
    encoder = setup.build(("dense", "gated"), GateConfig()).eval()
    start_from(encoder, network.encoder)
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected = network(images).mean((2, 3))
    torch.testing.assert_close(encoder.dense(images), expected, rtol=1e-5, atol=1e-6)
    save_encoder(encoder, tmp_path / "encoder")


@pytest.mark.parametrize("name", ["byol_dual_gating", "slim", "two_encoders", "dual_gating"])
def test_all_encoders_of_a_method_begin_so_and_stay_with_its_pixels(name: str) -> None:
    source = trained()
    images = torch.rand(2, 3, 16, 16)
    expected = source.dense(images)
    config = MethodConfig(ExpanderConfig(16, 16), options=_OPTIONS.get(name))
    method = method_classes()[name](setup_of(source), config, 0.5).eval()
    assert method.begins_trained
    found = [part for part in method.modules() if isinstance(part, Backbone)]
    assert len(found) == (1 if name == "dual_gating" else 2)
    for encoder in found:
        opened = [torch.ones(1, block.channels) for block in encoder.cost().blocks]
        for branch in encoder.branches:
            masks = opened if branch == "gated" else None
            features = encoder(images, branch, masks=masks).features
            torch.testing.assert_close(features, expected)


def test_what_begins_anew_takes_the_pixels_of_its_images_in_all_encoders() -> None:
    setup = encoder_setup("resnet18", image_size=16, stem="cifar_pad1", width=8)
    method = method_classes()["byol_dual_gating"](setup, MethodConfig(ExpanderConfig(16, 16)), 0.5)
    assert not method.begins_trained
    set_pixel_statistics(method, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    for part in method.modules():
        if isinstance(part, Backbone):
            assert part.pixel_mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
            assert part.pixel_std.flatten().tolist() == pytest.approx([0.4, 0.5, 0.6])


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        (
            lambda: trained(EncoderConfig("cifar_pad1", 4)),
            InputError,
            "found width 4 for 8; expected the weights of a resnet18",
        ),
        (
            lambda: trained(EncoderConfig("cifar_pad1", 8, stages=(1, 1, 1, 1))),
            InputError,
            r"found stages \(1, 1, 1, 1\) for \(2, 2, 2, 2\); expected",
        ),
        (
            lambda: trained(
                EncoderConfig("cifar_pad1", 8, inner_channels=(4, 8, 16, 16, 32, 32, 64, 64))
            ),
            InputError,
            r"blocks\.layer1_0\.bn1\.dense\.bias \(4,\) for \(8,\), .* and \d+ more",
        ),
        (
            lambda: trained(EncoderConfig("cifar", 8)),
            InputError,
            "stem cifar for cifar_pad1",
        ),
        (
            lambda: GatedResNet18(SHAPE, branches=("gated",), image_size=16),
            ValueError,
            "has no 'dense' branch",
        ),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(
    source: Callable[[], Encoder], error: type[Exception], words: str
) -> None:
    encoder = GatedResNet18(SHAPE, image_size=16)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    with pytest.raises(error, match=words):
        start_from(encoder, source())
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_norms_that_branches_do_not_share_begin_as_the_dense_ones() -> None:
    source = trained()
    shape = EncoderConfig("cifar_pad1", 8, separate_norms="all")
    encoder = GatedResNet18(shape, image_size=16)
    start_from(encoder, source)
    state, wanted = encoder.state_dict(), source.state_dict()
    for name in ("weight", "running_mean", "running_var"):
        assert torch.equal(state[f"stem_norm.gated.{name}"], wanted[f"stem.1.{name}"])
        block = "blocks.layer3_0.downsample"
        assert torch.equal(state[f"{block}_norm.gated.{name}"], wanted[f"{block}.1.{name}"])
