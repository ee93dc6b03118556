"""Encoders of panoramas, saliency decoders, both together, and their bundles."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from ssl_kedro.encoders.bundle import BundleError, load_bundle, save_bundle
from ssl_kedro.encoders.panorama_encoder import (
    LongitudeConv2d,
    PanoramaEncoder,
    PanoramaEncoderConfig,
    continue_longitude,
    enlarged,
    macs_by_hooks,
    scaled,
)
from ssl_kedro.encoders.saliency_model import (
    DecoderConfig,
    SaliencyDecoder,
    SaliencyModel,
    build_decoder,
)

SIZE = (32, 64)


def encoder(**changes: object) -> PanoramaEncoder:
    torch.manual_seed(0)
    values = {"width": 0.1, "longitude_padding": "circular", **changes}
    return PanoramaEncoder(PanoramaEncoderConfig(**values)).eval()  # type: ignore[arg-type]


def decoder(channels: int, **changes: object) -> SaliencyDecoder:
    torch.manual_seed(1)
    values = {"width": 0.1, "longitude_padding": "circular", **changes}
    return build_decoder(DecoderConfig(**values), channels).eval()  # type: ignore[arg-type]


def panoramas(count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, *SIZE, generator=torch.Generator().manual_seed(2))


# --- the thesis' figures


@pytest.mark.parametrize(
    ("architecture", "parameters", "macs"),
    [("resnet50", 9.33e6, 3.50e9), ("vgg16", 14.71e6, 15.66e9)],
)
def test_encoders_have_the_size_of_the_thesis(
    architecture: str, parameters: float, macs: float
) -> None:
    network = encoder(architecture=architecture, width=1.0)
    assert network.map_channels == 512
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(parameters, abs=5e3)
    assert macs_by_hooks(network, (3, 160, 320)) == pytest.approx(macs, abs=5e6)
    assert network(torch.rand(1, 3, 160, 320)).shape == (1, 512, 10, 20)


@pytest.mark.parametrize(
    ("kind", "parameters", "macs"),
    [("thesis", 6.45e6, 17.46e9), ("salgan", 17.07e6, None), ("light", None, 0.17e9)],
)
def test_decoders_have_the_size_of_the_thesis(
    kind: str, parameters: float | None, macs: float | None
) -> None:
    network = decoder(512, kind=kind, width=1.0)
    if parameters is not None:
        assert sum(p.numel() for p in network.parameters()) == pytest.approx(parameters, abs=5e3)
    if macs is not None:
        assert macs_by_hooks(network, (512, 10, 20)) == pytest.approx(macs, abs=1e7)


def test_macs_of_a_convolution_by_hand() -> None:
    network = nn.Sequential(nn.Conv2d(3, 5, 3, stride=2, padding=1), nn.ReLU())
    assert macs_by_hooks(network, (3, 8, 16)) == 3 * 9 * 5 * 4 * 8


def test_vgg_without_padding_around_equals_torchvisions_layers() -> None:
    torchvision = pytest.importorskip("torchvision")
    ours = encoder(architecture="vgg16", width=1.0, longitude_padding="zeros")
    theirs = torchvision.models.vgg16(weights=None).features[:-1].eval()
    weights = {k.removeprefix("body.features."): v for k, v in ours.state_dict().items()}
    theirs.load_state_dict({k: v for k, v in weights.items() if not k.startswith("pixel_")})
    seen = panoramas(1)
    torch.testing.assert_close(ours(seen), theirs(ours.normalised(seen)))


def test_resnet_has_torchvisions_layers_up_to_the_third_stage() -> None:
    torchvision = pytest.importorskip("torchvision")
    ours = encoder(width=1.0, longitude_padding="zeros")
    theirs = torchvision.models.resnet50(weights=None).eval()
    weights = {k.removeprefix("body."): v for k, v in ours.state_dict().items()}
    missing, _ = theirs.load_state_dict(weights, strict=False)
    assert all(key.startswith(("layer4.", "fc.")) for key in missing)
    seen = ours.normalised(panoramas(1))
    x = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(seen))))
    x = theirs.layer3(theirs.layer2(theirs.layer1(x)))
    torch.testing.assert_close(ours(panoramas(1)), ours.body.neck(x))


# --- around the seam


@pytest.mark.parametrize("architecture", ["resnet50", "vgg16"])
@pytest.mark.parametrize("kind", ["light", "thesis"])
def test_a_turned_panorama_gives_the_turned_map(architecture: str, kind: str) -> None:
    network = encoder(architecture=architecture)
    model = SaliencyModel(network, decoder(network.map_channels, kind=kind)).double()
    seen = panoramas().double()
    found = model(seen)
    assert found.shape == (2, 1, *SIZE)
    assert float(found.std()) > 0
    for columns in (16, 48):
        torch.testing.assert_close(
            model(seen.roll(columns, -1)), found.roll(columns, -1), rtol=0, atol=1e-10
        )


def test_with_zeros_there_is_a_seam() -> None:
    network = encoder(longitude_padding="zeros").double()
    seen = panoramas().double()
    assert not torch.allclose(network(seen.roll(16, -1)), network(seen).roll(1, -1))


def test_columns_continue_and_rows_do_not() -> None:
    layer = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    nn.init.ones_(layer.weight)
    network = nn.Sequential(layer)
    continue_longitude(network, "circular")
    assert isinstance(network[0], LongitudeConv2d)
    seen = torch.arange(8.0).view(1, 1, 2, 4)
    # Each value is the sum of three columns, around the seam, of both rows.
    columns = seen.sum(dim=2)[0, 0]
    expected = [float(columns[k - 1] + columns[k] + columns[(k + 1) % 4]) for k in range(4)]
    assert network(seen)[0, 0].tolist() == [expected, expected]


def test_enlarging_goes_around_the_seam() -> None:
    seen = torch.rand(1, 2, 3, 6)
    found = enlarged(seen, 4, "circular")
    assert found.shape == (1, 2, 12, 24)
    torch.testing.assert_close(enlarged(seen.roll(2, -1), 4, "circular"), found.roll(8, -1))
    plain = functional.interpolate(seen, scale_factor=4, mode="bilinear")
    torch.testing.assert_close(found[..., 2:-2], plain[..., 2:-2])
    torch.testing.assert_close(enlarged(seen, 4, "zeros"), plain)


# --- options


def test_channels_are_multiples_of_eight() -> None:
    assert [scaled(64, w) for w in (1.0, 0.5, 0.3, 0.01)] == [64, 32, 24, 8]


def test_raw_bgr_is_what_the_layers_get() -> None:
    network = encoder(raw_bgr=True)
    layers: list[torch.Tensor] = []
    network.body.register_forward_pre_hook(lambda _, args: layers.append(args[0]))
    network(panoramas())
    torch.testing.assert_close(layers[0], panoramas().flip(1) * 255, rtol=0, atol=1e-3)


def test_a_decoder_starts_from_its_prior() -> None:
    density = torch.rand(SIZE) * 3
    density[0] = 0
    for kind in ("light", "thesis"):
        network = decoder(16, kind=kind, prior="mean")
        network.set_prior(density)
        found = network(torch.rand(2, 16, 2, 4))
        expected = (density / density.max() * 0.5).expand(2, 1, *SIZE)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert network.head.weight.requires_grad


def test_sizes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match="multiples of 16 px, found 40 x 80"):
        encoder()(torch.rand(1, 3, 40, 80))
    with pytest.raises(ValueError, match="the encoder gives 56 channels, the decoder takes 8"):
        SaliencyModel(encoder(), decoder(8))


# --- bundles


def test_bundles_give_the_same_maps(tmp_path: Path) -> None:
    network = encoder()
    save_bundle(network, tmp_path / "encoder")
    torch.testing.assert_close(
        load_bundle(tmp_path / "encoder", PanoramaEncoder)(panoramas()), network(panoramas())
    )
    head = decoder(network.map_channels, prior="equator")
    head.set_prior(torch.rand(SIZE))
    nn.init.normal_(head.head.weight)
    model = SaliencyModel(network, head)
    save_bundle(model, tmp_path / "model")
    torch.testing.assert_close(
        load_bundle(tmp_path / "model", SaliencyModel)(panoramas()), model(panoramas())
    )
    assert model.macs(*SIZE)["all"] == sum(model.macs(*SIZE)[k] for k in ("encoder", "decoder"))


def test_other_or_damaged_bundles_are_refused(tmp_path: Path) -> None:
    save_bundle(encoder(), tmp_path / "encoder")
    with pytest.raises(BundleError, match="expected 'ssl_kedro saliency model v1'"):
        load_bundle(tmp_path / "encoder", SaliencyModel)
    with pytest.raises(BundleError, match="is missing"):
        load_bundle(tmp_path / "nothing", PanoramaEncoder)
    weights = tmp_path / "encoder/weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(BundleError, match="not a usable bundle"):
        load_bundle(tmp_path / "encoder", PanoramaEncoder)
