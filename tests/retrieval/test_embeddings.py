"""Features of files by a trained encoder: equal to the encoder's own, and found again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ssl_kedro as ssl
from oracles.norms import with_used_norms
from ssl_kedro.core.config import ConfigError
from ssl_kedro.core.errors import InputError
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.encoders.gated_vit import GatedViT, ViTConfig
from ssl_kedro.encoders.nested_resnet18 import NestedConfig, NestedResNet18
from ssl_kedro.retrieval import embeddings
from ssl_kedro.retrieval.embeddings import (
    FeatureNetwork,
    UnitRows,
    embed,
    image_files,
    most_similar,
    similarity_index,
)
from ssl_kedro.retrieval.extraction import ExtractConfig, VectorStore

SHAPE = EncoderConfig("cifar_pad1", 4)


@pytest.fixture
def encoder() -> GatedResNet18:
    torch.manual_seed(0)
    return with_used_norms(GatedResNet18(SHAPE, image_size=16)).eval()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Photographs of several shapes and formats at several depths, and what is none."""
    generator = np.random.default_rng(0)
    for number in range(23):
        place = tmp_path / "images" / ("", "a", "a/b")[number % 3]
        place.mkdir(parents=True, exist_ok=True)
        height, width = 12 + number, 30 - number
        pixels = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f"{number:02d}.{('png', 'jpg')[number % 2]}")
    (tmp_path / "images/a/broken.png").write_bytes(b"no image")
    (tmp_path / "images/notes.txt").write_text("none")
    return tmp_path / "images"


@pytest.mark.parametrize("branch", ["dense", "gated"])
def test_vectors_in_store_and_memory_are_the_encoders_own(
    encoder: GatedResNet18, folder: Path, tmp_path: Path, branch: str
) -> None:
    network = FeatureNetwork.of(encoder, branch)  # type: ignore[arg-type]
    files, store = image_files(folder, "any"), VectorStore(tmp_path / "store")
    how = ExtractConfig(device="cpu", batch_size=5, max_skipped=0.1, block=7)
    found = embed(network, files, store, how, "any", {"encoder": "mine"})
    names = list(found.embeddings.names)
    expected = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.*g"))
    assert names == [name for name in expected if name != "a/broken.png"]
    own = encoder.features([folder / name for name in names], branch).numpy()  # type: ignore[arg-type]
    np.testing.assert_allclose(found.embeddings.vectors[:], own, rtol=1e-5, atol=1e-6)
    assert [name for name, _ in found.skipped] == ["a/broken.png"]
    assert found.passed_over == {".txt": 1}
    # A picture that is looked for, alone, has the vector that it has among others.
    for row in (0, 11, 22):
        [alone] = network.vectors(image_files(folder / names[row], "any"), how).vectors
        np.testing.assert_allclose(alone, found.embeddings.vectors[row], rtol=1e-5, atol=1e-6)
    paths, vectors = ssl.embed(encoder, folder, branch=branch)  # type: ignore[arg-type]
    assert paths == names
    np.testing.assert_allclose(vectors, own, rtol=1e-5, atol=1e-6)


def test_features_of_a_transformer_are_not_the_mean_of_its_maps(folder: Path) -> None:
    torch.manual_seed(0)
    made = GatedViT(ViTConfig(patch=4), image_size=16).eval()
    (folder / "a/broken.png").unlink()
    paths, vectors = ssl.embed(made, folder)
    own = made.dense([folder / path for path in paths]).numpy()
    np.testing.assert_allclose(vectors, own, rtol=1e-4, atol=1e-5)


def test_an_encoder_for_every_budget_is_cut(folder: Path) -> None:
    torch.manual_seed(0)
    made = NestedResNet18(NestedConfig("cifar_pad1", 8), branches=("dense",), image_size=16)
    with_used_norms(made).eval()
    made.calibrate(np.random.default_rng(0).integers(0, 256, (40, 3, 16, 16), dtype=np.uint8))
    paths, vectors = ssl.embed(made, folder, budget=0.4)
    own = made.gated([folder / path for path in paths], budget=0.4).numpy()
    np.testing.assert_allclose(vectors, own, rtol=1e-4, atol=1e-5)
    assert FeatureNetwork.of(made, budget=0.4).label == "budget 0.4"
    with pytest.raises(ConfigError, match=r"budget = 1e-05: expected a share from 0\."):
        FeatureNetwork.of(made, budget=1e-5)
    with pytest.raises(ConfigError, match=r"branch = 'gated': expected one of dense, .* a budget"):
        FeatureNetwork.of(made, "gated")


def test_what_an_encoder_has_not_is_refused(encoder: GatedResNet18) -> None:
    with pytest.raises(ConfigError, match=r"budget = 0\.3: expected none: .* dense, gated"):
        FeatureNetwork.of(encoder, budget=0.3)
    alone = GatedResNet18(SHAPE, branches=("gated",), image_size=16)
    assert FeatureNetwork.of(alone).label == "gated"
    with pytest.raises(ConfigError, match="expected one of gated"):
        FeatureNetwork.of(alone, "dense")


def test_equal_networks_have_equal_marks(encoder: GatedResNet18) -> None:
    marks = [FeatureNetwork.of(encoder, b).fingerprint for b in ("dense", "gated", "dense")]  # type: ignore[arg-type]
    assert marks[0] == marks[2] != marks[1]


def test_places_without_images_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"key: found .*nowhere', where nothing is"):
        image_files(tmp_path / "nowhere", "key")
    with pytest.raises(InputError, match="without an image"):
        image_files(tmp_path, "key")


@pytest.mark.parametrize("read", [1, 65_536])
@pytest.mark.parametrize("factory", [None, "IVF4,Flat"])
def test_what_is_found_is_what_a_loop_over_all_finds(
    factory: str | None, read: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embeddings, "_READ", read)
    generator = np.random.default_rng(1)
    vectors = generator.normal(size=(300, 16)).astype(np.float32) + 1
    vectors[7] = 3 * vectors[200]  # alike by cosine, at another length
    queries = np.concatenate([vectors[[200]], generator.normal(size=(4, 16)).astype(np.float32)])
    index = similarity_index(vectors, factory, 0)
    scores, found = most_similar(index, vectors, queries, 6, probes=4)
    for query, values, places in zip(queries, scores, found, strict=True):
        cosines = [
            float(np.dot(query.astype(float), row) / np.linalg.norm(query) / np.linalg.norm(row))
            for row in vectors.astype(float)
        ]
        best = np.argsort(cosines)[::-1][:6]
        np.testing.assert_allclose(values, np.array(cosines)[best], atol=1e-6)
        assert set(places) == set(best.tolist())
    assert set(found[0, :2]) == {7, 200}
    assert found.shape == (5, 6)
    few = most_similar(similarity_index(vectors[:3], None, 0), vectors[:3], queries, 6)
    assert few[1].shape == (5, 3)
    # One cell holds fewer rows than are asked for.
    scores, found = most_similar(index, vectors, queries, 300, probes=1)
    none = found < 0
    assert none.any() == (factory is not None) and np.isinf(scores[none]).all()
    for row in found:
        assert len({*row[row >= 0]}) == (row >= 0).sum()


def test_rows_at_unit_length_are_rows() -> None:
    rows = UnitRows(np.array([[3.0, 4.0], [0.0, 0.0]], np.float32))
    assert rows.shape == (2, 2) and len(rows) == 2
    assert rows[:].tolist() == pytest.approx(np.array([[0.6, 0.8], [0.0, 0.0]]))
    assert rows[np.array([1, 0])].tolist()[1] == pytest.approx([0.6, 0.8])
