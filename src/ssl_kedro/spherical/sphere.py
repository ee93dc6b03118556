"""Equirectangular pixels and directions on the sphere.

Convention of the whole package. Longitude runs from -180 degrees at the left edge of a panorama
to 180 at its right, latitude from 90 (zenith) at the top edge to -90 (nadir). Pixels are cells:
the centre of pixel (i, j) of an H x W panorama lies at latitude 90 - (i + 1/2) 180 / H and
longitude -180 + (j + 1/2) 360 / W. Directions are unit vectors (x, y, z) with x towards longitude
0 on the equator (ahead), y towards longitude 90 (right), z towards the zenith.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def pixel_solid_angles(height: int, width: int) -> Tensor:
    """Solid angle of each equirectangular pixel.

    Row i spans latitudes pi/2 - i pi/H down to pi/2 - (i+1) pi/H; its area is the exact
    integral of cos(latitude), not the value at the row's centre.

    Args:
        height: rows, zenith first.
        width: columns, longitude -180 degrees first.

    Returns:
        Steradians, float64 (height, width); sums to 4 pi.

    Raises:
        ValueError: height or width below 1.
    """
    _check_size(height, width)
    edges = torch.sin(torch.linspace(math.pi / 2, -math.pi / 2, height + 1, dtype=torch.float64))
    rows = (edges[:-1] - edges[1:]) * (2 * math.pi / width)
    return rows[:, None].expand(height, width).contiguous()


def pixel_directions(height: int, width: int) -> Tensor:
    """Direction of each pixel's centre, float64 unit vectors (height, width, 3).

    Raises:
        ValueError: height or width below 1.
    """
    _check_size(height, width)
    latitude = math.pi / 2 - (torch.arange(height, dtype=torch.float64) + 0.5) * math.pi / height
    longitude = (torch.arange(width, dtype=torch.float64) + 0.5) * (2 * math.pi / width) - math.pi
    return directions(longitude.rad2deg()[None, :], latitude.rad2deg()[:, None])


def directions(longitude_deg: Tensor, latitude_deg: Tensor) -> Tensor:
    """Unit vectors (..., 3) of longitudes and latitudes in degrees, which broadcast."""
    longitude, latitude = longitude_deg.deg2rad(), latitude_deg.deg2rad()
    across = torch.cos(latitude)
    x, y = across * torch.cos(longitude), across * torch.sin(longitude)
    return torch.stack([x, y, torch.sin(latitude).expand_as(x)], dim=-1)


def longitude_latitude(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Longitude in [-180, 180] and latitude in [-90, 90] degrees of vectors (..., 3).

    The vectors need not have unit length. At the poles the longitude is arbitrary.
    """
    x, y, z = vectors.unbind(-1)
    latitude = torch.atan2(z, torch.hypot(x, y))
    return torch.atan2(y, x).rad2deg(), latitude.rad2deg()


def pixel_of(
    longitude_deg: Tensor, latitude_deg: Tensor, height: int, width: int
) -> tuple[Tensor, Tensor]:
    """Row and column (int64) of the pixel that holds each direction.

    Longitudes of any turn are wrapped; the nadir belongs to the last row.

    Raises:
        ValueError: a latitude is outside [-90, 90] or a value is not finite.
    """
    _check_size(height, width)
    finite = torch.isfinite(longitude_deg).all() and torch.isfinite(latitude_deg).all()
    if not finite or (latitude_deg.abs() > 90).any():
        raise ValueError(
            "expected finite longitudes and latitudes of -90 to 90 degrees, found latitudes "
            f"{float(latitude_deg.min()):g} to {float(latitude_deg.max()):g}"
        )
    row = torch.floor((90 - latitude_deg) * (height / 180)).long().clamp_(0, height - 1)
    column = torch.floor((longitude_deg + 180) * (width / 360)).long() % width
    return row, column


def _check_size(height: int, width: int) -> None:
    if height < 1 or width < 1:
        raise ValueError(f"expected at least one row and column, found {height} x {width}")
