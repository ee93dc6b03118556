from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as v2

from ssl_kedro.augment import views as views_module
from ssl_kedro.augment.config import ViewConfig
from ssl_kedro.augment.views import RandomViews

OFF: dict[str, Any] = {
    "crop_scale": (1.0, 1.0),
    "crop_ratio": (1.0, 1.0),
    "flip": 0.0,
    "jitter": 0.0,
    "grey": 0.0,
    "solarize": 0.0,
}
RECIPES = [
    {},
    {"exact_hue": True},
    {"interpolation": "bicubic", "size": 20},
    {"noise": 0.1, "size": 48},
    {"jitter": 0.0, "grey": 0.0, "flip": 0.0},
]


def images(count: int = 8, height: int = 32, width: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (count, 3, height, width)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def off(**changes: Any) -> RandomViews:
    return RandomViews(ViewConfig(**(OFF | changes)))


def test_recipe_with_everything_off_is_exactly_the_image() -> None:
    batch = images(200)
    assert torch.equal(off()(batch, generator()), batch / 255)
    assert torch.equal(off(interpolation="bicubic")(batch, generator()), batch / 255)


@pytest.mark.parametrize("recipe", RECIPES)
def test_views_are_float32_in_range_of_the_right_size(recipe: dict[str, Any]) -> None:
    config = ViewConfig(**recipe)
    found = RandomViews(config)(images(100, 24, 40), generator())
    size = (24, 40) if config.size is None else (config.size, config.size)
    assert found.shape == (100, 3, *size)
    assert found.dtype == torch.float32
    assert found.min() >= 0
    assert found.max() <= 1
    assert found.isfinite().all()


@pytest.mark.parametrize("recipe", RECIPES)
def test_same_seed_same_views_other_seed_others(recipe: dict[str, Any]) -> None:
    transform = RandomViews(ViewConfig(**recipe))
    batch = images()
    first = transform(batch, generator(4))
    assert torch.equal(first, transform(batch, generator(4)))
    assert not torch.equal(first, transform(batch, generator(5)))


@pytest.mark.parametrize("recipe", RECIPES)
def test_chunk_length_changes_no_view(
    recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    transform = RandomViews(ViewConfig(**recipe))
    batch = images(23)
    expected = transform(batch, generator())
    for pixels in (1, 5 * 48 * 48, 10**9):
        monkeypatch.setattr(views_module, "CHUNK_PIXELS", pixels)
        found = transform(batch, generator())
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_a_view_depends_on_its_own_image_only() -> None:
    transform = RandomViews(ViewConfig())
    batch = images()
    before = transform(batch, generator())
    changed = batch.clone()
    changed[3] = 255 - changed[3]
    after = transform(changed, generator())
    same = [torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert same == [index != 3 for index in range(8)]


def test_equal_images_get_different_views() -> None:
    batch = images(1).expand(16, -1, -1, -1)
    found = RandomViews(ViewConfig())(batch, generator()).flatten(1)
    distance = torch.cdist(found, found) + 1e9 * torch.eye(16)
    assert distance.min() > 0.1


def test_input_and_global_state_stay_untouched() -> None:
    batch = images()
    kept, state = batch.clone(), torch.get_rng_state()
    for recipe in RECIPES:
        RandomViews(ViewConfig(**recipe))(batch, generator())
    assert torch.equal(batch, kept)
    assert torch.equal(torch.get_rng_state(), state)


def test_certain_flip_equals_torch_flip() -> None:
    batch = images()
    assert torch.equal(off(flip=1.0)(batch, generator()), torch.flip(batch / 255, dims=[3]))


def test_certain_solarisation_equals_torchvision() -> None:
    batch = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(2, 3, -1, -1)
    found = off(solarize=1.0)(batch, generator())
    torch.testing.assert_close(found, v2.solarize(batch / 255, 0.5), atol=1e-6, rtol=0)


def test_certain_grey_has_three_equal_channels_of_the_right_luma() -> None:
    batch = images()
    found = off(grey=1.0)(batch, generator())
    red, green, blue = (batch / 255).unbind(1)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    torch.testing.assert_close(found, luma[:, None].expand(-1, 3, -1, -1), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("name", "probability"), [("flip", 0.5), ("grey", 0.2), ("solarize", 0.1), ("jitter", 0.8)]
)
def test_frequency_of_each_operation(name: str, probability: float) -> None:
    count = 6000
    batch = images(1, 6, 6).expand(count, -1, -1, -1)
    found = off(**{name: probability})(batch, generator())
    changed = ((found - batch / 255).abs().amax(dim=(1, 2, 3)) > 1e-4).sum().item()
    deviation = (count * probability * (1 - probability)) ** 0.5
    assert abs(changed - count * probability) < 4 * deviation


def test_operations_are_drawn_independently() -> None:
    transform = RandomViews(ViewConfig(jitter=1.0))
    draws = transform.draw(20000, (32, 32), generator())
    assert draws.colour is not None
    assert draws.solarize is not None
    rows = [draws.flip, draws.solarize, draws.colour.grey, draws.colour.hue, draws.boxes.left]
    correlation = torch.corrcoef(torch.stack([row.double() for row in rows]))
    assert (correlation - torch.eye(5)).abs().max() < 4.5 / 20000**0.5


def test_noise_has_the_given_deviation() -> None:
    batch = torch.full((64, 3, 32, 32), 128, dtype=torch.uint8)
    residual = off(noise=0.05)(batch, generator()) - 128 / 255
    assert abs(residual.mean()) < 5 * 0.05 / residual.numel() ** 0.5
    assert residual.std().item() == pytest.approx(0.05, rel=0.02)


def test_recipe_without_colour_draws_none() -> None:
    draws = off().draw(5, (32, 32), generator())
    assert draws.colour is None
    assert draws.solarize is None
    assert draws.noise is None


def test_autocast_changes_nothing() -> None:
    transform = off(crop_scale=(0.2, 1.0))
    expected = transform(images(), generator())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(transform(images(), generator()), expected)


def test_colour_keeps_full_precision_under_autocast() -> None:
    transform = RandomViews(ViewConfig())
    expected = transform(images(), generator())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = transform(images(), generator())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_empty_batch_gives_an_empty_batch() -> None:
    assert RandomViews(ViewConfig(size=16))(images(0), generator()).shape == (0, 3, 16, 16)


def test_one_pixel_images() -> None:
    batch = images(5, 1, 1)
    found = off(crop_scale=(0.2, 1.0), size=4)(batch, generator())
    torch.testing.assert_close(found, (batch / 255).expand(-1, -1, 4, 4))


@pytest.mark.parametrize(
    ("batch", "error", "message"),
    [
        (torch.zeros(2, 3, 8, 8), TypeError, "expected uint8"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), ValueError, r"\(N, 3, H, W\)"),
        (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), ValueError, "repeat grey images"),
        (torch.zeros(2, 3, 0, 8, dtype=torch.uint8), ValueError, r"\(N, 3, H, W\)"),
    ],
)
def test_wrong_input_is_refused(batch: Tensor, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        RandomViews(ViewConfig())(batch, generator())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("recipe", RECIPES)
def test_cuda_renders_the_same_draws_as_the_cpu(recipe: dict[str, Any]) -> None:
    transform = RandomViews(ViewConfig(**recipe))
    batch = images(64)
    device = torch.device("cuda")
    draws = transform.draw(64, (32, 32), torch.Generator(device).manual_seed(0))
    found = transform.render(batch.to(device), draws)
    boxes = type(draws.boxes)(*(values.cpu() for values in draws.boxes))
    colour = draws.colour and type(draws.colour)(*(values.cpu() for values in draws.colour))
    on_cpu = draws._replace(
        boxes=boxes,
        flip=draws.flip.cpu(),
        colour=colour,
        solarize=None if draws.solarize is None else draws.solarize.cpu(),
        noise=None if draws.noise is None else draws.noise.cpu(),
    )
    torch.testing.assert_close(found.cpu(), transform.render(batch, on_cpu), atol=1e-4, rtol=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_never_waits_for_the_device() -> None:
    device = torch.device("cuda")
    transform = RandomViews(ViewConfig())
    batch = images(64).to(device)
    source = torch.Generator(device).manual_seed(0)
    transform(batch, source)
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = transform(batch, source)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert found.device.type == "cuda"
