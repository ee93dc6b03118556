"""Vision transformers with gates: timm, torchvision's count and physically smaller ones judge."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

import ssl_kedro as ssl
from oracles.drawn import with_drawn_values
from ssl_kedro.core.config import ConfigError
from ssl_kedro.core.errors import InputError
from ssl_kedro.encoders.base import Backbone
from ssl_kedro.encoders.bundle import load_encoder, save_encoder
from ssl_kedro.encoders.factory import (
    EncoderSetup,
    backbone,
    cost_at,
    encoder_setup,
    new_backbone,
    setup_from_json,
    shape_values,
)
from ssl_kedro.encoders.gated_vit import (
    GatedViT,
    GatedViTSmall,
    ViTConfig,
    ViTSmallConfig,
    resampled,
)
from ssl_kedro.encoders.maps import BranchMaps, adapt_batch_norm, load_map_network
from ssl_kedro.encoders.pair import EncoderPair
from ssl_kedro.encoders.starting import start_from
from ssl_kedro.gating.budget import GateConfig
from ssl_kedro.methods.base import ExpanderConfig, Method, MethodConfig
from ssl_kedro.methods.plan import method_classes

SMALL = ViTConfig(width=128, patch=4, depth=2)
BRANCHES = ("dense", "gated")


def encoder_of(shape: ViTConfig = SMALL, image_size: int = 16, **options: Any) -> GatedViT:
    made = with_drawn_values(new_backbone(shape, image_size=image_size, **options))
    with torch.no_grad():  # logits of both signs
        for gate in made.gates():
            gate.expand.weight.mul_(20)
    return made  # type: ignore[no-any-return]


def with_weights_of(theirs: nn.Module, shape: ViTConfig, image_size: int) -> GatedViT:
    """A dense encoder with timm's weights, whose pixels stay as they are."""
    made: Any = new_backbone(
        shape, branches=("dense",), image_size=image_size, pixel_mean=(0,) * 3, pixel_std=(1,) * 3
    )
    theirs_by_our_names = {
        n if "norm" not in n else ".dense.".join(n.rsplit(".", 1)): v
        for n, v in theirs.state_dict().items()
    }
    known = made.state_dict().keys() - {"pixel_mean", "pixel_std"}
    assert theirs_by_our_names.keys() == known
    made.load_state_dict(theirs_by_our_names, strict=False)
    return made.eval()  # type: ignore[no-any-return]


def counted_macs(network: nn.Module, images: Tensor, blocks: int) -> int:
    """Of what its convolutions and linear layers do, and of attention's two products."""
    found = []

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        weight = layer.weight
        positions = output.numel() // weight.shape[0]  # type: ignore[operator,index]
        found.append(positions * weight.numel())  # type: ignore[operator]

    def products(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> None:
        tokens = output.shape[1]
        heads = output.shape[2] // 3 // 64
        found.append(heads * 2 * tokens * tokens * 64)

    hooks = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            hooks.append(module.register_forward_hook(count))
        if name.endswith("attn.qkv"):
            hooks.append(module.register_forward_hook(products))
    with torch.no_grad():
        network(images) if not isinstance(network, GatedViT) else network(images, "dense")
    for hook in hooks:
        hook.remove()
    assert len(found) == 1 + 5 * blocks
    return sum(found)


@pytest.mark.parametrize(
    "name", ["vit_tiny_patch16_224", "vit_small_patch16_224", "vit_small_patch14_dinov2"]
)
def test_it_equals_timm_in_features_maps_macs_and_parameters(name: str) -> None:
    side = 98 if "dino" in name else 224
    theirs = with_drawn_values(timm.create_model(name, num_classes=0, img_size=side))
    kind = ViTSmallConfig if "small" in name else ViTConfig
    patch = theirs.patch_embed.patch_size[0]
    shape = kind(patch=patch, layer_scale="dino" in name)
    ours = with_weights_of(theirs, shape, side)
    images = torch.rand(2, 3, side, side)
    with torch.no_grad():
        tokens = theirs.forward_features(images)
        expected = theirs(images)
        found = ours(images, "dense").features
        maps = ours.maps(images, "dense")[0]
    scale = float(tokens.abs().max())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * scale)
    cells = side // patch
    grid = tokens[:, 1:].view(2, cells, cells, -1).permute(0, 3, 1, 2)
    torch.testing.assert_close(maps, grid, rtol=0, atol=1e-5 * scale)
    mean = with_weights_of(theirs, dataclasses.replace(shape, pooling="mean"), side)
    torch.testing.assert_close(
        mean(images, "dense").features, tokens[:, 1:].mean(1), rtol=0, atol=1e-5 * scale
    )
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    assert ours.cost().dense == counted_macs(theirs, images[:1], 12)


