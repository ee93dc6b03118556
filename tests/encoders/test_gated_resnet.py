from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from oracles.sliced_resnet import sliced_forward
from ssl_kedro.core.config import ConfigError
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18, Projection, Stem


def randomised(encoder: GatedResNet18, seed: int = 0) -> GatedResNet18:
    """Evaluation-mode encoder whose batch norms are not the identity."""
    generator = torch.Generator().manual_seed(seed)
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            with torch.no_grad():
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.normal_(0, 0.2, generator=generator)
                module.running_mean.normal_(0, 0.2, generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
    return encoder.eval()


@pytest.mark.parametrize(
    ("stem", "size", "total"),
    [
        ("cifar", 32, 703_560_448),
        ("imagenet", 96, 333_103_104),
        ("imagenet", 224, 1_813_561_344),
        ("cifar_pad1", 32, 555_417_600),
    ],
)
def test_dense_macs_at_width_64(stem: Stem, size: int, total: int) -> None:
    encoder = GatedResNet18(EncoderConfig(stem=stem, width=64), image_size=size)
    assert encoder.cost().dense == total


@pytest.mark.parametrize(("stem", "size"), [("cifar", 32), ("imagenet", 96), ("cifar_pad1", 31)])
def test_masked_network_equals_the_sliced_one_in_output_and_macs(stem: Stem, size: int) -> None:
    torch.manual_seed(0)
    encoder = randomised(GatedResNet18(EncoderConfig(stem=stem, width=8), image_size=size))
    images = torch.rand(3, 3, size, size)
    with torch.no_grad():
        features, masks, _ = encoder(images, "gated")
        macs = encoder.cost().masked(masks)
        assert 0 < float(torch.cat([m.flatten() for m in masks]).mean()) < 1
        for sample in range(3):
            kept = [mask[sample] for mask in masks]
            expected, counted = sliced_forward(encoder, images[sample], kept, "gated")
            assert torch.allclose(features[sample], expected, atol=1e-4, rtol=1e-4)
            assert float(macs[sample]) == counted


def test_dense_macs_are_what_the_convolutions_do() -> None:
    encoder = randomised(GatedResNet18(EncoderConfig(width=8), branches=("dense",)))
    cost = encoder.cost()
    ones = [torch.ones(block.channels) for block in cost.blocks]
    features, counted = sliced_forward(encoder, torch.rand(3, 32, 32), ones, "dense")
    assert counted == cost.dense
    assert features.shape == (encoder.feature_dimensions,)


def test_all_open_gate_equals_the_dense_path_with_the_same_norms() -> None:
    encoder = randomised(GatedResNet18(EncoderConfig(width=8)))
    for _, block in encoder.residual_blocks():
        block.bn1["gated"].load_state_dict(block.bn1["dense"].state_dict())
        block.bn2["gated"].load_state_dict(block.bn2["dense"].state_dict())
    images = torch.rand(4, 3, 32, 32)
    ones = [torch.ones(1, block.channels) for block in encoder.cost().blocks]
    with torch.no_grad():
        opened = encoder(images, "gated", masks=ones).features
        assert torch.allclose(opened, encoder.dense(images), atol=1e-5)
        assert not torch.allclose(encoder.gated(images), opened, atol=1e-3)


def test_closed_channels_are_not_read() -> None:
    encoder = randomised(GatedResNet18(EncoderConfig(width=8)))
    images = torch.rand(2, 3, 32, 32)
    masks = [torch.ones(1, block.channels) for block in encoder.cost().blocks]
    masks[3][0, 5] = 0
    with torch.no_grad():
        before = encoder(images, "gated", masks=masks).features
        _, block = encoder.residual_blocks()[3]
        block.conv1.weight[5] += 100
        block.conv2.weight[:, 5] -= 100
        assert torch.equal(encoder(images, "gated", masks=masks).features, before)


def test_cost_of_masks_by_hand() -> None:
    encoder = GatedResNet18(EncoderConfig(width=8))
    cost = encoder.cost()
    first, third = cost.blocks[0], cost.blocks[2]
    # 34x34 maps; the first block has 8 -> 8 channels and no downsample.
    assert first.macs_per_channel == 9 * 34 * 34 * (8 + 8)
    assert (first.shortcut, first.gate) == (0, 8 * 2 + 2 * 8)
    # The third is 8 -> 16 at stride 2: 17x17 maps.
    assert third.macs_per_channel == 9 * 17 * 17 * (8 + 16)
    assert (third.shortcut, third.gate) == (17 * 17 * 8 * 16, 8 * 2 + 2 * 16)
    assert cost.stem == 34 * 34 * 9 * 3 * 8


def test_ratio_is_the_batch_mean_of_masked_over_dense() -> None:
    cost = GatedResNet18(EncoderConfig(width=8)).cost()
    generator = torch.Generator().manual_seed(1)
    masks = [(torch.rand(7, b.channels, generator=generator) < 0.3).float() for b in cost.blocks]
    expected = float(cost.masked(masks).mean()) / cost.dense
    assert float(cost.ratio(masks)) == pytest.approx(expected, rel=1e-5)


def test_masks_of_wrong_length_are_refused() -> None:
    cost = GatedResNet18(EncoderConfig(width=8)).cost()
    with pytest.raises(ValueError, match="masks have"):
        cost.masked([torch.ones(1, 4)])


def test_uint8_and_float_images_give_the_same_features() -> None:
    encoder = randomised(
        GatedResNet18(EncoderConfig(width=8), pixel_mean=(0.4, 0.5, 0.6), pixel_std=(0.2,) * 3)
    )
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.allclose(encoder.dense(images), encoder.dense(images / 255), atol=1e-5)


def test_gates_add_two_percent_of_parameters_at_width_64() -> None:
    encoder = GatedResNet18(EncoderConfig(width=64))
    gates = sum(
        p.numel() for _, b in encoder.residual_blocks() if b.gate for p in b.gate.parameters()
    )
    backbone = sum(
        p.numel() for p in GatedResNet18(EncoderConfig(width=64), branches=("dense",)).parameters()
    )
    assert gates / backbone == pytest.approx(0.0211, abs=0.001)  # thesis 6.3.1: 2.11 %


def test_missing_branch_and_wrong_shapes_are_named() -> None:
    encoder = GatedResNet18(EncoderConfig(width=8), branches=("dense",))
    with pytest.raises(ValueError, match="no 'gated' branch"):
        encoder.gated(torch.rand(1, 3, 32, 32))
    with pytest.raises(ValueError, match=r"\(1, 1, 32, 32\)"):
        encoder.dense(torch.rand(1, 1, 32, 32))
    with pytest.raises(ValueError, match="expected dense, gated or both"):
        GatedResNet18(EncoderConfig(width=8), branches=())


def test_initialisation_is_kaiming_fan_out() -> None:
    torch.manual_seed(0)
    encoder = GatedResNet18(EncoderConfig(width=64))
    conv = encoder.residual_blocks()[-1][1].conv2
    assert float(conv.weight.detach().std()) == pytest.approx((2 / (9 * 512)) ** 0.5, rel=0.01)


def test_thin_network_equals_the_masked_one_with_the_same_channels() -> None:
    # Keeping the first k channels of every block by mask, or having only those.
    torch.manual_seed(0)
    kept = (3, 8, 5, 16, 20, 1, 40, 7)
    wide = randomised(GatedResNet18(EncoderConfig(width=8), branches=("dense",)))
    thin = GatedResNet18(EncoderConfig(width=8, inner_channels=kept), branches=("dense",)).eval()
    weights = {}
    for name, value in thin.state_dict().items():
        source = wide.state_dict()[name]
        weights[name] = source[tuple(slice(n) for n in value.shape)] if value.ndim else source
    thin.load_state_dict(weights)
    masks = []
    for count, block in zip(kept, wide.cost().blocks, strict=True):
        mask = torch.zeros(1, block.channels)
        mask[:, :count] = 1
        masks.append(mask)
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        masked = wide(images, "dense", masks=masks).features
        assert torch.allclose(thin.dense(images), masked, atol=1e-5)
    assert thin.cost().dense == float(wide.cost().masked(masks))


def test_thin_network_needs_a_number_for_every_block() -> None:
    with pytest.raises(ConfigError, match="one number a block, 8 in all"):
        EncoderConfig(inner_channels=(4, 4))
    with pytest.raises(ConfigError, match="at least 1"):
        EncoderConfig(inner_channels=(4,) * 7 + (0,))


def test_decisions_are_the_gates_without_noise() -> None:
    torch.manual_seed(0)
    encoder = GatedResNet18(EncoderConfig(width=8), image_size=16)
    images = torch.rand(4, 3, 16, 16)
    noisy = encoder(images, "gated", torch.Generator().manual_seed(1))
    again = encoder(images, "gated", torch.Generator().manual_seed(2))
    # The first gate sees the same input whatever noise comes after it.
    assert torch.equal(noisy.decisions[0], again.decisions[0])
    assert not torch.equal(noisy.masks[0], again.masks[0])
    first = encoder.gates()[0]
    logits = first.logits(encoder.stem(encoder.laid_out(images, encoder.stem[0])))
    assert torch.equal(noisy.decisions[0], logits >= 0)
    encoder.eval()
    quiet = encoder(images, "gated")
    for mask, decision in zip(quiet.masks, quiet.decisions, strict=True):
        assert torch.equal(mask > 0, decision)
    assert encoder(images, "dense").decisions == ()


def test_zero_initialised_blocks_start_as_their_shortcuts() -> None:
    torch.manual_seed(0)
    encoder = GatedResNet18(EncoderConfig(width=4, zero_init_residual=True), image_size=16)
    x = torch.rand(2, 4, 16, 16)
    for branch in encoder.branches:
        first, second = (block for _, block in encoder.residual_blocks()[1:3])
        out, *_ = first(x, branch, None, None)
        assert torch.equal(out, x)
        out, *_ = second(x, branch, None, None)
        assert second.downsample is not None
        assert torch.allclose(out, torch.relu(second.downsample(x)), atol=1e-6)


def test_norms_of_stem_and_downsample_can_be_each_branchs_own() -> None:
    """Each branch is then the encoder of that branch alone with the branch's norms."""
    encoder = randomised(
        GatedResNet18(EncoderConfig("cifar_pad1", 4, separate_norms="all"), image_size=16)
    ).eval()
    images = torch.rand(3, 3, 16, 16)
    state = encoder.state_dict()
    own = {name: name.split(".gated.") for name in state if "_norm.gated." in name}
    assert len({head for head, _ in own.values()}) == 4  # the stem, and three downsamples
    shared = GatedResNet18(EncoderConfig("cifar_pad1", 4), image_size=16).eval()
    for branch in ("dense", "gated"):
        alone = {name: value for name, value in state.items() if name not in own}
        if branch == "gated":
            moved = {f"{h.removesuffix('_norm')}.1.{t}": state[n] for n, (h, t) in own.items()}
            assert moved.keys() < alone.keys()
            alone |= moved
        shared.load_state_dict(alone)
        with torch.no_grad():
            found = encoder(images, branch).features
            assert torch.equal(found, shared(images, branch).features)
            ours, theirs = encoder.folded(branch), shared.folded(branch)
            assert torch.equal(ours.first.bias, theirs.first.bias)
            for one, other in zip(ours.units, theirs.units, strict=True):
                if one.shortcut is not None and other.shortcut is not None:
                    assert torch.equal(one.shortcut.bias, other.shortcut.bias)
    assert not torch.equal(encoder.folded("dense").first.bias, encoder.folded("gated").first.bias)


def test_in_training_separate_norms_see_their_own_branch_alone() -> None:
    torch.manual_seed(0)
    encoder = GatedResNet18(EncoderConfig("cifar_pad1", 4, separate_norms="all"), image_size=16)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    encoder.train()(torch.rand(4, 3, 16, 16), "gated")
    changed = {n for n, v in encoder.state_dict().items() if not torch.equal(v, before[n])}
    assert changed
    assert all("gate" in name for name in changed)


def test_one_branch_has_nothing_to_separate() -> None:
    shapes = [EncoderConfig("cifar_pad1", 4, separate_norms=kind) for kind in ("blocks", "all")]
    for branch in ("dense", "gated"):
        names = [GatedResNet18(s, branches=(branch,)).state_dict().keys() for s in shapes]
        assert names[0] == names[1]


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("channels", [3, 8])
def test_shortcuts_of_few_channels_are_convolutions_with_a_stride(
    layout: torch.memory_format, channels: int
) -> None:
    """In float64, which oneDNN does not compute, the stride is safe to take."""
    drawn = torch.Generator().manual_seed(0)
    x = torch.randn(10, channels, 16, 16, generator=drawn).contiguous(memory_format=layout)
    projection = Projection(channels, 4, 2).to(memory_format=layout)
    oracle = x.double().requires_grad_()
    expected = functional.conv2d(oracle, projection.weight.double(), stride=2)
    for _ in range(20):
        x = x.detach().requires_grad_()
        found = projection(x)
        (found**2).sum().backward()
    (expected**2).sum().backward()
    assert oracle.grad is not None
    assert x.grad is not None
    assert found.shape == (10, 4, 8, 8)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(x.grad.double(), oracle.grad, rtol=1e-5, atol=1e-4)
