from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from ssl_kedro.evaluation.knn import knn_right, nearest_neighbours


def data(seed: int = 0, offset: float = 0.0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(5, 16)) * 1.2
    labels, asked = rng.integers(0, 5, 400), rng.integers(0, 5, 150)
    bank = centres[labels] + rng.normal(size=(400, 16)) + offset
    queries = centres[asked] + rng.normal(size=(150, 16)) + offset
    return bank.astype(np.float32), labels, queries.astype(np.float32), asked


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_nearest_neighbour_accuracy_equals_scikit_learn(normalise: bool, offset: float) -> None:
    bank, labels, queries, asked = data(offset=offset)
    found = knn_right(bank, labels, queries, asked, normalise=normalise).mean()
    if normalise:
        bank = bank / np.linalg.norm(bank, axis=1, keepdims=True)
        queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    oracle = KNeighborsClassifier(1, algorithm="brute").fit(bank.astype(float), labels)
    assert found == pytest.approx(oracle.score(queries.astype(float), asked), abs=1e-9)
    assert 0.3 < found < 0.99


@pytest.mark.parametrize("bank_block", [2, 150, 399, 400, 1000])
def test_neighbours_equal_a_double_loop(bank_block: int) -> None:
    bank, _, queries, _ = data()
    sides = torch.from_numpy(bank), torch.from_numpy(queries)
    found = nearest_neighbours(*sides, 3, block=7, bank_block=bank_block)
    for query, row in zip(queries, found.tolist(), strict=True):
        distances = [float(((query.astype(float) - b.astype(float)) ** 2).sum()) for b in bank]
        assert row == sorted(range(len(bank)), key=distances.__getitem__)[:3]


def test_equal_votes_go_to_the_nearest() -> None:
    bank = np.array([[0.0], [1.0], [2.0], [3.0]], dtype=np.float32)
    query = np.array([[0.1]], dtype=np.float32)
    assert knn_right(bank, np.array([7, 1, 1, 7]), query, np.array([7]), k=2).all()
    assert knn_right(bank, np.array([7, 1, 1, 7]), query, np.array([1]), k=3).all()
    assert knn_right(bank, np.array([7, 1, 1, 7]), query, np.array([7]), k=4).all()


def test_impossible_k_is_refused() -> None:
    bank, labels, queries, asked = data()
    with pytest.raises(ValueError, match="k = 401: expected 1 to 400"):
        knn_right(bank, labels, queries, asked, k=401)
