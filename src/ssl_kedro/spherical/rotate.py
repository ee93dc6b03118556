"""Panoramas seen from a head that is turned."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_kedro.spherical.rotations import checked_rotation, rotation
from ssl_kedro.spherical.sampling import Interpolation, SamplingPlan, sampled, sampling_plan
from ssl_kedro.spherical.sphere import pixel_directions


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


def rotated(
    panoramas: Tensor, matrices: Tensor, interpolation: Interpolation = "bilinear"
) -> Tensor:
    """Panoramas whose content in direction d has gone to R d.

    Args:
        panoramas: float (N, C, H, W).
        matrices: R, (3, 3) for all or (N, 3, 3), one a sample.
        interpolation: see :func:`ssl_kedro.spherical.sampling.sampling_plan`.

    Returns:
        (N, C, H, W).
    """
    size = (panoramas.shape[2], panoramas.shape[3])
    if matrices.ndim == 2:
        return rotation_plan(matrices, size, interpolation).to(panoramas.device)(panoramas)
    directions = pixel_directions(*size).to(matrices.device) @ checked_rotation(matrices)[:, None]
    return sampled(panoramas, directions, interpolation)


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


def turned(panoramas: Tensor, columns: int) -> Tensor:
    """Panoramas turned about the vertical by whole pixels to the right: exact, without sampling."""
    return torch.roll(panoramas, columns, -1)
