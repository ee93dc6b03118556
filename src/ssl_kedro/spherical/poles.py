"""Views of the poles, where an equirectangular picture is stretched beyond recognition."""

import torch
from torch import Tensor

from ssl_kedro.spherical.sphere import SamplingPlan, Size, directions, sampling_plan


def pole_view(size: Size, side: int, reach_deg: float, *, zenith: bool) -> SamplingPlan:
    """Plan of the surroundings of a pole, azimuthal equidistant: (N, C, H, W) to (side, side).

    The pole is in the middle, and a step on the picture is the same angle everywhere on the way
    from it. As a viewer sees it who faces longitude 0: right is right; looking up the front is
    below, looking down it is above. Corners lie beyond ``reach_deg``; see :func:`within_view`.

    Args:
        size: height and width of the panoramas.
        side: of the view in px.
        reach_deg: angle from the pole to the middle of each edge, in (0, 180].
        zenith: or nadir.

    Raises:
        ValueError: a side below 1, or an angle that is none.
    """
    if side < 1 or not 0 < reach_deg <= 180:
        raise ValueError(
            f"expected a side of at least 1 px and 0 to 180 degrees, found {side} and {reach_deg}"
        )
    across, up = _offsets(side)
    colatitude = torch.hypot(across, up) * reach_deg
    longitude = torch.atan2(across, -up if zenith else up).rad2deg()
    latitude = (90 - colatitude).clamp(min=-90)
    return sampling_plan(directions(longitude, latitude if zenith else -latitude), size)


def within_view(side: int) -> Tensor:
    """Which pixels of a view lie within its reach, bool (side, side)."""
    return torch.hypot(*_offsets(side)) <= 1


def _offsets(side: int) -> tuple[Tensor, Tensor]:
    """To the right and up, from -1 to 1 at the edges, of each pixel's centre, (side, side)."""
    steps = (torch.arange(side, dtype=torch.float64) + 0.5) * (2 / side) - 1
    return steps[None, :].expand(side, side), -steps[:, None].expand(side, side)
