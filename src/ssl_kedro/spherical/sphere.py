"""Equirectangular pixels and directions on the sphere, values there, and rotations.

Convention of the whole package. Longitude runs from -180 degrees at the left edge of a panorama
to 180 at its right, latitude from 90 (zenith) at the top edge to -90 (nadir). Pixels are cells:
the centre of pixel (i, j) of an H x W panorama lies at latitude 90 - (i + 1/2) 180 / H and
longitude -180 + (j + 1/2) 360 / W. Directions are unit vectors (x, y, z) with x towards longitude
0 on the equator (ahead), y towards longitude 90 (right), z towards the zenith.

A panorama continues on the other side of its left and right edge, and beyond a pole with the
first row turned by half a turn. Coordinates are computed in double precision, so that a direction
through the centre of a pixel gives the value of that pixel.

Rotations are matrices that act on directions. Angles are in degrees: yaw turns what is ahead to
the right, pitch lifts what is ahead towards the zenith, roll lifts what is right towards the
zenith. A rotation by all three is yaw after pitch after roll, each applied once.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Size = tuple[int, int]
Interpolation = Literal["bilinear", "nearest"]
# Of R R^T from 1.
_TOLERANCE = 1e-5


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


@dataclass(frozen=True)
class SamplingPlan:
    """Which pixels make up the values in some directions; made once, used for many panoramas.

    Args:
        size: height and width of the panoramas.
        shape: of the directions, without their last axis.
        indices: int32 (M, K), pixels of the panorama by rows.
        weights: float32 (M, K); each row sums to 1.
    """

    size: Size
    shape: tuple[int, ...]
    indices: Tensor
    weights: Tensor

    def to(self, device: torch.device) -> "SamplingPlan":
        """The plan on a device."""
        return SamplingPlan(self.size, self.shape, self.indices.to(device), self.weights.to(device))

    def __call__(self, panoramas: Tensor) -> Tensor:
        """Values, (N, C, *shape), differentiable in the panoramas.

        Args:
            panoramas: float (N, C, H, W).

        Raises:
            ValueError: panoramas of another size, or not of floats.
        """
        if panoramas.ndim != 4 or tuple(panoramas.shape[2:]) != self.size:
            raise ValueError(
                f"expected panoramas of shape (N, C, {self.size[0]}, {self.size[1]}), found "
                f"{tuple(panoramas.shape)}"
            )
        if not panoramas.is_floating_point():
            raise ValueError(f"expected panoramas of floats, found {panoramas.dtype}: convert them")
        # A pixel's values of all channels and panoramas lie together, and are fetched at once.
        table = panoramas.flatten(2).flatten(0, 1).T.contiguous()
        found = functional.embedding_bag(
            self.indices, table, mode="sum", per_sample_weights=self.weights.to(table.dtype)
        )
        return found.T.reshape(*panoramas.shape[:2], *self.shape)


def sampling_plan(
    directions: Tensor, size: Size, interpolation: Interpolation = "bilinear"
) -> SamplingPlan:
    """Plan for directions, the same in every panorama.

    Args:
        directions: (..., 3), of any length but 0.
        size: height and width of the panoramas.
        interpolation: between the four nearest centres of pixels, or the nearest alone.
    """
    height, width = size
    longitude, latitude = longitude_latitude(directions.double().reshape(-1, 3))
    # In pixels, whole numbers at their centres.
    row = (90 - latitude) * (height / 180) - 0.5
    column = ((longitude + 180) * (width / 360)) % width - 0.5
    if interpolation == "nearest":
        i, j = (row + 0.5).floor().clamp(0, height - 1), (column + 0.5).floor()
        corners = [(_pixels(i, j, size), torch.ones_like(row))]
    else:
        i, j = row.floor().clamp(-1, height - 1), column.floor()
        down, right = (row - i).clamp(0, 1), (column - j).clamp(0, 1)
        up, left = 1 - down, 1 - right
        corners = [
            (_pixels(i, j, size), up * left),
            (_pixels(i, j + 1, size), up * right),
            (_pixels(i + 1, j, size), down * left),
            (_pixels(i + 1, j + 1, size), down * right),
        ]
    indices = torch.stack([index for found, _ in corners for index in found], dim=1)
    weights = torch.stack([w / len(found) for found, w in corners for _ in found], dim=1)
    return SamplingPlan(size, tuple(directions.shape[:-1]), indices.int(), weights.float())


def _pixels(row: Tensor, column: Tensor, size: Size) -> list[Tensor]:
    """The pixels at rows -1 to H and any column, by rows.

    Beyond a pole lies the first row turned by half a turn. With an odd width that is between two
    pixels, of which each counts half: then two are given.
    """
    height, width = size
    beyond = (row < 0) | (row >= height)
    within = row.clamp(0, height - 1) * width
    return [
        within + (column + beyond * half_turn) % width
        for half_turn in sorted({width // 2, (width + 1) // 2})
    ]


def rotation(yaw_deg: float = 0.0, pitch_deg: float = 0.0, roll_deg: float = 0.0) -> Tensor:
    """Matrix of a rotation, float64 (3, 3): a direction d goes to R d."""
    angles = torch.tensor([yaw_deg, pitch_deg, roll_deg], dtype=torch.float64).deg2rad()
    (cy, cp, cr), (sy, sp, sr) = angles.cos().tolist(), angles.sin().tolist()
    yaw = torch.tensor([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]], dtype=torch.float64)
    pitch = torch.tensor([[cp, 0, -sp], [0, 1, 0], [sp, 0, cp]], dtype=torch.float64)
    roll = torch.tensor([[1, 0, 0], [0, cr, -sr], [0, sr, cr]], dtype=torch.float64)
    return yaw @ pitch @ roll


def checked_rotation(matrix: Tensor) -> Tensor:
    """The matrix in float64, if it is a rotation.

    Raises:
        ValueError: not (..., 3, 3), or not a rotation: it stretches, shears or mirrors.
    """
    if matrix.shape[-2:] != (3, 3):
        raise ValueError(f"expected rotations of shape (..., 3, 3), found {tuple(matrix.shape)}")
    found = matrix.double()
    identity = torch.eye(3, dtype=torch.float64, device=found.device)
    error = float((found @ found.mT - identity).abs().max())
    mirrored = bool((torch.linalg.det(found) < 0).any())
    if not error <= _TOLERANCE or mirrored:
        raise ValueError(
            "expected rotations, found a matrix that "
            + ("mirrors" if mirrored else f"misses R R^T = 1 by {error:g}")
        )
    return found


def rotation_plan(
    matrix: Tensor, size: Size, interpolation: Interpolation = "bilinear"
) -> SamplingPlan:
    """Plan that rotates panoramas: what lies in direction d goes to R d.

    Args:
        matrix: R, (3, 3).
        size: height and width of the panoramas.
        interpolation: see :func:`sampling_plan`.
    """
    # The new value in direction d is the old one in R^T d; for rows of vectors that is d R.
    directions = pixel_directions(*size) @ checked_rotation(matrix)
    return sampling_plan(directions, size, interpolation)


def zenith_to_equator(size: Size, interpolation: Interpolation = "bilinear") -> SamplingPlan:
    """Plan that brings the zenith ahead; what was ahead goes to the nadir, behind to the zenith.

    The thesis' "top to front" (4.3.1).
    """
    return rotation_plan(rotation(pitch_deg=-90), size, interpolation)


def nadir_to_equator(size: Size, interpolation: Interpolation = "bilinear") -> SamplingPlan:
    """Plan that brings the nadir ahead; what was ahead goes to the zenith, behind to the nadir.

    The thesis' "bottom to front" (4.3.1).
    """
    return rotation_plan(rotation(pitch_deg=90), size, interpolation)
