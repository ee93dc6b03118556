"""Digits and .npz files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from ssl_kedro.images.arrays import resized_images
from ssl_kedro.images.load import DataConfig, ImageSourceError, load_images

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
LABELS = np.array([3, 5, 3, 5, 9, 9])


def npz(path: Path, **arrays: np.ndarray) -> DataConfig:
    np.savez(path / "images.npz", **arrays)
    return DataConfig(source="npz", root=str(path / "images.npz"), size=8)


def complete(**changes: np.ndarray) -> dict[str, np.ndarray]:
    arrays = {"x_train": PIXELS, "y_train": LABELS, "x_test": PIXELS[:2], "y_test": LABELS[1:3]}
    return {**arrays, **changes}


def refusal(config: DataConfig, split: str = "train") -> str:
    with pytest.raises(ImageSourceError) as caught:
        load_images(config, split, 0)
    return str(caught.value)


def test_resize_of_arrays_is_that_of_files() -> None:
    """Blocks of equal pixels come out as they went in; a third of the width is cut off."""
    blocks = np.random.default_rng(1).integers(0, 256, (2, 3, 8, 8), dtype=np.uint8)
    wide = np.pad(blocks, [(0, 0), (0, 0), (0, 0), (2, 2)])
    assert np.array_equal(resized_images(wide, 8), blocks)
    plain = np.full((2, 3, 20, 20), 77, dtype=np.uint8)
    assert (resized_images(plain, 9) == 77).all()


# Digits ----------------------------------------------------------------------------------


def test_digits_at_their_own_size_are_scikit_learns() -> None:
    config = DataConfig(source="digits", size=8)
    parts = [load_images(config, split, 0) for split in ("train", "eval")]
    published = load_digits()
    wanted = Counter(
        (np.rint(image * 255 / 16).astype(np.uint8).tobytes(), int(label))
        for image, label in zip(published.images, published.target, strict=True)
    )
    found = Counter(
        (image[channel].tobytes(), int(label))
        for channel in (1,)
        for part in parts
        for image, label in zip(part.images, part.labels, strict=True)
    )
    assert found == wanted
    assert all((part.images == part.images[:, :1]).all() for part in parts)
    assert parts[0].class_names == tuple("0123456789")
    shares = np.bincount(parts[1].labels) / np.bincount(published.target)
    assert np.abs(shares - 0.2).max() < 0.003


def test_held_out_digits_are_the_same_for_every_seed() -> None:
    config = DataConfig(source="digits", size=32)
    first, second = (load_images(config, "eval", seed) for seed in (0, 1))
    assert first.images.shape[1:] == (3, 32, 32)
    assert first.fingerprint() == second.fingerprint()
    limited = DataConfig(source="digits", size=8, limit=100)
    assert np.bincount(load_images(limited, "train", 0).labels).tolist() == [10] * 10


# .npz ------------------------------------------------------------------------------------


def test_labels_are_renumbered_by_the_training_part(tmp_path: Path) -> None:
    config = npz(tmp_path, **complete())
    train, held = (load_images(config, split, 0) for split in ("train", "eval"))
    assert train.class_names == held.class_names == ("3", "5", "9")
    assert train.labels.tolist() == [0, 1, 0, 1, 2, 2]
    assert held.labels.tolist() == [1, 0]
    assert np.array_equal(train.images, PIXELS.transpose(0, 3, 1, 2))
    assert len(held) == 2


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (PIXELS[..., 0], PIXELS[..., [0, 0, 0]]),
        (PIXELS[..., :1], PIXELS[..., [0, 0, 0]]),
        (PIXELS, PIXELS),
        (PIXELS.transpose(0, 3, 1, 2), PIXELS),
    ],
)
def test_layouts(tmp_path: Path, pixels: np.ndarray, expected: np.ndarray) -> None:
    images = load_images(npz(tmp_path, **complete(x_train=pixels)), "train", 0)
    assert np.array_equal(images.images, expected.transpose(0, 3, 1, 2))


def test_column_of_labels(tmp_path: Path) -> None:
    config = npz(tmp_path, **complete(y_train=LABELS[:, None].astype(np.uint8)))
    assert load_images(config, "train", 0).labels.tolist() == [0, 1, 0, 1, 2, 2]


def test_without_labels(tmp_path: Path) -> None:
    images = load_images(npz(tmp_path, x_train=PIXELS, x_test=PIXELS), "train", 0)
    assert images.labels is None
    assert images.class_names == ()


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"x_train": PIXELS / 255}, "x_train of float64, not uint8"),
        ({"x_train": PIXELS[..., :2]}, "x_train of shape (6, 8, 8, 2)"),
        ({"x_train": PIXELS[:0]}, "no images in x_train"),
        ({"y_train": LABELS[:5]}, "6 images in x_train and 5 labels"),
        ({"y_train": LABELS / 2}, "y_train of float64"),
        ({"y_train": np.zeros(6, dtype=int), "y_test": np.zeros(2, dtype=int)}, "a single class"),
        ({"y_test": np.array([3, 4])}, "labels in y_test that y_train does not have: [4]"),
    ],
)
def test_arrays_that_cannot_be_used(
    tmp_path: Path, changes: dict[str, np.ndarray], found: str
) -> None:
    config = npz(tmp_path, **complete(**changes))
    text = refusal(config)
    assert f"data.root = {config.root!r}: found {found}" in text
    assert "numpy.savez" in text


def test_other_keys_are_named(tmp_path: Path) -> None:
    text = refusal(npz(tmp_path, images=PIXELS, labels=LABELS))
    assert "no x_train; the keys are images, labels" in text
    assert "x_train and x_test" in text


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    objects = np.array([PIXELS, None], dtype=object)
    text = refusal(npz(tmp_path, **complete(x_train=objects)))
    assert "allow_pickle=False" in text


@pytest.mark.parametrize("content", [b"", b"no zip archive", b"PK\x03\x04 broken"])
def test_broken_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    assert "cannot be read" in refusal(DataConfig(source="npz", root=str(tmp_path / "a.npz")))


def test_other_kinds_of_root(tmp_path: Path) -> None:
    assert "no file given" in refusal(DataConfig(source="npz"))
    assert "found a folder" in refusal(DataConfig(source="npz", root=str(tmp_path)))
    assert "no such file" in refusal(DataConfig(source="npz", root=str(tmp_path / "a.npz")))
    np.save(tmp_path / "a.npy", PIXELS)
    assert "a single array" in refusal(DataConfig(source="npz", root=str(tmp_path / "a.npy")))
