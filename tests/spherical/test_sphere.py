from __future__ import annotations

import math

import pytest
import torch

from ssl_kedro.spherical.sphere import (
    directions,
    longitude_latitude,
    pixel_directions,
    pixel_of,
    pixel_solid_angles,
)


@pytest.mark.parametrize("size", [(1, 1), (2, 4), (5, 7), (160, 320)])
def test_solid_angles_cover_the_sphere(size: tuple[int, int]) -> None:
    angles = pixel_solid_angles(*size)
    assert angles.shape == size
    assert float(angles.sum()) == pytest.approx(4 * math.pi, rel=1e-12)


def test_polar_caps_have_the_area_of_caps() -> None:
    # The first of 6 rows reaches 30 degrees from the zenith: 2 pi (1 - cos 30).
    expected = 2 * math.pi * (1 - math.cos(math.pi / 6))
    assert float(pixel_solid_angles(6, 12)[0].sum()) == pytest.approx(expected, rel=1e-12)


def test_axes() -> None:
    ahead, right, up = torch.eye(3, dtype=torch.float64)
    zero, quarter = torch.zeros((), dtype=torch.float64), torch.tensor(90.0, dtype=torch.float64)
    torch.testing.assert_close(directions(zero, zero), ahead)
    torch.testing.assert_close(directions(quarter, zero), right)
    torch.testing.assert_close(directions(zero, quarter), up)


def test_centres_of_pixels() -> None:
    longitude, latitude = longitude_latitude(pixel_directions(2, 4))
    expected = torch.tensor([-135.0, -45.0, 45.0, 135.0], dtype=torch.float64)
    torch.testing.assert_close(longitude, expected.expand(2, 4))
    torch.testing.assert_close(
        latitude, torch.tensor([[45.0], [-45.0]], dtype=torch.float64).expand(2, 4)
    )


@pytest.mark.parametrize("size", [(8, 16), (5, 9)])
def test_a_centre_lies_in_its_pixel(size: tuple[int, int]) -> None:
    row, column = pixel_of(*longitude_latitude(pixel_directions(*size)), *size)
    assert torch.equal(row, torch.arange(size[0])[:, None].expand(size))
    assert torch.equal(column, torch.arange(size[1])[None, :].expand(size))


def test_edges_belong_to_one_pixel() -> None:
    longitude = torch.tensor([-180.0, 180.0, 540.0, 0.0, 0.0])
    latitude = torch.tensor([0.0, 0.0, 0.0, 90.0, -90.0])
    row, column = pixel_of(longitude, latitude, 4, 8)
    assert row.tolist() == [2, 2, 2, 0, 3]
    assert column.tolist() == [0, 0, 0, 4, 4]


@pytest.mark.parametrize("latitude", [90.5, -91.0, math.nan])
def test_impossible_latitudes_are_refused(latitude: float) -> None:
    with pytest.raises(ValueError, match="expected finite longitudes and latitudes"):
        pixel_of(torch.zeros(1), torch.tensor([latitude]), 4, 8)


def test_empty_panoramas_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one row and column, found 0 x 4"):
        pixel_solid_angles(0, 4)
