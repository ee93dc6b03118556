from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from ssl_kedro.retrieval.whitening import learnt_whitening, unit_rows


def vectors(count: int = 400, width: int = 24, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    mixing = generator.normal(size=(width, width)) * np.geomspace(1, 0.05, width)
    return (generator.normal(size=(count, width)) @ mixing + 0.4).astype(np.float32)


def blocks(x: np.ndarray, rows: int = 37) -> list[np.ndarray]:
    return [x[at : at + rows] for at in range(0, len(x), rows)]


def applied(x: np.ndarray, whitening, dimensions: int | None = None) -> np.ndarray:  # type: ignore[no-untyped-def]
    return whitening.applied(torch.from_numpy(unit_rows(x)), dimensions).numpy()


def test_whitened_training_vectors_have_identity_covariance() -> None:
    x = vectors()
    y = applied(x, learnt_whitening(blocks(x))).astype(np.float64)
    assert np.abs(y.mean(axis=0)).max() < 1e-4
    assert np.abs(y.T @ y / len(y) - np.eye(y.shape[1])).max() < 2e-3


def test_it_equals_scikit_learn_up_to_sign_and_degrees_of_freedom() -> None:
    x = vectors()
    y = applied(x, learnt_whitening(blocks(x)), 9)
    pca = PCA(9, whiten=True, svd_solver="full")
    z = pca.fit_transform(unit_rows(x).astype(np.float64)) * np.sqrt(len(x) / (len(x) - 1))
    assert np.abs(np.abs(y) - np.abs(z)).max() < 5e-3
    assert np.allclose(np.abs((y * z).mean(axis=0)), 1, atol=1e-3)


@pytest.mark.parametrize("rows", [1, 7, 400])
def test_block_size_changes_nothing(rows: int) -> None:
    x = vectors()
    whole, parts = learnt_whitening([x]), learnt_whitening(blocks(x, rows))
    assert np.allclose(whole.projection, parts.projection, rtol=2e-3, atol=2e-3)


def test_fewer_dimensions_are_the_first_of_more() -> None:
    x = vectors()
    whitening = learnt_whitening([x])
    assert np.allclose(applied(x, whitening, 5), applied(x, whitening)[:, :5], atol=1e-5)


def test_components_are_at_most_what_the_vectors_span() -> None:
    x = vectors(6)
    whitening = learnt_whitening([x])
    assert whitening.dimensions == 5
    y = applied(x, whitening)
    assert np.allclose(y.T @ y / 6, np.eye(5), atol=1e-3)
    with pytest.raises(ValueError, match="expected 1 to 5 dimensions"):
        applied(x, whitening, 6)


def test_few_vectors_are_trusted_for_few_dimensions() -> None:
    assert learnt_whitening([vectors(400)]).reliable_dimensions == 24
    assert learnt_whitening([vectors(40)]).reliable_dimensions == 10
    assert learnt_whitening([vectors(3)]).reliable_dimensions == 1
    # what happens otherwise: all distances are equal
    x = vectors(12)
    y = applied(x, learnt_whitening([x]))
    distances = np.linalg.norm(y[:, None] - y[None], axis=2)[np.triu_indices(12, 1)]
    assert distances.std() < 0.02 * distances.mean()


def test_plain_pca_keeps_the_variances() -> None:
    x = vectors()
    whitening = learnt_whitening([x], whiten=False)
    y = applied(x, whitening)
    assert np.allclose(y.var(axis=0), whitening.variances, rtol=1e-3)
    assert np.allclose(whitening.projection.T @ whitening.projection, np.eye(24), atol=1e-5)


def test_a_large_mean_does_not_drown_the_variance() -> None:
    x = vectors() * 1e-3 + 5.0
    whitening = learnt_whitening(blocks(x), normalise=False)
    y = whitening.applied(torch.from_numpy(x.astype(np.float32)), 6).numpy().astype(np.float64)
    assert np.allclose(y.T @ y / len(y), np.eye(6), atol=0.05)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([np.ones((1, 3), np.float32)], "at least 2 vectors"),
        ([np.ones((5, 3), np.float32)], "all equal"),
        ([np.full((5, 3), np.nan, np.float32)], "not finite"),
        ([np.eye(3, dtype=np.float32), np.eye(4, dtype=np.float32)], "length 3, found 4"),
    ],
)
def test_what_cannot_be_learnt_from(found: list[np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        learnt_whitening(found)
