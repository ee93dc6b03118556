from __future__ import annotations

import pytest
import torch
from torchvision.transforms.v2 import functional as v2

from ssl_kedro.augment.blur import gaussian_blur
from ssl_kedro.augment.config import ViewConfig
from ssl_kedro.augment.views import RandomViews


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("height", "width", "kernel"), [(32, 32, 13), (9, 20, 5), (16, 11, 3)])
def test_each_image_is_blurred_as_torchvision_blurs_it(
    height: int, width: int, kernel: int, dtype: torch.dtype
) -> None:
    images = torch.rand(5, 3, height, width, generator=generator(), dtype=dtype)
    sigma = torch.tensor([0.1, 0.5, 1.0, 2.0, 7.0])
    found = gaussian_blur(images, sigma, kernel)
    wanted = [
        v2.gaussian_blur(image, [kernel, kernel], [float(one)])
        for image, one in zip(images, sigma, strict=True)
    ]
    assert found.dtype == dtype
    torch.testing.assert_close(found, torch.stack(wanted), atol=2e-6, rtol=0)


def test_without_a_width_an_image_stays_and_constants_always_do() -> None:
    images = torch.rand(3, 3, 12, 12, generator=generator())
    images[2] = 0.3
    found = gaussian_blur(images, torch.tensor([0.0, 1.0, 2.0]), 13)
    assert torch.equal(found[0], images[0])
    assert not torch.equal(found[1], images[1])
    torch.testing.assert_close(found[2], images[2])


def test_a_kernel_wider_than_the_image_reaches_as_far_as_its_mirror() -> None:
    images = torch.rand(2, 3, 4, 4, generator=generator())
    sigma = torch.tensor([1.0, 2.0])
    torch.testing.assert_close(gaussian_blur(images, sigma, 13), gaussian_blur(images, sigma, 7))


def test_the_default_kernel_leaves_out_next_to_nothing() -> None:
    image = torch.zeros(1, 1, 65, 65)
    image[0, 0, 32, 32] = 1
    sigma, side = torch.tensor([2.0]), ViewConfig().blur_side
    assert side == 13
    difference = gaussian_blur(image, sigma, side) - gaussian_blur(image, sigma, 65)
    assert float(difference.abs().sum()) < 0.02


def test_half_of_the_views_are_blurred_and_the_rest_are_drawn_as_without() -> None:
    images = torch.randint(0, 256, (2000, 3, 16, 16), dtype=torch.uint8, generator=generator())
    plain = RandomViews(ViewConfig())(images, generator(3))
    blurred = RandomViews(ViewConfig(blur=0.5, solarize=0.1))(images, generator(3))
    same = (plain == blurred).flatten(1).all(dim=1)
    assert float(same.double().mean()) == pytest.approx(0.5, abs=0.045)  # four deviations


def test_widths_are_drawn_evenly() -> None:
    views = RandomViews(ViewConfig(blur=1.0, blur_sigma=(0.5, 1.5)))
    drawn = views.draw(4000, (32, 32), generator()).blur
    assert drawn is not None
    assert 0.5 <= float(drawn.min()) <= float(drawn.max()) <= 1.5
    assert float(drawn.mean()) == pytest.approx(1.0, abs=0.02)
    assert float(drawn.var()) == pytest.approx(1 / 12, rel=0.1)


def test_a_certain_blur_is_that_of_the_view_alone() -> None:
    off = {"crop_scale": (1.0, 1.0), "crop_ratio": (1.0, 1.0), "flip": 0.0}
    off |= {"jitter": 0.0, "grey": 0.0, "solarize": 0.0}
    images = torch.randint(0, 256, (4, 3, 24, 24), dtype=torch.uint8, generator=generator())
    views = RandomViews(ViewConfig(**off, blur=1.0, blur_sigma=(1.2, 1.2), blur_kernel=9))
    found = views(images, generator())
    wanted = v2.gaussian_blur(images / 255, [9, 9], [1.2])
    torch.testing.assert_close(found, wanted, atol=2e-6, rtol=0)
