from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from kedro.io import DatasetError

from ssl_kedro.datasets.files import ArrayMapDataset


def dataset(folder: Path) -> ArrayMapDataset:
    return ArrayMapDataset(filepath=str(folder / "new" / "descriptors.npy"))


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.arange(12, dtype=np.int64).reshape(3, 4).T,
        np.arange(20, dtype=np.float16)[::3],
        np.zeros((0, 5), dtype=np.float32),
    ],
    ids=["rows", "columns first", "strided", "empty"],
)
def test_what_is_saved_is_mapped_read_only(tmp_path: Path, array: np.ndarray) -> None:
    place = dataset(tmp_path)
    assert not place.exists()
    place.save(array)
    assert place.exists()
    loaded = place.load()
    assert loaded.dtype == array.dtype
    assert np.array_equal(loaded, array)
    assert not loaded.flags.writeable
    # Plain NumPy reads it as well: other tools need nothing of ours.
    assert np.array_equal(np.load(tmp_path / "new" / "descriptors.npy"), array)


def test_a_map_is_not_a_copy(tmp_path: Path) -> None:
    place = dataset(tmp_path)
    place.save(np.ones((1000, 8), dtype=np.float32))
    loaded = place.load()
    assert isinstance(loaded if isinstance(loaded, np.memmap) else loaded.base, np.memmap)


def test_a_map_can_be_saved_over_the_file_it_maps(tmp_path: Path) -> None:
    place = dataset(tmp_path)
    place.save(np.arange(5000, dtype=np.float32))
    place.save(place.load())
    assert np.array_equal(place.load(), np.arange(5000, dtype=np.float32))


def test_objects_are_refused_and_the_old_file_stays(tmp_path: Path) -> None:
    place = dataset(tmp_path)
    place.save(np.arange(3))
    with pytest.raises(DatasetError):
        place.save(np.array([{}, "x"], dtype=object))
    assert np.array_equal(place.load(), np.arange(3))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["descriptors.npy"]


@pytest.mark.parametrize("content", [b"", b"no array", "pickled", "cut off"])
def test_a_file_that_is_no_array_is_named(tmp_path: Path, content: bytes | str) -> None:
    path = tmp_path / "x.npy"
    if content == "pickled":
        np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    elif content == "cut off":
        np.save(path, np.zeros(1000))
        path.write_bytes(path.read_bytes()[:500])
    else:
        path.write_bytes(content)  # type: ignore[arg-type]
    with pytest.raises(DatasetError, match=r"x\.npy: expected an array of numbers"):
        ArrayMapDataset(filepath=str(path)).load()


def test_an_entry_without_a_path_is_refused_by_loading_only() -> None:
    dataset = ArrayMapDataset(filepath=None)
    assert not dataset.exists()
    with pytest.raises(DatasetError, match="set its parameter"):
        dataset.load()
