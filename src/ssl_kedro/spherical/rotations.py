"""Rotations of the sphere, as matrices that act on directions, and panoramas seen through them.

Convention of angles, in degrees: yaw turns what is ahead to the right, pitch lifts what is ahead
towards the zenith, roll lifts what is right towards the zenith. A rotation by all three is
yaw after pitch after roll, each applied once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_kedro.spherical.sampling import Interpolation, SamplingPlan, sampling_plan
from ssl_kedro.spherical.sphere import pixel_directions

_TOLERANCE = 1e-5


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
    error = float((found @ found.transpose(-1, -2) - identity).abs().max())
    mirrored = bool((torch.linalg.det(found) < 0).any())
    if not error <= _TOLERANCE or mirrored:
        raise ValueError(
            "expected rotations, found a matrix that "
            + ("mirrors" if mirrored else f"misses R R^T = 1 by {error:g}")
        )
    return found


def rotation_plan(
    matrix: Tensor, size: tuple[int, int], interpolation: Interpolation = "bilinear"
) -> SamplingPlan:
    """Plan that rotates panoramas: what lies in direction d goes to R d.

    Args:
        matrix: R, (3, 3).
        size: height and width of the panoramas.
        interpolation: see :func:`ssl_kedro.spherical.sampling.sampling_plan`.
    """
    # The new value in direction d is the old one in R^T d; for rows of vectors that is d R.
    directions = pixel_directions(*size) @ checked_rotation(matrix)
    return sampling_plan(directions, size, interpolation)


def zenith_to_equator(
    size: tuple[int, int], interpolation: Interpolation = "bilinear"
) -> SamplingPlan:
    """Plan that brings the zenith ahead; what was ahead goes to the nadir, behind to the zenith.

    The thesis' "top to front" (4.3.1).
    """
    return rotation_plan(rotation(pitch_deg=-90), size, interpolation)


def nadir_to_equator(
    size: tuple[int, int], interpolation: Interpolation = "bilinear"
) -> SamplingPlan:
    """Plan that brings the nadir ahead; what was ahead goes to the zenith, behind to the nadir.

    The thesis' "bottom to front" (4.3.1).
    """
    return rotation_plan(rotation(pitch_deg=90), size, interpolation)
