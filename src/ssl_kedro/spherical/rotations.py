"""Rotations of the sphere, as matrices that act on directions.

Convention of angles, in degrees: yaw turns what is ahead to the right, pitch lifts what is ahead
towards the zenith, roll lifts what is right towards the zenith. A rotation by all three is
yaw after pitch after roll, each applied once.
"""

from __future__ import annotations

import torch
from torch import Tensor

_TOLERANCE = 1e-5


def rotation(yaw_deg: float = 0.0, pitch_deg: float = 0.0, roll_deg: float = 0.0) -> Tensor:
    """Matrix of a rotation, float64 (3, 3): a direction d goes to R d."""
    angles = torch.tensor([yaw_deg, pitch_deg, roll_deg], dtype=torch.float64).deg2rad()
    (cy, cp, cr), (sy, sp, sr) = angles.cos().tolist(), angles.sin().tolist()
    yaw = torch.tensor([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]], dtype=torch.float64)
    pitch = torch.tensor([[cp, 0, -sp], [0, 1, 0], [sp, 0, cp]], dtype=torch.float64)
    roll = torch.tensor([[1, 0, 0], [0, cr, -sr], [0, sr, cr]], dtype=torch.float64)
    return yaw @ pitch @ roll


def random_rotations(count: int, generator: torch.Generator) -> Tensor:
    """Rotations drawn evenly from all, float64 (count, 3, 3).

    A unit quaternion of four Gaussians is even on the 3-sphere, which covers SO(3) twice.
    """
    q = torch.randn(count, 4, generator=generator, dtype=torch.float64)
    w, x, y, z = (q / q.norm(dim=1, keepdim=True)).unbind(1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)


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
