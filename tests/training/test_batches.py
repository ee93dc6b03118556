from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_kedro.training.batches import BatchSource


def test_an_epoch_visits_images_once_in_a_seeded_order(images: np.ndarray) -> None:
    images[:, 0, 0, 0] = np.arange(len(images))
    source = BatchSource(images, 16, torch.device("cpu"), seed=0)
    assert source.batches_per_epoch == 2
    orders: list[list[int]] = []
    for epoch in (0, 0, 1):
        batches = list(source.epoch(epoch))
        orders.append([int(mark) for batch in batches for mark in batch.images[:, 0, 0, 0]])
        assert [int(index) for batch in batches for index in batch.indices] == orders[-1]
    assert orders[0] == orders[1] != orders[2]
    assert len(set(orders[0])) == 32


def test_memory_map_gives_the_same_batches(images: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert isinstance(mapped, np.memmap)
    a = BatchSource(images, 8, torch.device("cpu"), seed=5)
    b = BatchSource(mapped, 8, torch.device("cpu"), seed=5)
    for left, right in zip(a.epoch(2), b.epoch(2), strict=True):
        assert torch.equal(left.indices, right.indices)
        assert torch.equal(left.images, right.images)


def test_too_few_images_name_key_and_remedy(images: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"train.batch_size = 64: there are only 40.*at most 40"):
        BatchSource(images, 64, torch.device("cpu"), seed=0)
