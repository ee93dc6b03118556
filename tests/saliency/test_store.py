from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from saliency.sources_for_tests import Plain
from ssl_kedro.core.config import ConfigError
from ssl_kedro.saliency.panoramas import Split
from ssl_kedro.saliency.store import PanoramaStore

SIX: list[Split] = ["train", "test", "train", "unlabelled", "train", "test"]


def test_panoramas_are_written_in_order_and_mapped(tmp_path: Path) -> None:
    store = PanoramaStore(tmp_path / "store")
    assert store.description() is None
    found = store.fill(Plain(SIX), [4, 1, 0], (4, 8), label="data")
    images = store.images()
    assert isinstance(images, np.memmap)
    assert (images.shape, images.dtype) == ((3, 3, 4, 8), np.uint8)
    assert images[:, 0, 0, 0].tolist() == [40, 10, 0]
    assert found.names == ["p4", "p1", "p0"]
    assert found.splits == ["train", "test", "train"]
    assert store.description() == found


def test_nothing_is_decoded_twice_until_something_changes(tmp_path: Path) -> None:
    store, source = PanoramaStore(tmp_path), Plain(SIX)
    store.fill(source, [0, 1], (4, 8), label="data")
    assert sorted(source.decoded) == [0, 1]
    store.fill(source, [0, 1], (4, 8), label="data")
    assert len(source.decoded) == 2
    store.fill(source, [0, 1], (8, 16), label="data")
    store.fill(Plain(SIX, mark="b"), [0, 1], (8, 16), label="data")
    assert len(source.decoded) == 4
    store.fill(source, [0, 1], (8, 16), label="data")
    assert len(source.decoded) == 6
    (tmp_path / "images.npy").write_bytes(b"cut off")
    assert store.description() is None
    store.fill(source, [0, 1], (8, 16), label="data")
    assert len(source.decoded) == 8


def test_a_broken_panorama_is_left_out_and_named(tmp_path: Path) -> None:
    store = PanoramaStore(tmp_path)
    found = store.fill(Plain(SIX, broken=(2,)), [0, 2, 4], (4, 8), label="data", max_skipped=0.4)
    assert found.names == ["p0", "p4"]
    assert found.indices == [0, 4]
    assert found.skipped == [("p2", "it ends too early")]
    assert store.images()[:, 0, 0, 0].tolist() == [0, 40]


def test_too_many_broken_ones_end_the_run_and_keep_what_was_there(tmp_path: Path) -> None:
    store = PanoramaStore(tmp_path / "store")
    before = store.fill(Plain(SIX), [0], (4, 8), label="data")
    with pytest.raises(ConfigError, match=r"1\.00% of the 3 images of data .* p2 \(it ends"):
        store.fill(Plain(SIX, broken=(2,), mark="b"), [0, 2, 4], (4, 8), label="data")
    assert store.description() == before
    with pytest.raises(ConfigError, match="max_skipped"):
        store.fill(Plain(SIX, broken=(2,)), [2], (4, 8), label="data", max_skipped=1.0)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


class KilledError(Exception):
    """Ends a process."""


class Dying(Plain):
    """Panoramas of which one kills whoever decodes it."""

    dies_at: int | None = None

    def image(self, index: int, height: int, width: int) -> np.ndarray:
        if index == self.dies_at:
            raise KilledError
        return super().image(index, height, width)

    def in_order(self, index: int) -> bool:
        return True


def test_a_killed_store_goes_on_with_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ssl_kedro.images.partial._KEPT_EVERY_S", -1.0)
    rows, size = list(range(24)), (4, 8)
    source, store = Dying(["train"] * 24, broken=(3,)), PanoramaStore(tmp_path / "store")
    source.dies_at = 18
    with pytest.raises(KilledError):
        store.fill(source, rows, size, label="data", max_skipped=0.1)
    assert store.description() is None
    (part,) = tmp_path.glob(".store.*.part")
    source.decoded, source.dies_at = [], None
    found = store.fill(source, rows, size, label="data", max_skipped=0.1)
    assert source.decoded == rows[18:]
    assert found.skipped == [("p3", "it ends too early")]
    assert not part.exists()
    whole, undisturbed = PanoramaStore(tmp_path / "whole"), Plain(["train"] * 24, broken=(3,))
    assert found == whole.fill(undisturbed, rows, size, label="data", max_skipped=0.1)
    np.testing.assert_array_equal(whole.images(), store.images())


def test_what_a_killed_store_left_of_another_source_goes(tmp_path: Path) -> None:
    source, store = Dying(["train"] * 9), PanoramaStore(tmp_path / "store")
    source.dies_at = 8
    with pytest.raises(KilledError):
        store.fill(source, list(range(9)), (4, 8), label="data")
    found = store.fill(Plain(["train"] * 9, mark="b"), [0, 1], (4, 8), label="data")
    assert found.names == ["p0", "p1"]
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
