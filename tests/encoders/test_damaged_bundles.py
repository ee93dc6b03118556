"""Bundles that are damaged, or ask for what no network is, are refused with their path."""

import json
import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from ssl_kedro.core.config import ConfigError
from ssl_kedro.encoders.bundle import BundleError, load_bundle, save_bundle
from ssl_kedro.encoders.bundled import Bundled
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.encoders.pair import EncoderPair
from ssl_kedro.encoders.panorama_encoder import PanoramaEncoder, PanoramaEncoderConfig
from ssl_kedro.encoders.saliency_model import DecoderConfig, SaliencyModel, build_decoder
from ssl_kedro.inference.compact import dense_network
from ssl_kedro.inference.export import export_compact_onnx
from ssl_kedro.inference.native.kernel import NativeNetwork


def gated(**options: Any) -> GatedResNet18:
    shape = EncoderConfig(stem="cifar_pad1", width=4)
    return GatedResNet18(shape, **{"image_size": 16, **options}).eval()


def networks() -> dict[str, Bundled]:
    torch.manual_seed(0)
    panoramas = PanoramaEncoder(PanoramaEncoderConfig(width=0.05))
    decoder = build_decoder(DecoderConfig(width=0.1), panoramas.map_channels)
    return {
        "encoder": gated(),
        "pair": EncoderPair(gated(branches=("dense",)), gated(branches=("gated",))),
        "saliency": SaliencyModel(panoramas, decoder),
        "compact": dense_network(gated()),
    }


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bundles")
    for name, network in networks().items():
        save_bundle(network, root / name)
    return root


@pytest.fixture
def bundle(bundles: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """One that a test may damage."""
    folder = bundles / getattr(request, "param", "encoder")
    kept = {path: path.read_bytes() for path in folder.iterdir()}
    yield folder
    for path, content in kept.items():
        if path.is_dir():
            path.rmdir()
        path.write_bytes(content)
    load_bundle(folder, Bundled)


def described(bundle: Path, **changes: object) -> None:
    path = bundle / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    "content", [b"[]", b"null", b"3", bytes(range(256)), b"", b'{"format": []}', b"[" * 100_000]
)
def test_a_description_that_is_none(bundle: Path, content: bytes) -> None:
    (bundle / "config.json").write_bytes(content)
    with pytest.raises(BundleError, match=str(bundle)):
        load_bundle(bundle, Bundled)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"branches": ["upper"]}, "branches"),
        ({"branches": None}, ""),
        ({"branches": [["dense"]]}, ""),
        ({"gate_reduction": 0}, "gate_reduction = 0"),
        ({"gate_reduction": 2.5}, "gate_reduction = 2.5"),
        (
            {"gate_input_dependent": "no"},
            "gate_input_dependent = 'no': expected one of True, False",
        ),
        ({"gate_temperature": 0}, "gate_temperature = 0"),
        ({"gate_temperature": math.nan}, "gate_temperature = nan"),
        ({"gate_temperature": math.inf}, "gate_temperature = inf"),
        ({"image_size": 0}, "image_size = 0"),
        ({"image_size": 1e9}, "image_size = 1000000000.0"),
        ({"image_size": 10**9}, "image_size = 1000000000"),
        ({"encoder": {"stem": "cifar_pad1", "width": 1024}}, "size mismatch"),
        ({"encoder": [1, 2]}, ""),
    ],
)
def test_what_no_network_is(bundle: Path, changes: dict[str, Any], named: str) -> None:
    described(bundle, **changes)
    with pytest.raises(BundleError) as found:
        load_bundle(bundle, Bundled)
    assert str(bundle) in str(found.value)
    assert named in str(found.value)


def test_options_are_checked_where_a_network_is_made() -> None:
    for options in ({"image_size": 0}, {"gate_temperature": math.nan}, {"gate_reduction": 0}):
        with pytest.raises(ConfigError, match=next(iter(options))):
            gated(**options)


@pytest.mark.parametrize("bundle", ["compact"], indirect=True)
@pytest.mark.parametrize("size", [0, 10**9])
def test_a_compact_network_of_no_size(bundle: Path, size: int) -> None:
    described(bundle, image_size=size)
    with pytest.raises(BundleError, match=f"image_size = {size}"):
        load_bundle(bundle, Bundled)


@pytest.mark.parametrize("bundle", networks(), indirect=True)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite(bundle: Path, value: float) -> None:
    path = bundle / "weights.safetensors"
    weights = load_file(path)
    name = next(name for name, tensor in weights.items() if tensor.ndim == 4)
    weights[name].view(-1)[-1] = value
    save_file(weights, path)
    with pytest.raises(BundleError, match=rf"weights\.safetensors: found values .* in {name}"):
        load_bundle(bundle, Bundled)


@pytest.mark.parametrize("name", ["config.json", "weights.safetensors"])
def test_a_folder_in_the_place_of_a_file(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    (bundle / name).mkdir()
    with pytest.raises(BundleError, match=name):
        load_bundle(bundle, Bundled)


VALUES = [None, True, 0, -1, 1e9, 10**15, 2.5, math.nan, "", "x", [], [None], {"a": 1}, "\ud800"]


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in plain values."""
    yield place
    for key in value if isinstance(value, dict) else range(min(len(value), 4)):
        if isinstance(value[key], dict | list):
            yield from places(value[key], (*place, key))
        else:
            yield (*place, key)


@pytest.mark.parametrize("bundle", networks(), indirect=True)
def test_random_damage_loads_or_is_refused(bundle: Path) -> None:
    draw = random.Random(0)
    config, weights = bundle / "config.json", bundle / "weights.safetensors"
    sound, data = json.loads(config.read_text()), weights.read_bytes()

    def changed() -> None:
        values = json.loads(json.dumps(sound))
        *way, last = draw.choice([place for place in places(values) if place])
        inner = values
        for key in way:
            inner = inner[key]
        inner[last] = draw.choice(VALUES)
        config.write_text(json.dumps(values))

    def cut() -> None:
        weights.write_bytes(data[: draw.randrange(len(data))])

    def flipped() -> None:
        damaged = bytearray(data)
        damaged[draw.randrange(2000)] ^= 1 << draw.randrange(8)
        weights.write_bytes(damaged)

    damages: list[Callable[[], None]] = [changed, changed, changed, cut, flipped]
    for _ in range(40):
        draw.choice(damages)()
        try:
            load_bundle(bundle, Bundled)
        except BundleError as error:
            assert str(bundle) in str(error)
        config.write_text(json.dumps(sound))
        weights.write_bytes(data)


def test_sizes_beyond_all_use_are_refused_at_once(tmp_path: Path) -> None:
    network = dense_network(gated())
    for size, threads in ((10**9, 1), (0, 1), (16, 10**9), (16, 0)):
        with pytest.raises(ValueError, match="expected a number at least 1 and at most"):
            NativeNetwork(network, size, threads)
    for size in (0, 10**9):
        with pytest.raises(ValueError, match="image_size"):
            export_compact_onnx(network, tmp_path / "network.onnx", size)