def test_a_vit_b_costs_what_torchvision_has_published() -> None:
    cost = cost_at(ViTConfig(width=768, patch=16), 224, 4).dense + 768 * 1000
    published = torchvision.models.ViT_B_16_Weights.IMAGENET1K_V1.meta["_ops"]
    assert round(cost / 1e9, 3) == published == 17.564


@pytest.mark.parametrize("grid", [(7, 7), (20, 20), (9, 14)])
def test_positions_of_other_sizes_are_timms(grid: tuple[int, int]) -> None:
    positions = torch.randn(1, 14 * 14 + 1, 32, generator=torch.Generator().manual_seed(0))
    expected = resample_abs_pos_embed(positions, list(grid))
    torch.testing.assert_close(resampled(positions, *grid), expected, rtol=0, atol=0)
    assert resampled(positions, 14, 14) is positions


def test_images_of_another_size_get_positions_in_between() -> None:
    encoder = encoder_of()
    assert encoder.maps(torch.rand(2, 3, 24, 12), "dense")[0].shape == (2, 128, 6, 3)
    larger = encoder_of(image_size=24)
    weights = encoder.state_dict()
    between = resample_abs_pos_embed(weights["pos_embed"], [6, 6])
    larger.load_state_dict(weights | {"pos_embed": between})
    images = torch.rand(2, 3, 24, 24)
    found, expected = (one(images, "dense").features for one in (encoder, larger))
    torch.testing.assert_close(found, expected)
    assert encoder.cost(24) == larger.cost()


@torch.no_grad()
def cut(encoder: GatedViT, masks: list[Tensor], branch: str) -> GatedViT:
    """A network that has only the open heads and hidden units, of one sample's masks (C,)."""
    shape = encoder.config.thinned([int(mask.sum()) for mask in masks])
    thin: Any = new_backbone(shape, branches=("dense",), image_size=encoder.image_size)
    state = encoder.state_dict()
    other = ".gated." if branch == "dense" else ".dense."
    known = {n: v for n, v in state.items() if other not in n and ".gate." not in n}
    for index in range(encoder.config.depth):
        heads = masks[2 * index].bool().repeat_interleave(64)
        units = masks[2 * index + 1].bool()
        for part, rows in (("attn.qkv", heads.repeat(3)), ("mlp.fc1", units)):
            for kind in ("weight", "bias"):
                name = f"blocks.{index}.{part}.{kind}"
                known[name] = known[name][rows]
        for part, columns in (("attn.proj", heads), ("mlp.fc2", units)):
            name = f"blocks.{index}.{part}.weight"
            known[name] = known[name][:, columns]
    thin.load_state_dict({n.replace(".gated.", ".dense."): v for n, v in known.items()})
    return thin.eval()  # type: ignore[no-any-return]


def random_masks(encoder: GatedViT, samples: int) -> list[Tensor]:
    """Half of the units of each sample, at least one."""
    generator = torch.Generator().manual_seed(1)
    found = []
    for block in encoder.cost().blocks:
        mask = (torch.rand(samples, block.channels, generator=generator) > 0.5).float()
        mask[:, 0] = 1
        found.append(mask)
    return found


@pytest.mark.parametrize("branch", BRANCHES)
@pytest.mark.parametrize("pooling", ["class", "mean"])
def test_masked_equals_a_smaller_network_in_outputs_and_macs(branch: Any, pooling: Any) -> None:
    encoder = encoder_of(dataclasses.replace(SMALL, layer_scale=True, pooling=pooling))
    images, masks = torch.rand(3, 3, 16, 16), random_masks(encoder, 3)
    with torch.no_grad():
        features, applied, decided = encoder(images, branch, masks=masks)
        maps = encoder.maps(images, branch, masks=masks)[0]
    assert all(map(torch.equal, applied, masks))
    assert all(torch.equal(d, m > 0) for d, m in zip(decided, masks, strict=True))
    macs = encoder.cost().masked(masks)
    gates = sum(block.gate for block in encoder.cost().blocks)
    for sample in range(3):
        thin = cut(encoder, [mask[sample] for mask in masks], branch)
        one = images[sample : sample + 1]
        with torch.no_grad():
            expected = thin(one, "dense").features[0]
            torch.testing.assert_close(features[sample], expected, rtol=0, atol=1e-5)
            expected_maps = thin.maps(one, "dense")[0][0]
            torch.testing.assert_close(maps[sample], expected_maps, rtol=0, atol=1e-5)
        assert float(macs[sample]) - gates == thin.cost().dense == counted_macs(thin, one, 2)


