"""Rotations and sampling, against formulas and py360convert."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from ssl_kedro.spherical.sphere import (
    Interpolation,
    checked_rotation,
    directions,
    nadir_to_equator,
    pixel_directions,
    pixel_solid_angles,
    rotation,
    rotation_plan,
    sampling_plan,
    zenith_to_equator,
)

SIZE = (64, 128)


def smooth(vectors: Tensor) -> Tensor:
    """A smooth function on the sphere, (..., 2)."""
    x, y, z = (vectors / vectors.norm(dim=-1, keepdim=True)).unbind(-1)
    return torch.stack([x * y + 0.5 * z, z * z - 0.3 * x + 0.2 * y * z], dim=-1)


def panorama(size: tuple[int, int] = SIZE) -> Tensor:
    return smooth(pixel_directions(*size)).permute(2, 0, 1)[None]


def noise(count: int = 2, size: tuple[int, int] = SIZE) -> Tensor:
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(0))


def sampled(panoramas: Tensor, where: Tensor) -> Tensor:
    return sampling_plan(where, (panoramas.shape[2], panoramas.shape[3]))(panoramas)


def rotated(panoramas: Tensor, matrix: Tensor, interpolation: Interpolation = "bilinear") -> Tensor:
    size = (panoramas.shape[2], panoramas.shape[3])
    return rotation_plan(matrix, size, interpolation)(panoramas)


# --- rotations


def test_angles_turn_right_and_lift() -> None:
    ahead, right, up = torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(rotation(yaw_deg=90) @ ahead, right)
    torch.testing.assert_close(rotation(pitch_deg=90) @ ahead, up)
    torch.testing.assert_close(rotation(roll_deg=90) @ right, up)
    looking = rotation(yaw_deg=30, pitch_deg=40) @ ahead
    expected = directions(torch.tensor(30.0).double(), torch.tensor(40.0).double())
    torch.testing.assert_close(looking, expected)
    three = rotation(yaw_deg=10) @ rotation(pitch_deg=20) @ rotation(roll_deg=30)
    torch.testing.assert_close(rotation(10, 20, 30), three)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (torch.diag(torch.tensor([1.0, 1.0, -1.0])), "mirrors"),
        (2 * torch.eye(3), "misses R R"),
        (torch.eye(2), r"shape \(..., 3, 3\), found \(2, 2\)"),
    ],
)
def test_what_is_no_rotation_is_refused(matrix: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        checked_rotation(matrix)


# --- sampling and rotating


@pytest.mark.parametrize("size", [(64, 128), (5, 9), (160, 320), (1, 2)])
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_identity(size: tuple[int, int], interpolation: Interpolation) -> None:
    seen = noise(1, size)
    found = rotated(seen, rotation(), interpolation)
    torch.testing.assert_close(found, seen, rtol=0, atol=1e-6)


def test_turns_by_whole_pixels_are_exact_and_a_full_turn_gives_the_panorama_back() -> None:
    seen = noise()
    for columns in (1, 5, 64):
        found = rotated(seen, rotation(yaw_deg=360 * columns / SIZE[1]))
        torch.testing.assert_close(found, torch.roll(seen, columns, -1), rtol=0, atol=1e-6)
    found = seen
    for _ in range(8):
        found = rotated(found, rotation(yaw_deg=45))
    torch.testing.assert_close(found, seen, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "angles", [(0, 90, 0), (0, -90, 0), (90, 90, 0), (0, 0, 90), (20, 35, -70)]
)
def test_rotating_a_function_is_rotating_its_argument(angles: tuple[float, float, float]) -> None:
    matrix = rotation(*angles)
    size = (160, 320)
    found = rotated(panorama(size), matrix)
    expected = smooth(pixel_directions(*size) @ matrix).permute(2, 0, 1)[None]
    assert float((found - expected).abs().max()) < 1e-3


def test_a_rotation_and_back() -> None:
    seen = panorama((160, 320))
    for angles in ((20, 35, -70), (-130, 80, 10), (5, -40, 170)):
        matrix = rotation(*angles)
        back = rotated(rotated(seen, matrix), matrix.T)
        assert float((back - seen).abs().max()) < 2e-3


def test_the_mean_over_the_sphere_stays() -> None:
    size = (160, 320)
    weights = pixel_solid_angles(*size)
    means = [
        (seen * weights).sum(dim=(2, 3))
        for seen in (panorama(size), rotated(panorama(size), rotation(33, 52, 17)))
    ]
    torch.testing.assert_close(means[0], means[1], atol=1e-3, rtol=0)


def test_seam_and_poles_continue() -> None:
    seen = noise(1)
    height, width = SIZE
    column = torch.tensor([180.0, -180.0]).double()
    on_seam = sampled(seen, directions(column, torch.zeros(2).double() + 90 / height))
    between = (seen[..., height // 2 - 1, 0] + seen[..., height // 2 - 1, -1]) / 2
    torch.testing.assert_close(on_seam, between[..., None].expand(-1, -1, 2))
    # At the pole, along a column: between the first row and that of the other side.
    longitude = (torch.arange(width).double() + 0.5) * 360 / width - 180
    at_pole = sampled(seen, directions(longitude, torch.full((width,), 90.0).double()))
    # atan2 of the pole's tiny x and y keeps the longitude that made them.
    expected = (seen[:, :, 0] + seen[:, :, 0].roll(width // 2, -1)) / 2
    torch.testing.assert_close(at_pole, expected, atol=1e-4, rtol=0)


def slow_value(seen: np.ndarray, longitude: float, latitude: float) -> float:
    """Bilinear by hand: beyond a pole stands what lies across it, at a longitude turned by 180."""
    height, width = seen.shape

    def pixel(row: int, column: int) -> float:
        if 0 <= row < height:
            return float(seen[row, column % width])
        row = 0 if row < 0 else height - 1
        # Half a turn is a whole number of pixels, or half a pixel more.
        left, right = column + width // 2, column + (width + 1) // 2
        return float((seen[row, left % width] + seen[row, right % width]) / 2)

    row, column = (90 - latitude) * height / 180 - 0.5, (longitude + 180) * width / 360 - 0.5
    i, j = math.floor(row), math.floor(column)
    down, right = row - i, column - j
    above = pixel(i, j) * (1 - right) + pixel(i, j + 1) * right
    below = pixel(i + 1, j) * (1 - right) + pixel(i + 1, j + 1) * right
    return above * (1 - down) + below * down


@pytest.mark.parametrize("size", [(4, 8), (5, 9), (1, 3)])
def test_any_direction_against_a_slow_reference(size: tuple[int, int]) -> None:
    generator = np.random.default_rng(3)
    seen = generator.random(size)
    longitude = np.concatenate([generator.uniform(-180, 180, 300), [179.99, -179.99]])
    latitude = np.concatenate([generator.uniform(-90, 90, 300), [89.9, -89.9]])
    where = directions(torch.from_numpy(longitude), torch.from_numpy(latitude))
    found = sampled(torch.from_numpy(seen)[None, None], where)[0, 0].numpy()
    expected = [slow_value(seen, *angles) for angles in zip(longitude, latitude, strict=True)]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_zenith_and_nadir_come_to_the_equator() -> None:
    height, width = SIZE
    latitude = torch.linspace(90, -90, 2 * height + 1)[1::2]
    seen = latitude[:, None].expand(height, width)[None, None].float()
    ahead = (height // 2, width // 2)
    top, bottom = zenith_to_equator(SIZE)(seen)[0, 0], nadir_to_equator(SIZE)(seen)[0, 0]
    assert float(top[ahead]) > 85
    assert float(bottom[ahead]) < -85
    # What was ahead has gone to the other pole.
    marks = torch.zeros(1, 1, height, width)
    marks[0, 0, height // 2 - 1 : height // 2 + 1, width // 2 - 1 : width // 2 + 1] = 1
    assert float(zenith_to_equator(SIZE)(marks)[0, 0, -1].mean()) > 0.2
    assert float(nadir_to_equator(SIZE)(marks)[0, 0, 0].mean()) > 0.2


def test_gradients_reach_the_panorama() -> None:
    seen = torch.rand(1, 1, 4, 8, dtype=torch.float64, requires_grad=True)
    plan = rotation_plan(rotation(20, 30, 40), (4, 8))
    assert torch.autograd.gradcheck(plan, seen)


def test_other_sizes_and_types_are_refused() -> None:
    plan = sampling_plan(pixel_directions(*SIZE), SIZE)
    with pytest.raises(ValueError, match=r"\(N, C, 64, 128\), found \(1, 3, 32, 64\)"):
        plan(noise(1, (32, 64)))
    with pytest.raises(ValueError, match=r"floats, found torch.uint8"):
        plan(torch.zeros(1, 3, *SIZE, dtype=torch.uint8))


def test_agrees_with_py360convert_in_its_own_directions() -> None:
    py360convert = pytest.importorskip("py360convert")
    seen = panorama((256, 512))
    picture = seen[0].permute(1, 2, 0).numpy()
    for yaw, pitch in ((0, 0), (40, 0), (-110, 35), (15, -60)):
        theirs = py360convert.e2p(picture, 80, yaw, pitch, (65, 65))
        field, right, up = np.radians([80, -yaw, pitch])
        # Right, up, ahead; ours are ahead, right, up.
        pixels = py360convert.utils.xyzpers(field, field, right, up, (65, 65), 0.0)
        where = torch.from_numpy(pixels.astype(np.float64))[..., [2, 0, 1]]
        ours = sampled(seen, where)[0].permute(1, 2, 0).numpy()
        assert np.abs(theirs - ours).max() < 2e-3
