"""Descriptors as the publisher of an encoder makes them, against a loop over its formulae."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from encoders.importers.resnet_oracle import random_state
from ssl_kedro.core.config import ConfigError
from ssl_kedro.core.errors import InputError
from ssl_kedro.encoders.bundle import save_bundle
from ssl_kedro.encoders.frozen import frozen_encoder
from ssl_kedro.encoders.importers import import_weights
from ssl_kedro.encoders.maps import MapNetwork
from ssl_kedro.retrieval.described import DescribedEncoderConfig, head_arrays
from ssl_kedro.retrieval.descriptors import PoolingConfig, aggregated_at, pooled
from ssl_kedro.retrieval.whitening import PublishedWhitening

CHANNELS, DIMENSIONS, POWER = 64, 6, 2.7
RUN = PoolingConfig("rmac", 2, 3.0)


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    """A file as deep-image-retrieval writes it, of a narrow network."""
    generator = np.random.default_rng(0)
    state = {f"module.{k}": v for k, v in random_state(101, 2).items()}
    head = {
        "module.adpool.p": torch.tensor([POWER]),
        "module.fc.weight": torch.from_numpy(generator.normal(size=(8, CHANNELS))).float(),
        "module.fc.bias": torch.from_numpy(generator.normal(size=8)).float(),
    }
    learnt = PCA(DIMENSIONS, whiten=True).fit(generator.normal(size=(50, 8)) * np.arange(1, 9))
    return {"state_dict": state | head, "pca": {"Landmarks_clean": learnt, "Other": PCA()}}


@pytest.fixture(scope="module")
def file(content: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gem") / "Resnet-101-AP-GeM.pt"
    torch.save(content, path)
    return path


def config(file: Path, **changes: Any) -> DescribedEncoderConfig:
    values = {"kind": "gem_ap", "file": str(file), "pooling": "own", "whitening": "own"}
    return DescribedEncoderConfig(**values | changes)


def published(
    maps: np.ndarray, content: dict[str, Any], power: float, dimensions: int
) -> np.ndarray:
    """As its publisher's evaluation does it, number by number in double precision."""
    state, learnt = content["state_dict"], content["pca"]["Landmarks_clean"]
    weight, bias = (state[f"module.fc.{name}"].double().numpy() for name in ("weight", "bias"))
    rows = []
    for image in maps.astype(np.float64):
        mean = [
            (sum(max(x, 1e-6) ** POWER for x in channel.flat) / channel.size) ** (1 / POWER)
            for channel in image
        ]
        y = [sum(w * v for w, v in zip(row, mean, strict=True)) for row in weight]
        y = [value + b for value, b in zip(y, bias, strict=True)]
        length = sum(value**2 for value in y) ** 0.5
        centred = [value / length - m for value, m in zip(y, learnt.mean_, strict=True)]
        z = [
            sum(u * c for u, c in zip(component, centred, strict=True)) / variance**power
            for component, variance in zip(
                learnt.components_, learnt.explained_variance_, strict=True
            )
        ][:dimensions]
        rows.append(np.array(z) / sum(value**2 for value in z) ** 0.5)
    return np.stack(rows)


@pytest.mark.parametrize("bundled", [False, True])
@pytest.mark.parametrize(("power", "dimensions"), [(0.25, DIMENSIONS), (0.5, 4), (0.0, 3)])
@torch.no_grad()
def test_descriptors_are_the_publishers(
    content: dict[str, Any],
    file: Path,
    tmp_path: Path,
    power: float,
    dimensions: int,
    bundled: bool,
) -> None:
    wanted = config(file, whitening_power=power)
    if bundled:
        save_bundle(*import_and_report(file, tmp_path / "bundle"))
        wanted = config(tmp_path / "bundle", kind="bundle", whitening_power=power)
    network = frozen_encoder(wanted, 0)
    torch.manual_seed(0)
    maps = torch.randn(3, CHANNELS, 2, 3)
    pooling = wanted.pooling_of(RUN, network)
    assert (pooling.kind, pooling.power) == ("gem", pytest.approx(POWER))
    vectors = pooled(maps, pooling)[:, 0].numpy()
    whitening = PublishedWhitening.of_arrays(head_arrays(wanted.head_of(network)), power)
    found = aggregated_at(vectors, np.arange(4), whitening, [dimensions])[dimensions]
    expected = published(maps.numpy(), content, power, dimensions)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def import_and_report(file: Path, folder: Path) -> tuple[MapNetwork, Path, Any]:
    network, report = import_weights("gem_ap", file)
    return network, folder, report


def test_an_image_without_vectors_or_with_dead_maps_has_no_descriptor(file: Path) -> None:
    head = config(file).head_of(frozen_encoder(config(file), 0))
    whitening = PublishedWhitening.of_arrays(head_arrays(head), 0.25)
    assert whitening.reliable_dimensions == whitening.dimensions == DIMENSIONS
    vectors = np.zeros((1, CHANNELS), np.float32)
    found = aggregated_at(vectors, np.array([0, 1, 1]), whitening, [None])[None]
    assert not found.any()


def test_an_encoder_is_pooled_as_the_run_unless_it_says_otherwise(file: Path) -> None:
    network = frozen_encoder(config(file), 0)
    assert config(file, pooling="run").pooling_of(RUN, network) is RUN
    assert config(file, pooling="mac").pooling_of(RUN, network) == PoolingConfig("mac", 2, 3.0)


def test_what_a_file_does_not_hold_is_said_with_what_to_do(
    content: dict[str, Any], tmp_path: Path
) -> None:
    torch.save({"state_dict": content["state_dict"]}, tmp_path / "bare.pt")
    wanted = config(tmp_path / "bare.pt")
    with pytest.raises(InputError, match=r"no PCA of Landmarks_clean.*set whitening of this"):
        wanted.pooling_of(RUN, frozen_encoder(wanted, 0))
    plain = {k: v for k, v in content["state_dict"].items() if "adpool" not in k}
    torch.save({"state_dict": plain}, tmp_path / "plain.pt")
    wanted = config(tmp_path / "plain.pt", whitening="run")
    with pytest.raises(InputError, match=r"no power of generalised means.*set pooling of this"):
        wanted.pooling_of(RUN, frozen_encoder(wanted, 0))
    with pytest.raises(ConfigError, match='another than "own" with kind random'):
        DescribedEncoderConfig("random", whitening="own")


def test_who_was_trained_by_what() -> None:
    def trained(kind: str, **changes: Any) -> str:
        return DescribedEncoderConfig(kind, "file", **changes).supervision

    assert trained("moco_v2") == trained("bundle") == "self-supervised"
    assert trained("torchvision_resnet50") == "supervised"
    assert trained("gem_ap") == "fine-tuned"
    assert trained("pixels") == "untrained"
    assert trained("pixels", trained="supervised") == "supervised"
