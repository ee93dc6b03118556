from __future__ import annotations

import pytest
import torch

from encoders.amdim_oracle import layers, random_state
from ssl_kedro.core.config import ConfigError
from ssl_kedro.encoders.amdim import AmdimConfig, AmdimEncoder
from ssl_kedro.encoders.maps import adapt_batch_norm


def encoder(**changes: object) -> AmdimEncoder:
    shape: dict[str, object] = {"ndf": 2, "n_rkhs": 3, "n_depth": 2, "map_side": None}
    torch.manual_seed(0)
    return AmdimEncoder(AmdimConfig(**(shape | changes))).eval()  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [32, 64, 128])
@pytest.mark.parametrize("use_bn", [False, True])
@pytest.mark.parametrize("n_rkhs", [2, 16, 20])
def test_every_layer_equals_the_description(size: int, use_bn: bool, n_rkhs: int) -> None:
    shape = {"ndf": 2, "n_rkhs": n_rkhs, "n_depth": 2, "encoder_size": size}
    state = random_state(**shape, use_bn=use_bn)
    network = encoder(**shape, use_bn=use_bn)
    network.load_state_dict({**network.state_dict(), **state})
    assert set(state) == set(network.state_dict()) - {"pixel_mean", "pixel_std"}
    images = torch.rand(2, 3, size + 9, size)
    with torch.no_grad():
        found = network.layers(images)
        maps = network(images)
    expected = layers(state, images, size, use_bn)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert float((one - other).abs().max() / other.abs().max()) < 1e-5
    assert torch.equal(maps, found[-3])
    assert maps.shape[1] == network.map_channels


@pytest.mark.parametrize(
    ("size", "sides"),
    [  # the sizes that the authors' comments and losses name: 7x7, 5x5, 1x1
        (128, [64, 62, 30, 14, 7, 7, 5, 3, 1, 1]),
        (64, [62, 30, 14, 7, 7, 5, 3, 1, 1]),
        (32, [30, 30, 14, 7, 7, 5, 3, 1, 1]),
    ],
)
def test_sides_at_its_own_image_size(size: int, sides: list[int]) -> None:
    with torch.no_grad():
        found = encoder(encoder_size=size).layers(torch.rand(1, 3, size, size))
    assert [x.shape[3] for x in found] == sides


def test_only_its_maps_are_40_px_wide_on_the_images_of_the_thesis() -> None:
    network = encoder(n_depth=1, ndf=1)
    images = torch.rand(1, 3, 724, 724)
    with torch.no_grad():
        sides = [x.shape[3] for x in network.layers(images)]
        assert sides == [362, 360, 179, 88, 44, 44, 42, 40, 38, 38]
        assert network(images).shape == (1, 8, 40, 40)
        assert encoder(n_depth=1, ndf=1, map_side=23)(images).shape == (1, 8, 23, 23)


def test_maps_are_averaged_over_what_each_cell_covers() -> None:
    images = torch.rand(1, 3, 250, 170)
    with torch.no_grad():
        whole = encoder()(images)[0].double()
        small = encoder(map_side=5)(images)[0].double()
    assert whole.shape[1:] == (10, 5)
    assert small.shape[1:] == (5, 2)
    for i in range(5):
        for j, columns in enumerate((slice(0, 3), slice(2, 5))):
            expected = whole[:, 2 * i : 2 * i + 2, columns].mean(dim=(1, 2))
            torch.testing.assert_close(small[:, i, j], expected, rtol=1e-5, atol=1e-6)


def test_bilinear_reads_between_the_two_nearest_of_each_side() -> None:
    images = torch.rand(1, 3, 250, 250)
    with torch.no_grad():
        whole = encoder()(images)[0].double()
        small = encoder(map_side=5, map_resize="bilinear")(images)[0].double()
    assert whole.shape[1:] == (10, 10)
    # Half the side: each centre lies in the middle of four.
    expected = whole.unflatten(1, (5, 2)).unflatten(3, (5, 2)).mean(dim=(2, 4))
    torch.testing.assert_close(small, expected, rtol=1e-5, atol=1e-6)


def test_small_maps_are_not_enlarged() -> None:
    with torch.no_grad():
        assert encoder(map_side=23)(torch.rand(1, 3, 128, 128)).shape[2:] == (3, 3)


def test_adapting_touches_only_norms_that_maps_pass_through() -> None:
    images = [torch.rand(2, 3, 128, 128) for _ in range(2)]
    for use_bn in (False, True):
        network = encoder(use_bn=use_bn)
        before = {name: value.clone() for name, value in network.state_dict().items()}
        adapt_batch_norm(network, images)
        changed = {n for n, v in network.state_dict().items() if not torch.equal(v, before[n])}
        if use_bn:
            assert changed
            assert all("running_" in name for name in changed)
            assert not any(name.startswith(("layer_list.8", "layer_list.9")) for name in changed)
        else:
            assert not changed


def test_sizes_without_an_encoder_are_refused() -> None:
    with pytest.raises(ConfigError, match="encoder_size = 96"):
        encoder(encoder_size=96)
    with pytest.raises(ValueError, match="expected images of shape"):
        encoder()(torch.rand(1, 1, 128, 128))


@pytest.mark.parametrize(
    ("shape", "millions"),
    [  # as He et al. 2020 (MoCo), Table 6, count AMDIM's small and large encoders
        ({"ndf": 192, "n_rkhs": 1536, "n_depth": 8}, 194),
        ({"ndf": 320, "n_rkhs": 2560, "n_depth": 10}, 626),
    ],
)
def test_published_shapes_have_the_published_number_of_parameters(
    shape: dict[str, int], millions: int
) -> None:
    with torch.device("meta"):
        network = AmdimEncoder(AmdimConfig(**shape))  # type: ignore[arg-type]
    assert int(sum(p.numel() for p in network.parameters()) / 1e6) == millions
