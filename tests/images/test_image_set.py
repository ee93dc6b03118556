"""Fingerprint and statistics of image sets."""

from __future__ import annotations

import statistics
from pathlib import Path

import numpy as np
import pytest

from ssl_kedro.images import image_set
from ssl_kedro.images.image_set import ImageSet


def random_set(count: int = 7, labels: bool = True) -> ImageSet:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, 3, 5, 4), dtype=np.uint8)
    return ImageSet(images, np.arange(count) if labels else None, (), "test")


def mapped(images: ImageSet, path: Path) -> ImageSet:
    np.save(path, images.images)
    return ImageSet(np.load(path, mmap_mode="r"), images.labels, (), "test")


def test_statistics_against_a_loop_over_pixels() -> None:
    images = random_set()
    mean, std = images.channel_statistics()
    for channel in range(3):
        values = [int(value) / 255 for value in images.images[:, channel].flat]
        assert mean[channel] == pytest.approx(statistics.fmean(values), abs=1e-12)
        assert std[channel] == pytest.approx(statistics.pstdev(values), abs=1e-12)


@pytest.mark.parametrize(("value", "expected"), [(0, 0.0), (255, 1.0)])
def test_statistics_of_plain_images(value: int, expected: float) -> None:
    images = ImageSet(np.full((3, 3, 8, 8), value, dtype=np.uint8), None, (), "test")
    assert images.channel_statistics() == ((expected,) * 3, (0.0,) * 3)


def test_statistics_do_not_depend_on_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    images = random_set()
    whole = images.channel_statistics()
    monkeypatch.setattr(image_set, "_BLOCK_BYTES", 130)
    assert images.channel_statistics() == whole


def test_statistics_of_nothing() -> None:
    with pytest.raises(ValueError, match="at least one image"):
        random_set(0).channel_statistics()


def test_fingerprint_changes_with_pixels_labels_and_shape() -> None:
    images = random_set()
    first = images.fingerprint()
    assert len(first) == 16
    assert int(first, 16) >= 0
    assert random_set().fingerprint() == first
    changed = images.images.copy()
    changed[3, 1, 2, 2] ^= 1
    labels = images.labels.copy()
    labels[0] = 1
    others = [
        ImageSet(changed, images.labels, (), "test"),
        ImageSet(images.images, labels, (), "test"),
        ImageSet(images.images, None, (), "test"),
        ImageSet(images.images.reshape(7, 3, 4, 5), images.labels, (), "test"),
    ]
    assert len({first, *(other.fingerprint() for other in others)}) == 5


def test_fingerprint_does_not_depend_on_block_or_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = random_set()
    first = images.fingerprint()
    assert mapped(images, tmp_path / "a.npy").fingerprint() == first
    monkeypatch.setattr(image_set, "_BLOCK_BYTES", 130)
    assert images.fingerprint() == first


def test_large_memory_map_is_sampled_at_even_distances(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = random_set(9)
    monkeypatch.setattr(image_set, "_HASHED_WHOLE_BYTES", 3 * 60)
    first = mapped(images, tmp_path / "a.npy").fingerprint()
    noticed = []
    for index in range(9):
        images.images[index] ^= 1
        noticed.append(mapped(images, tmp_path / f"{index}.npy").fingerprint() != first)
        images.images[index] ^= 1
    assert [index for index, was in enumerate(noticed) if was] == [0, 4, 8]


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (np.zeros((2, 3, 4, 4), dtype=np.float32), None),
        (np.zeros((2, 1, 4, 4), dtype=np.uint8), None),
        (np.zeros((2, 4, 4, 3), dtype=np.uint8).transpose(0, 3, 1, 2), None),
        (np.zeros((2, 3, 4, 4), dtype=np.uint8), np.zeros(3, dtype=np.int64)),
        (np.zeros((2, 3, 4, 4), dtype=np.uint8), np.zeros(2, dtype=np.int32)),
    ],
)
def test_other_shapes_and_types_are_refused(images: np.ndarray, labels: np.ndarray | None) -> None:
    with pytest.raises(ValueError, match="expected"):
        ImageSet(images, labels, (), "test")