def test_masks_that_gates_decide_are_those_of_the_units_inputs() -> None:
    """The gates' decisions, found again from what hooks see of the residual stream."""
    encoder = encoder_of()
    seen: list[Tensor] = []
    for block in encoder.blocks:
        for norm in (block.norm1, block.norm2):
            norm["gated"].register_forward_hook(lambda _, given, __: seen.append(given[0]))
    images = torch.rand(16, 3, 16, 16)
    with torch.no_grad():
        _, masks, decided = encoder(images, "gated")
    assert [mask.shape[1] for mask in masks] == [b.channels for b in encoder.cost().blocks]
    assert [b.name for b in encoder.cost().blocks] == [
        "blocks.0.attn", "blocks.0.mlp", "blocks.1.attn", "blocks.1.mlp",
    ]  # fmt: skip
    for stream, gate, mask, decision in zip(seen, encoder.gates(), masks, decided, strict=True):
        pooled = stream.mean(dim=1)[:, :, None, None]
        expected = gate.logits(pooled) >= 0
        assert torch.equal(decision, expected)
        assert torch.equal(mask, expected.float())
        assert 0 < mask.mean() < 1


def test_costs_are_those_counted_by_hand() -> None:
    """Width 64 at 16 px with patches of 8: 5 tokens, one head, 256 hidden units."""
    cost = cost_at(ViTConfig(width=64, patch=8, depth=1), 16, gate_reduction=4)
    assert cost.stem == 4 * (3 * 8 * 8) * 64
    attention, mlp = cost.blocks
    assert attention.macs_per_channel == 5 * 64 * 3 * 64 + 2 * 5 * 5 * 64 + 5 * 64 * 64
    assert (mlp.channels, mlp.macs_per_channel) == (256, 5 * (64 + 64))
    assert (attention.gate, mlp.gate) == (64 * 16 + 16 * 1, 64 * 16 + 16 * 256)
    assert cost.fixed == cost.stem + attention.gate + mlp.gate


def test_branches_share_weights_but_no_norms() -> None:
    encoder, single = encoder_of(), encoder_of(branches=("dense",))
    both, one = (sum(p.numel() for p in made.parameters()) for made in (encoder, single))
    gates = sum(p.numel() for gate in encoder.gates() for p in gate.parameters())
    assert both - one - gates == 2 * 128 * (2 * 2 + 1)
    images, opened = torch.rand(2, 3, 16, 16), [torch.ones(1, 1)] * 4
    dense = encoder(images, "dense").features
    assert not torch.allclose(encoder(images, "gated", masks=opened).features, dense, atol=1e-2)
    with torch.no_grad():
        for name, value in encoder.state_dict().items():
            if ".gated." in name:
                value.copy_(encoder.state_dict()[name.replace(".gated.", ".dense.")])
    assert torch.equal(encoder(images, "gated", masks=opened).features, dense)
    with pytest.raises(ValueError, match="no 'gated' branch"):
        single(images, "gated")


def test_gradients_reach_gates_and_everything_else() -> None:
    encoder = encoder_of(dataclasses.replace(SMALL, layer_scale=True)).train()
    found = encoder(torch.rand(8, 3, 16, 16), "gated", torch.Generator().manual_seed(0))
    (found.features.square().sum() + encoder.cost().ratio(found.masks)).backward()
    idle = {name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()}
    assert idle == {name for name, _ in encoder.named_parameters() if ".dense." in name}
    # Masks are exactly 0 or 1 and pass the gradient of their relaxation.
    assert all(set(mask.unique().tolist()) <= {0.0, 1.0} for mask in found.masks)


