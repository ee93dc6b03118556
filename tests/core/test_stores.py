from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ssl_kedro.core.stores import GrowingArray, MappedStore


@pytest.mark.parametrize("kind", ["|u1", "<f4"])
def test_an_array_that_grew_is_what_numpy_would_have_saved(tmp_path: Path, kind: str) -> None:
    rows = np.arange(7 * 6).reshape(7, 2, 3).astype(kind)
    with GrowingArray(tmp_path / "grown.npy", (2, 3), kind) as array:
        for part in (rows[:4], rows[4:4], rows[4:]):
            array.add(part)
    np.save(tmp_path / "saved.npy", rows)
    assert (tmp_path / "grown.npy").read_bytes() == (tmp_path / "saved.npy").read_bytes()


def test_rows_of_another_shape_are_refused(tmp_path: Path) -> None:
    with (
        GrowingArray(tmp_path / "a.npy", (2,), "<f4") as array,
        pytest.raises(ValueError, match="3"),
    ):
        array.add(np.zeros((1, 3)))


def test_a_store_is_whole_or_as_it_was(tmp_path: Path) -> None:
    store = MappedStore(tmp_path / "store")
    assert store.described() is None
    for value in (1, 2):
        with store.written((2,), "|u1") as (array, description):
            array.add(np.full((value, 2), value, dtype=np.uint8))
            description["identity"] = value
    with pytest.raises(RuntimeError), store.written((2,), "|u1") as (array, description):
        array.add(np.zeros((9, 2), dtype=np.uint8))
        raise RuntimeError
    assert store.described() == {"identity": 2}
    assert store.array().tolist() == [[2, 2], [2, 2]]
    assert isinstance(store.array(), np.memmap)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_a_damaged_store_is_none(tmp_path: Path) -> None:
    store = MappedStore(tmp_path)
    (tmp_path / "description.json").write_text(json.dumps({"identity": 1}))
    assert store.described() is None
    np.save(tmp_path / "images.npy", np.zeros(3))
    assert store.described() == {"identity": 1}
    (tmp_path / "images.npy").write_bytes(b"\x93NUMPY")
    assert store.described() is None
