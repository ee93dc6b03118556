from __future__ import annotations

import colorsys
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as v2

from ssl_kedro.augment.config import ViewConfig
from ssl_kedro.augment.transforms import ColourDraws, apply_colour, shift_hue
from ssl_kedro.augment.views import draw_colours

# torchvision's tensor functions round the luma weight of red to 0.2989.
LUMA_ROUNDING = 1e-4


def images(low: float = 0.4, high: float = 0.6, count: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.rand(count, 3, 8, 9, generator=generator) * (high - low) + low


def draws(count: int = 4, **changes: Tensor) -> ColourDraws:
    one = torch.ones(count)
    neutral = ColourDraws(one, one, one, torch.zeros(count), torch.zeros(count).bool())
    return neutral._replace(**changes)


FACTORS = torch.tensor([0.6, 0.85, 1.1, 1.4])


@pytest.mark.parametrize("exact_hue", [False, True])
@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("brightness", v2.adjust_brightness),
        ("contrast", v2.adjust_contrast),
        ("saturation", v2.adjust_saturation),
    ],
)
def test_one_factor_equals_torchvision(name: str, function: object, exact_hue: bool) -> None:
    batch = images()
    found = apply_colour(batch * 255, draws(**{name: FACTORS}), exact_hue, peak=255.0)
    for image, view, factor in zip(batch, found, FACTORS.tolist(), strict=True):
        expected = function(image, factor)  # type: ignore[operator]
        atol = 1e-5 if name == "brightness" else LUMA_ROUNDING
        torch.testing.assert_close(view, expected, atol=atol, rtol=0)


@pytest.mark.parametrize("exact_hue", [False, True])
def test_grey_equals_torchvision_in_the_chosen_samples_only(exact_hue: bool) -> None:
    batch = images(0, 1)
    chosen = torch.tensor([True, False, False, True])
    found = apply_colour(batch, draws(grey=chosen), exact_hue, peak=1.0)
    expected = torch.where(chosen[:, None, None, None], v2.rgb_to_grayscale(batch, 3), batch)
    torch.testing.assert_close(found, expected, atol=LUMA_ROUNDING, rtol=0)


def step_by_step(image: Tensor, factors: list[float], grey: bool) -> Tensor:
    """The convention written as five separate float64 steps on one image (3, H, W)."""

    def luma(x: Tensor) -> Tensor:
        return 0.299 * x[0] + 0.587 * x[1] + 0.114 * x[2]

    b, c, s, turns = factors
    x = image.double() * b
    x = c * x + (1 - c) * luma(x).mean()
    x = s * x + (1 - s) * luma(x)
    # Rodrigues' formula: v cos t + (k x v) sin t + k (k . v) (1 - cos t), k the grey axis.
    angle = torch.tensor(2 * torch.pi * turns, dtype=torch.float64)
    axis = torch.full_like(x, 3**-0.5)
    cross = torch.linalg.cross(axis, x, dim=0)
    along = axis * (axis * x).sum(0)
    x = x * angle.cos() + cross * angle.sin() + along * (1 - angle.cos())
    return luma(x).expand(3, -1, -1) if grey else x


def test_folded_map_equals_the_five_steps() -> None:
    batch = images(0, 1, count=6)
    generator = torch.Generator().manual_seed(5)
    config = ViewConfig(jitter=0.9, grey=0.5, saturation=0.5, hue=0.5)
    drawn = draw_colours(6, config, generator)
    assert drawn.grey.any()
    assert not drawn.grey.all()
    found = apply_colour(batch * 255, drawn, False, peak=255.0)
    for image, view, values in zip(batch, found, zip(*drawn, strict=True), strict=True):
        *factors, grey = (value.item() for value in values)
        expected = step_by_step(image, factors, bool(grey))
        torch.testing.assert_close(view.double(), expected, atol=2e-5, rtol=0)