def test_gates_decide_in_single_precision_under_autocast() -> None:
    encoder = encoder_of()
    with torch.autocast("cpu", torch.bfloat16):
        features, masks, _ = encoder(torch.rand(4, 3, 16, 16), "gated")
    assert {mask.dtype for mask in masks} == {torch.float32}
    assert features.dtype == torch.float32


@pytest.mark.parametrize("pooling", ["class", "mean"])
def test_bundles_of_one_and_of_a_pair_survive_the_round_trip(tmp_path: Path, pooling: Any) -> None:
    shape = ViTSmallConfig(width=64, depth=2, pooling=pooling, layer_scale=True)
    setup = EncoderSetup(shape, 16, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    members = [with_drawn_values(setup.build((branch,), GateConfig())) for branch in BRANCHES]
    images = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8)
    for name, original in (("one", encoder_of(shape)), ("pair", EncoderPair(*members))):
        save_encoder(original, tmp_path / name)
        loaded = load_encoder(tmp_path / name)
        for branch in BRANCHES:
            expected = original.features(images, branch)
            assert torch.equal(loaded.features(images, branch), expected)
            member = original.member(branch)
            assert torch.equal(member.features(images, branch), expected)
            maps = load_map_network(tmp_path / name, branch)(images)
            assert torch.equal(maps, original.maps(images, branch)[0])
    written = json.loads((tmp_path / "one" / "config.json").read_text())
    assert written["format"] == "ssl_kedro gated_vit_small v1"
    assert isinstance(load_encoder(tmp_path / "one"), GatedViTSmall)
    assert setup_from_json(json.loads(json.dumps(setup.as_json())), None) == setup


def test_names_and_fields_of_other_architectures() -> None:
    assert (backbone("vit_tiny"), backbone("vit_small")) == (GatedViT, GatedViTSmall)
    assert (ViTConfig().width, ViTSmallConfig().width) == (192, 384)
    assert shape_values(ViTConfig())["architecture"] == "vit_tiny"
    setup = ssl.encoders.gated_vit_small(image_size=16, width=64, depth=1)
    assert isinstance(setup.build(("dense",), GateConfig()), GatedViTSmall)


def test_maps_of_a_dense_branch_need_no_statistics_of_its_gates() -> None:
    encoder = encoder_of()
    images = torch.rand(4, 3, 16, 16)
    network = BranchMaps(encoder, "dense").eval()
    before = encoder.gates()[0].norm.running_mean.clone()  # type: ignore[union-attr,operator]
    adapt_batch_norm(network, [images])
    assert torch.equal(encoder.gates()[0].norm.running_mean, before)  # type: ignore[union-attr,arg-type]
    adapt_batch_norm(BranchMaps(encoder, "gated").eval(), [images])
    found = encoder.gates()[0].norm.running_mean  # type: ignore[union-attr]
    seen: list[Tensor] = []
    encoder.blocks[0].norm1["gated"].register_forward_hook(lambda _, x, __: seen.append(x[0]))
    with torch.no_grad():
        encoder(images, "gated")
        expected = encoder.gates()[0].squeeze(seen[0].mean(1)).mean(0)  # type: ignore[union-attr,operator]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_thinner_and_narrower_shapes() -> None:
    thin = SMALL.thinned((1, 100, 2, 3))
    assert thin.units == (1, 100, 2, 3)
    assert thin.narrowed(64).units == (1, 50, 1, 2)
    assert SMALL.narrowed(64).units == (1, 256, 1, 256)
    with pytest.raises(ConfigError, match="width = 72: expected a multiple of 64"):
        ViTConfig().narrowed(72)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"width": 8}, "width = 8: expected a multiple of 64, .* such as 64, 192 or 384"),
        ({"width": 0}, "width = 0"),
        ({"inner_channels": (3, 768)}, r"heads and hidden units of each block, 24 numbers"),
        ({"inner_channels": (0, 5), "depth": 1}, "inner_channels"),
        ({"pooling": "both"}, "one of class, mean"),
        ({"depth": 0}, "depth = 0"),
        ({"patch": 0}, "patch = 0"),
    ],
)
def test_shapes_that_cannot_be(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ViTConfig(**values)


def test_sizes_that_are_no_multiples_of_the_patch_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"image_size = 18: .* a multiple of .* patch, 4 px"):
        encoder_of(image_size=18)
    encoder = encoder_of()
    with pytest.raises(ConfigError, match="image_size = 18"):
        encoder.cost(18)
    with pytest.raises(InputError, match=r"found 16 x 18 px; .* multiples of 4 px"):
        encoder(torch.rand(1, 3, 16, 18), "dense")
    with pytest.raises(ValueError, match=r"\(N, 3, H, W\)"):
        encoder(torch.rand(1, 1, 16, 16), "dense")


