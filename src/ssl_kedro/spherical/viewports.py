"""What a camera sees of a panorama: gnomonic views, and the six faces of a cube."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from ssl_kedro.spherical.rotations import checked_rotation, rotation
from ssl_kedro.spherical.sampling import Interpolation, sampled
from ssl_kedro.spherical.sphere import pixel_directions

FACES = ("front", "right", "back", "left", "up", "down")
_FACE_ANGLES = ((0, 0), (90, 0), (180, 0), (-90, 0), (0, 90), (0, -90))


def viewport_directions(
    field_of_view_deg: float, size: tuple[int, int], matrix: Tensor | None = None
) -> Tensor:
    """Direction of each pixel of a camera, float64 (h, w, 3), not of unit length.

    Pixels are square; the camera looks ahead, turned by R.

    Args:
        field_of_view_deg: between the left and the right edge, in (0, 180).
        size: h and w.
        matrix: R, (3, 3); None = ahead.

    Raises:
        ValueError: a field of view or a size out of range.
    """
    height, width = size
    if not 0 < field_of_view_deg < 180 or height < 1 or width < 1:
        raise ValueError(
            "expected a field of view above 0 and below 180 degrees and at least one pixel, found "
            f"{field_of_view_deg:g} degrees and {height} x {width}"
        )
    half = math.tan(math.radians(field_of_view_deg) / 2)
    across = ((torch.arange(width, dtype=torch.float64) + 0.5) * (2 / width) - 1) * half
    up = (1 - (torch.arange(height, dtype=torch.float64) + 0.5) * (2 / height)) * half
    up = up * (height / width)
    rows, columns = torch.meshgrid(up, across, indexing="ij")
    found = torch.stack([torch.ones_like(rows), columns, rows], dim=-1)
    return found if matrix is None else found @ checked_rotation(matrix).T


def viewport(
    panoramas: Tensor,
    field_of_view_deg: float,
    size: tuple[int, int],
    matrix: Tensor | None = None,
    interpolation: Interpolation = "bilinear",
) -> Tensor:
    """What a camera sees, (N, C, h, w); see :func:`viewport_directions`."""
    return sampled(panoramas, viewport_directions(field_of_view_deg, size, matrix), interpolation)


def cube_faces(panoramas: Tensor, side: int, interpolation: Interpolation = "bilinear") -> Tensor:
    """Six faces, (N, C, 6, side, side), in the order of :data:`FACES`.

    Faces look outwards, upright; "up" has what is ahead at its lower edge, "down" at its upper.
    """
    directions = torch.stack(
        [
            viewport_directions(90, (side, side), rotation(yaw_deg=yaw, pitch_deg=pitch))
            for yaw, pitch in _FACE_ANGLES
        ]
    )
    flat = sampled(panoramas, directions.reshape(-1, 3), interpolation)
    return flat.view(*panoramas.shape[:2], 6, side, side)


def from_cube(faces: Tensor, size: tuple[int, int]) -> Tensor:
    """Panoramas (N, C, H, W) from the faces of :func:`cube_faces`.

    Bilinear within a face; in the outermost half pixel of a face its edge goes on.
    """
    count, channels = faces.shape[:2]
    directions = pixel_directions(*size).reshape(-1, 3)
    axes = torch.stack(
        [rotation(yaw_deg=yaw, pitch_deg=pitch)[:, 0] for yaw, pitch in _FACE_ANGLES]
    )
    nearest = (directions @ axes.T).argmax(dim=1)
    found = faces.new_zeros(count, channels, len(directions))
    for face, (yaw, pitch) in enumerate(_FACE_ANGLES):
        chosen = torch.nonzero(nearest == face)[:, 0]
        # In the camera's own axes: ahead, right, up.
        own = directions[chosen] @ rotation(yaw_deg=yaw, pitch_deg=pitch)
        grid = torch.stack([own[:, 1] / own[:, 0], -own[:, 2] / own[:, 0]], dim=-1)
        values = functional.grid_sample(
            faces[:, :, face],
            grid[None, None].expand(count, -1, -1, -1).to(faces),
            mode="bilinear",
            padding_mode="border",
            align_corners=False,
        )
        found[:, :, chosen.to(faces.device)] = values[:, :, 0]
    return found.view(count, channels, *size)
