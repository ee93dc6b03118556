"""Generated textures: reproducible, balanced, told apart by statistics and not by pixels."""

from __future__ import annotations

import time

import numpy as np
import pytest

from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.images.load import DataConfig, ImageSourceError, load_images
from ssl_kedro.images.sources.textures import PATTERNS, textures


@pytest.fixture(scope="module")
def parts() -> tuple[ImageSet, ImageSet]:
    return load_images(DataConfig(), "train", 0), load_images(DataConfig(), "eval", 0)


def nearest_accuracy(known: np.ndarray, bank: ImageSet, asked: np.ndarray, held: ImageSet) -> float:
    distances = (asked**2).sum(1)[:, None] + (known**2).sum(1) - 2 * asked @ known.T
    return float((bank.labels[distances.argmin(1)] == held.labels).mean())


def test_counts_shape_and_balance(parts: tuple[ImageSet, ImageSet]) -> None:
    for images, count in zip(parts, (2000, 1000), strict=True):
        assert images.images.shape == (count, 3, 32, 32)
        assert np.bincount(images.labels).tolist() == [count // 10] * 10
        assert (images.images == images.images[:, :1]).all()
        assert images.class_names == tuple(PATTERNS)
        assert images.skipped == ()


def test_seed_decides_everything(parts: tuple[ImageSet, ImageSet]) -> None:
    train, held = parts
    assert load_images(DataConfig(), "train", 0).fingerprint() == train.fingerprint()
    assert load_images(DataConfig(), "pretrain", 0).fingerprint() == train.fingerprint()
    assert load_images(DataConfig(), "train", 1).fingerprint() != train.fingerprint()
    seen = {image.tobytes() for image in train.images}
    assert not any(image.tobytes() in seen for image in held.images)


def test_raw_pixels_do_not_solve_the_task(parts: tuple[ImageSet, ImageSet]) -> None:
    train, held = parts
    pixels = [part.images[:, 0].reshape(len(part), -1) / 255.0 for part in parts]
    assert 0.5 <= nearest_accuracy(pixels[0], train, pixels[1], held) <= 0.65


def amplitudes(images: np.ndarray, bins: int = 32) -> np.ndarray:
    """Amplitude spectrum (N, bins, bins), which does not change when a pattern is moved."""
    grey = images / 255.0
    grey = (grey - grey.mean((1, 2), keepdims=True)) / grey.std((1, 2), keepdims=True)
    window = np.hanning(32)[:, None] * np.hanning(32)
    return np.abs(np.fft.fft2(grey * window, s=(bins, bins)))


def test_spectra_tell_the_classes_apart(parts: tuple[ImageSet, ImageSet]) -> None:
    train, held = parts
    known, asked = (amplitudes(part.images[:, 0]).reshape(len(part), -1) for part in parts)
    assert nearest_accuracy(known, train, asked, held) > 0.95


def test_flipped_gratings_stay_in_their_class(parts: tuple[ImageSet, ImageSet]) -> None:
    """Views are flipped in training, so that flipping must not turn one class into another."""

    def unflipped(images: np.ndarray) -> np.ndarray:
        # A flip mirrors one axis of the spectrum; the sum of both ways ignores it.
        spectra = amplitudes(images)
        return (spectra + np.roll(spectra[:, :, ::-1], 1, axis=2)).reshape(len(images), -1)

    train, held = parts
    known, asked = unflipped(train.images[:, 0]), unflipped(held.images[:, 0, :, ::-1])
    gratings = ImageSet(
        held.images[held.labels < 4], held.labels[held.labels < 4], held.class_names, "textures"
    )
    assert nearest_accuracy(known, train, asked[held.labels < 4], gratings) > 0.95


@pytest.mark.parametrize("angle", [0, 30, 60, 90])
def test_gratings_run_in_their_direction(angle: int) -> None:
    label = list(PATTERNS).index(f"grating_{angle}")
    images = textures(np.full(200, label), 32, np.random.default_rng(0))[:, 0]
    half = amplitudes(images, 128)[:, :65].reshape(200, -1)
    row, column = np.divmod(half.argmax(1), 128)
    column = (column + 64) % 128 - 64
    found = np.rad2deg(np.arctan2(row, column))
    # Directions 0 and 180 are one.
    error = (found - angle + 90) % 180 - 90
    assert abs(np.median(error)) < 3
    assert np.quantile(np.abs(error), 0.95) < 15


def test_size_samples_the_same_pattern_more_finely() -> None:
    label = list(PATTERNS).index("coarse_noise")
    deviations = [
        textures(np.full(100, label), size, np.random.default_rng(3))[:, 0].std((1, 2)).mean()
        for size in (32, 96)
    ]
    assert deviations[1] == pytest.approx(deviations[0], rel=0.1)
    assert load_images(DataConfig(size=64, generated=20), "train", 0).images.shape[2:] == (64, 64)


def test_limits_cap_what_is_generated() -> None:
    config = DataConfig(limit=30, eval_limit=20)
    assert np.bincount(load_images(config, "train", 0).labels).tolist() == [3] * 10
    assert len(load_images(config, "eval", 0)) == 20
    assert len(load_images(DataConfig(limit=5000), "train", 0)) == 2000


@pytest.mark.parametrize(
    ("key", "split"),
    [
        ("limit", "train"),
        ("eval_limit", "eval"),
        ("generated", "train"),
        ("generated_eval", "eval"),
    ],
)
def test_fewer_images_than_classes(key: str, split: str) -> None:
    with pytest.raises(ImageSourceError, match=rf"data\.{key} = 9.*10 classes"):
        load_images(DataConfig(**{key: 9}), split, 0)


def test_generation_is_quick() -> None:
    started = time.perf_counter()
    textures(np.arange(3000) % 10, 32, np.random.default_rng(0))
    assert time.perf_counter() - started < 5