def test_both_branches_begin_as_a_dense_one_whatever_its_grid() -> None:
    source = encoder_of(branches=("dense",), pixel_mean=(0.2, 0.3, 0.4))
    images = torch.rand(3, 3, 16, 16)
    for image_size in (16, 24):
        encoder = encoder_of(image_size=image_size)
        expected = {n: v.clone() for n, v in source.state_dict().items()}
        start_from(encoder, source)
        if image_size == 16:
            features = source(images, "dense").features
            assert torch.equal(encoder(images, "dense").features, features)
            opened = [torch.ones(1, block.channels) for block in encoder.cost().blocks]
            assert torch.equal(encoder(images, "gated", masks=opened).features, features)
        else:
            wanted = resample_abs_pos_embed(expected["pos_embed"], [6, 6])
            assert torch.equal(encoder.pos_embed, wanted)
        found = encoder.state_dict()
        for name in expected.keys() - {"pos_embed"}:
            assert torch.equal(found[name], expected[name]), name
            assert torch.equal(found[name.replace(".dense.", ".gated.")], expected[name]), name


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"patch": 8}, "patch 8 for 4"),
        ({"depth": 1}, "depth 1 for 2"),
        ({"pooling": "mean"}, "pooling mean for class"),
        ({"layer_scale": True}, "layer_scale True for False"),
        ({"width": 64}, "width 64 for 128"),
        ({"inner_channels": (1, 4) * 2}, r"attn\.proj\.weight \(128, 64\) for \(128, 128\)"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(
    change: dict[str, Any], words: str
) -> None:
    encoder = encoder_of()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    with pytest.raises(InputError, match=words):
        start_from(encoder, encoder_of(dataclasses.replace(SMALL, **change)))
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_a_resnets_weights_are_no_transformers() -> None:
    resnet = encoder_setup("resnet18", image_size=16, width=128).build(("dense",), GateConfig())
    words = "found a resnet18 for a vit_tiny; expected the weights of a vit_tiny"
    with pytest.raises(InputError, match=words):
        start_from(encoder_of(), resnet)


@pytest.mark.parametrize("name", ["vicreg", "dual_gating", "simsiam_gating", "seed"])
def test_methods_train_all_of_it(name: str) -> None:
    torch.manual_seed(0)
    setup = encoder_setup("vit_tiny", image_size=32, width=64, depth=2, patch=8)
    if name == "seed":
        teacher: Backbone = setup.build(("dense", "gated"), GateConfig())
        thin = setup.config.thinned((1, 7, 1, 90))
        setup = dataclasses.replace(setup, config=thin, teacher=teacher)
    options = {"seed": {"queue": 64}}.get(name)
    kind = method_classes()[name]
    chosen = None if options is None else kind.options_type(**options)
    budget = 0.5 if "gating" in name else None
    method: Method = kind(setup, MethodConfig(ExpanderConfig(16, 16), options=chosen), budget)
    before = {n: p.detach().clone() for n, p in method.encoder.named_parameters()}
    images = ssl.load_images("textures", split="train", generated=60)
    result = ssl.train(method, images, ssl.Views(), ssl.Recipe(
        epochs=2, batch_size=20, precision="fp32", optimiser="adam", lr=1e-3, warmup_epochs=0
    ))  # fmt: skip
    after = dict(result.encoder.named_parameters())
    unmoved = [n for n, value in before.items() if torch.equal(after[n], value)]
    assert not unmoved
    assert all(map(torch.isfinite, torch.tensor([row["loss"] for row in result.history])))
    if name == "seed":
        assert result.encoder.cost().dense < teacher.cost().dense


@pytest.mark.parametrize(
    ("name", "words"), [("nested", "cut to budgets"), ("slim", "cut to widths")]
)
def test_methods_that_cut_channels_refuse_it(name: str, words: str) -> None:
    setup = encoder_setup("vit_tiny", image_size=16, width=64, depth=1)
    with pytest.raises(ConfigError, match=f"architecture = 'vit_tiny': expected a ResNet.*{words}"):
        method_classes()[name](setup)
