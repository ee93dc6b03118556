from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ssl_kedro.retrieval.checks import DescriptorError, checked_descriptors

Pair = tuple[np.ndarray, np.ndarray]


def unit(count: int, seed: int) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(count, 6)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def checked(database: np.ndarray, queries: np.ndarray) -> dict[str, np.ndarray]:
    arrays = {"database": (database, 8), "queries": (queries, 2)}
    return checked_descriptors(arrays, {"database": "X.npy", "queries": "Q.npy"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, q: (x[:-1], q), r"database = 'X.npy': found 7 rows; expected 8"),
        (lambda x, q: (x, q[:, :4]), r"queries = 'Q.npy': found 4 dimensions"),
        (lambda x, q: (np.where(x == x[2, 3], np.nan, x), q), "not finite in row 2"),
        (lambda x, q: (x, np.where(q == q[1, 0], np.inf, q)), "not finite in row 1"),
        (lambda x, q: (x * (np.arange(8) != 6)[:, None], q), "nothing but zeros in row 6"),
        (lambda x, q: (x[0], q), r"shape \(6,\)"),
        (lambda x, q: (x.astype(str), q), "type <U"),
        (lambda x, q: (q, x), "exchanged"),
    ],
)
def test_what_does_not_fit_is_refused(change: Callable[..., Pair], message: str) -> None:
    with pytest.raises(DescriptorError, match=message):
        checked(*change(unit(8, 0), unit(2, 1)))


def test_unit_rows_stay_as_they_are_and_others_are_brought_to_unit_length() -> None:
    database, queries = unit(8, 0), unit(2, 1)
    found = checked(database, queries)
    assert found["database"] is database or np.array_equal(found["database"], database)
    scaled = checked(3 * database, np.rint(100 * queries).astype(np.int16))
    assert np.allclose(scaled["database"], database, atol=1e-6)
    assert np.allclose(np.linalg.norm(scaled["queries"], axis=1), 1, atol=1e-6)
    assert found["database"].dtype == np.float32
    assert checked(database.astype(np.float64), queries)["database"].dtype == np.float64
