"""Views of the poles against the directions that they say they show."""

from __future__ import annotations

import math

import pytest
import torch

from ssl_kedro.spherical.poles import pole_view, within_view
from ssl_kedro.spherical.sphere import pixel_directions

SIZE = (180, 360)
SIDE = 33


def seen(zenith: bool, reach: float = 60.0) -> torch.Tensor:
    """x, y and z of the direction that each pixel of the view shows, (3, side, side)."""
    panorama = pixel_directions(*SIZE).permute(2, 0, 1)[None].float()
    return pole_view(SIZE, SIDE, reach, zenith=zenith)(panorama)[0]


@pytest.mark.parametrize("zenith", [True, False])
def test_each_pixel_shows_its_direction(zenith: bool) -> None:
    reach, found = 60.0, seen(zenith)
    for i in range(0, SIDE, 4):
        for j in range(0, SIDE, 4):
            right, up = (j + 0.5) * 2 / SIDE - 1, 1 - (i + 0.5) * 2 / SIDE
            angle = math.radians(math.hypot(right, up) * reach)
            length = math.hypot(right, up) or 1.0
            # Longitude 0 is ahead (x), 90 to the right (y); looking up, what is ahead is below.
            ahead = (-up if zenith else up) / length * math.sin(angle)
            beside = right / length * math.sin(angle)
            pole = math.cos(angle) * (1 if zenith else -1)
            expected = torch.tensor([ahead, beside, pole])
            torch.testing.assert_close(found[:, i, j], expected, atol=2e-3, rtol=0)


def test_both_poles_mirror_each_other() -> None:
    up, down = seen(zenith=True), seen(zenith=False)
    torch.testing.assert_close(up[:2], down[:2].flip(1), atol=1e-5, rtol=0)
    torch.testing.assert_close(up[2], -down[2].flip(0), atol=1e-5, rtol=0)


def test_the_reach_is_a_disc() -> None:
    inside = within_view(201)
    assert float(inside.double().mean()) == pytest.approx(math.pi / 4, abs=2e-3)
    assert bool(inside[100, 0]) and not bool(inside[0, 0])


@pytest.mark.parametrize(("side", "reach"), [(0, 45.0), (8, 0.0), (8, 181.0)])
def test_no_view_is_refused(side: int, reach: float) -> None:
    with pytest.raises(ValueError, match="expected a side"):
        pole_view(SIZE, side, reach, zenith=True)
