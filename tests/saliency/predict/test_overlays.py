from __future__ import annotations

import numpy as np
import pytest

from ssl_kedro.saliency.predict.overlays import (
    heat_map,
    overlay,
    relative_map,
    resized_map,
)


def luminance(picture: np.ndarray) -> np.ndarray:
    return np.tensordot([0.2126, 0.7152, 0.0722], picture.astype(float), axes=1)


def blob(height: int = 40, width: int = 80, row: int = 20, column: int = 20) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.exp(-((y - row) ** 2 + (x - column) ** 2) / 30).astype(np.float32)


def test_resizing_goes_round_the_seam_and_keeps_a_linear_map() -> None:
    rng = np.random.default_rng(0)
    small = rng.random((5, 8))
    found = resized_map(small, 15, 24)
    assert found.shape == (15, 24) and found.dtype == np.float32
    # Centres of every third pixel coincide.
    np.testing.assert_allclose(found[1::3, 1::3], small, atol=1e-6)
    for i in range(15):
        for j in range(24):
            y, x = min(max((i + 0.5) / 3 - 0.5, 0), 4), (j + 0.5) / 3 - 0.5
            top, left = int(np.floor(y)), int(np.floor(x))
            fy, fx = y - top, x - left
            rows = (top, min(top + 1, 4))
            expected = sum(
                a * b * small[r, c % 8]
                for r, a in zip(rows, (1 - fy, fy), strict=True)
                for c, b in ((left, 1 - fx), (left + 1, fx))
            )
            assert found[i, j] == pytest.approx(expected, abs=1e-6)
    turned = resized_map(np.roll(small, 3, axis=1), 15, 24)
    np.testing.assert_allclose(turned, np.roll(found, 9, axis=1), atol=1e-6)


def test_the_scale_is_a_percentile_of_the_sphere_and_zero_stays_zero() -> None:
    uniform = np.full((10, 20), 3e-7)
    np.testing.assert_allclose(relative_map(uniform), 1)
    # One pixel in 20,000 is a thousand times hotter: the rest keeps its colours.
    plain = np.ones((100, 200))
    plain[50, 50] = 1000
    assert relative_map(plain).min() == 1
    # The first row is 1 % of the pixels of a 100-row map but only .025 % of the sphere.
    pole = np.ones((100, 200))
    pole[0] = 1000
    assert relative_map(pole)[50, 0] == 1
    equator = np.ones((100, 200))
    equator[50] = 1000
    assert relative_map(equator)[0, 0] == pytest.approx(1e-3)
    lone = np.zeros((100, 200))
    lone[50, 50] = 2  # less than the percentile leaves
    assert relative_map(lone)[50, 50] == 1 and relative_map(lone).sum() == 1


@pytest.mark.parametrize("bad", [np.zeros((2, 4)), np.full((2, 4), np.nan), -np.ones((2, 4))])
def test_maps_without_a_scale_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="none negative and some above zero"):
        relative_map(bad)


def test_heat_maps_grow_lighter_with_salience() -> None:
    ramp = np.repeat(np.linspace(0, 1, 256)[None], 128, axis=0)
    light = luminance(heat_map(ramp, 128, 256))[64]
    assert light[0] < 2 and light[-2] > 200
    assert (np.diff(light[:250]) >= -0.5).all()
    assert heat_map(ramp, 30, 60).shape == (3, 30, 60)


@pytest.mark.parametrize("shade", [0, 255])
def test_overlays_are_seen_on_black_and_on_white_and_leave_the_rest(shade: int) -> None:
    picture = np.full((3, 80, 160), shade, np.uint8)
    before = picture.copy()
    found = overlay(picture, blob()).astype(int)
    assert (picture == before).all()
    # The map is 0 at the far side: nothing is drawn there, and grey pictures do not pale.
    assert (found[:, :, 120:] == shade).all()
    # On white the yellow of the peak differs in blue, on black in all but blue.
    assert np.abs(found[:, 41, 41] - shade).max() > 120, found[:, 41, 41]
    # A line with both a light and a dark side lies around the peak.
    row = luminance(found)[41, 41:60]
    assert row.max() > 240 and row.min() < 30


def test_opacity_grows_with_the_map() -> None:
    # Up and down again, so that nothing jumps at the seam.
    half = np.linspace(0, 1, 160)
    ramp = np.repeat(np.r_[half, half[::-1]][None], 160, axis=0)
    black, white = (np.full((3, 160, 320), shade, np.uint8) for shade in (0, 255))
    # What is left of the difference of two pictures is what the colour lets through.
    through = overlay(white, ramp, 0.7).astype(float) - overlay(black, ramp, 0.7)
    share = 1 - through[:, 80] / 255
    away_from_line = np.r_[0:74, 86:160]
    assert np.ptp(share[:, away_from_line], axis=0).max() < 0.01
    assert (np.diff(share[0, away_from_line]) > -0.01).all()
    assert share[0, 0] == 0 and share[0, 159] == pytest.approx(0.7, abs=0.02)
    none = overlay(white, ramp, opacity=0)
    drawn = (none != 255).any(axis=0)
    assert not drawn[:, :74].any() and not drawn[:, 86:234].any() and drawn.any()
    with pytest.raises(ValueError, match=r"opacity = 1.5: expected 0 to 1"):
        overlay(white, ramp, opacity=1.5)


def test_overlays_know_nothing_of_the_seam() -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (3, 80, 160), dtype=np.uint8)
    saliency = blob(column=40)
    expected = np.roll(overlay(picture, saliency), 80, axis=2)
    found = overlay(np.roll(picture, 80, axis=2), np.roll(saliency, 40, axis=1))
    np.testing.assert_array_equal(found, expected)


def test_pictures_of_another_kind_are_refused() -> None:
    with pytest.raises(ValueError, match=r"uint8 \(3, H, W\), found float64 \(3, 4, 8\)"):
        overlay(np.zeros((3, 4, 8)), np.ones((2, 4)))
