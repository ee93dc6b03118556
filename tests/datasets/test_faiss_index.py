from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import pytest
from kedro.io import DatasetError

from ssl_kedro.datasets.files import FaissIndexDataset
from ssl_kedro.retrieval.index import build_index, search_index

ROWS = np.random.default_rng(0).normal(size=(2000, 16)).astype(np.float32)


def dataset(folder: Path, *, mapped: bool = False) -> FaissIndexDataset:
    return FaissIndexDataset(filepath=str(folder / "new" / "vectors.index"), mapped=mapped)


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("factory", ["Flat", "IVF16,PQ4", "PCA8,IVF8,Flat", "HNSW8"])
def test_an_index_finds_the_same_after_saving(tmp_path: Path, factory: str, mapped: bool) -> None:
    place = dataset(tmp_path, mapped=mapped)
    assert not place.exists()
    index = build_index(ROWS, factory)
    place.save(index)
    assert place.exists()
    loaded = place.load()
    assert loaded.ntotal == 2000
    assert loaded.metric_type == faiss.METRIC_INNER_PRODUCT
    for before, after in zip(
        search_index(index, ROWS[:9], 7, probes=5),
        search_index(loaded, ROWS[:9], 7, probes=5),
        strict=True,
    ):
        assert np.array_equal(before, after)


def test_lists_of_a_mapped_index_stay_on_disk(tmp_path: Path) -> None:
    dataset(tmp_path).save(build_index(ROWS, "IVF16,Flat"))
    index = dataset(tmp_path, mapped=True).load()
    lists = faiss.downcast_InvertedLists(index.invlists)  # the index owns them
    assert isinstance(lists, faiss.OnDiskInvertedLists)
    assert lists.read_only


def test_a_failed_save_leaves_the_old_index(tmp_path: Path) -> None:
    place = dataset(tmp_path)
    place.save(build_index(ROWS, "Flat"))
    with pytest.raises(DatasetError):
        place.save("not an index")
    assert place.load().ntotal == 2000
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["vectors.index"]


@pytest.mark.parametrize("size", [0, 10, 5000])
def test_a_damaged_index_is_named_with_the_remedy(tmp_path: Path, size: int) -> None:
    place = dataset(tmp_path)
    place.save(build_index(ROWS, "Flat"))
    path = tmp_path / "new" / "vectors.index"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DatasetError, match=r"vectors\.index: expected a faiss index.*Remove it"):
        place.load()


def test_it_describes_itself(tmp_path: Path) -> None:
    assert "vectors.index" in str(dataset(tmp_path))