def test_folded_map_leaves_grey_images_grey() -> None:
    batch = images(0, 1)[:, :1].expand(-1, 3, -1, -1).contiguous()
    turned = draws(hue=torch.tensor([0.1, -0.1, 0.5, 0.25]), saturation=FACTORS)
    found = apply_colour(batch, turned, False, peak=1.0)
    torch.testing.assert_close(found, batch, atol=1e-5, rtol=0)
    assert torch.equal(shift_hue(batch, turned.hue), batch)


def test_exact_hue_equals_torchvision() -> None:
    batch = images(0, 1, count=5)
    turns = torch.tensor([-0.5, -0.1, 0.0, 0.07, 0.5])
    found = apply_colour(batch, draws(5, hue=turns), True, peak=1.0)
    for image, view, turn in zip(batch, found, turns.tolist(), strict=True):
        torch.testing.assert_close(view, v2.adjust_hue(image, turn), atol=1e-5, rtol=0)


def test_exact_hue_equals_the_standard_library_on_corner_colours() -> None:
    levels = torch.tensor([0.0, 0.3, 1.0])
    colours = torch.cartesian_prod(levels, levels, levels)
    turn = 0.21
    found = shift_hue(colours.T[None, :, :, None], torch.tensor([turn]))[0, :, :, 0].T
    for colour, view in zip(colours.tolist(), found, strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*colour)
        expected = torch.tensor(colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value))
        torch.testing.assert_close(view, expected, atol=1e-6, rtol=0)


def test_linear_hue_equals_the_exact_one_at_thirds_of_a_turn() -> None:
    batch = images(0, 1, count=2)
    turns = torch.tensor([1 / 3, -1 / 3])
    linear = apply_colour(batch, draws(2, hue=turns), False, peak=1.0)
    torch.testing.assert_close(linear, shift_hue(batch, turns), atol=1e-5, rtol=0)
    torch.testing.assert_close(linear[0], batch[0].roll(1, dims=0), atol=1e-5, rtol=0)


def test_linear_hue_is_as_near_to_the_exact_one_as_a_linear_map_can_be() -> None:
    colours = torch.rand(1, 3, 200, 100, generator=torch.Generator().manual_seed(0))
    turns = torch.tensor([0.1])
    exact = shift_hue(colours, turns)
    linear = apply_colour(colours, draws(1, hue=turns), False, peak=1.0)
    best = torch.linalg.lstsq(colours.flatten(2)[0].T, exact.flatten(2)[0].T).solution.T
    limit = (best @ colours.flatten(2)).view_as(colours)
    error = (linear - exact).square().mean()
    assert error < 1.02 * (limit - exact).square().mean()
    assert error < 0.6 * (colours - exact).square().mean()


def test_factors_are_uniform_around_one_where_jittered() -> None:
    config = ViewConfig(brightness=1.5)
    drawn = draw_colours(20000, config, torch.Generator().manual_seed(0))
    jittered = drawn.contrast != 1
    for values, low, high in [
        (drawn.brightness, 0.0, 2.5),
        (drawn.contrast, 0.6, 1.4),
        (drawn.saturation, 0.8, 1.2),
        (drawn.hue, -0.1, 0.1),
    ]:
        chosen = (values[jittered] - low) / (high - low)
        assert chosen.min() >= -1e-6
        assert chosen.max() <= 1 + 1e-6
        # Standard error of the mean of a uniform variable, and of its mean square.
        assert abs(chosen.mean() - 1 / 2) < 4 * (1 / 12 / len(chosen)) ** 0.5
        assert abs(chosen.square().mean() - 1 / 3) < 4 * (4 / 45 / len(chosen)) ** 0.5
    neutral = draw_colours(100, replace(config, jitter=0.0), torch.Generator())
    assert torch.equal(neutral.brightness, torch.ones(100))
    assert torch.equal(neutral.hue, torch.zeros(100))


def test_drawn_changes_are_independent_of_each_other() -> None:
    drawn = draw_colours(20000, ViewConfig(jitter=1.0), torch.Generator().manual_seed(0))
    correlation = torch.corrcoef(torch.stack([values.double() for values in drawn]))
    assert (correlation - torch.eye(5)).abs().max() < 4.5 / 20000**0.5
