"""Views per second of one core: this package's batched views against torchvision.

Run ``python benchmarks/augmentation.py [--size 32 --images 512 --seconds 3]``; without a size
it measures 32 and 96 px. All candidates get decoded images in memory in the form they take
best (PIL images, uint8 tensors, one uint8 batch) and return float32 views in [0, 1]. They
take turns in rounds, so that a change of the machine's load meets all of them alike; the
median round counts. The recipe is the default of ViewConfig.

It also prints how far the colours lie from torchvision's: the mean absolute difference of
values in [0, 1] when both apply the same factors, for torchvision in a random order with a
clamp after each step, beside the difference between two random orders in torchvision itself.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torchvision import transforms
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from ssl_kedro.augment.config import ViewConfig
from ssl_kedro.augment.transforms import apply_colour
from ssl_kedro.augment.views import RandomViews, draw_colours


def smooth_images(count: int, size: int) -> Tensor:
    """Random images with the correlations of photographs, uint8 (count, 3, size, size)."""
    generator = torch.Generator().manual_seed(0)
    image = torch.zeros(count, 3, size, size)
    for cells in (2, 4, 8, 16):
        coarse = torch.randn(count, 3, cells, cells, generator=generator)
        shared = torch.randn(count, 1, cells, cells, generator=generator)
        fine = functional.resize(shared + 0.4 * coarse, [size, size], antialias=True)
        image += fine / cells**0.5
    return (image * 45 + 120).clamp(0, 255).to(torch.uint8)


def pil_pipeline(config: ViewConfig, size: int) -> Callable[[object], Tensor]:
    """The recipe as torchvision transforms of one PIL image."""
    jitter = transforms.ColorJitter(
        config.brightness, config.contrast, config.saturation, config.hue
    )
    return transforms.Compose(
        [
            transforms.RandomResizedCrop(size, config.crop_scale, config.crop_ratio),
            transforms.RandomHorizontalFlip(config.flip),
            transforms.RandomApply([jitter], config.jitter),
            transforms.RandomGrayscale(config.grey),
            transforms.RandomSolarize(128, config.solarize),
            transforms.ToTensor(),
        ]
    )


def tensor_pipeline(config: ViewConfig, size: int) -> Callable[[Tensor], Tensor]:
    """The recipe as torchvision v2 transforms of one uint8 tensor."""
    jitter = v2.ColorJitter(config.brightness, config.contrast, config.saturation, config.hue)
    return v2.Compose(
        [
            v2.RandomResizedCrop(size, config.crop_scale, config.crop_ratio, antialias=True),
            v2.RandomHorizontalFlip(config.flip),
            v2.RandomApply([jitter], config.jitter),
            v2.RandomGrayscale(config.grey),
            v2.RandomSolarize(128, config.solarize),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )


def candidates(size: int, count: int) -> dict[str, Callable[[], object]]:
    """What is timed, by name; each call makes count views, the PIL pipeline first."""
    batch = smooth_images(count, size)
    pictures = [functional.to_pil_image(image) for image in batch]
    pil = pil_pipeline(ViewConfig(), size)
    tensors = tensor_pipeline(ViewConfig(), size)
    generator = torch.Generator().manual_seed(0)
    linear = RandomViews(ViewConfig())
    exact = RandomViews(ViewConfig(exact_hue=True))
    bicubic = RandomViews(ViewConfig(interpolation="bicubic"))
    blurred = RandomViews(ViewConfig(blur=0.5))
    plain = RandomViews(ViewConfig(jitter=0, grey=0, solarize=0))
    return {
        "torchvision, PIL, per sample": lambda: torch.stack([pil(p) for p in pictures]),
        "torchvision v2, tensors, per sample": lambda: torch.stack([tensors(i) for i in batch]),
        "ours, linear hue": lambda: linear(batch, generator),
        "ours, exact hue": lambda: exact(batch, generator),
        "ours, linear hue, bicubic": lambda: bicubic(batch, generator),
        "ours, linear hue, half of them blurred": lambda: blurred(batch, generator),
        "ours, crop and flip only": lambda: plain(batch, generator),
    }


def measure(functions: dict[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Median seconds of each function over interleaved rounds, seconds long for each."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        function()
    end = time.perf_counter() + seconds * len(functions)
    while time.perf_counter() < end:
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def torchvision_jitter(images: Tensor, factors: Tensor, generator: torch.Generator) -> Tensor:
    """ColorJitter of torchvision with given factors (N, 4), steps in a random order."""
    steps = [
        functional.adjust_brightness,
        functional.adjust_contrast,
        functional.adjust_saturation,
        functional.adjust_hue,
    ]
    results = []
    for image, values in zip(images, factors.tolist(), strict=True):
        result = image
        for step in torch.randperm(4, generator=generator).tolist():
            result = steps[step](result, values[step])
        results.append(result)
    return torch.stack(results)


def colour_differences(count: int) -> dict[str, float]:
    """Mean absolute difference of the jittered colours, in units of the range."""
    images = smooth_images(count, 32) / 255
    generator = torch.Generator().manual_seed(1)
    draws = draw_colours(count, ViewConfig(jitter=1, grey=0), generator)
    factors = torch.stack(draws[:4], dim=1)
    reference = torchvision_jitter(images, factors, generator)
    results = {
        "torchvision in another random order": torchvision_jitter(images, factors, generator),
        "ours, exact hue": apply_colour(images, draws, True, peak=1.0),
        "ours, linear hue": apply_colour(images, draws, False, peak=1.0).clamp(0, 1),
        "no jitter at all": images,
    }
    return {name: (values - reference).abs().mean().item() for name, values in results.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, help="pixels of images and views; 32 and 96 if absent")
    parser.add_argument("--images", type=int, default=512, help="images in a batch")
    parser.add_argument("--seconds", type=float, default=3.0, help="time for each candidate")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for size in [arguments.size] if arguments.size else [32, 96]:
        times = measure(candidates(size, arguments.images), arguments.seconds)
        slowest = next(iter(times.values()))
        print(f"{size} px, {arguments.images} images, one thread")
        for name, seconds in times.items():
            rate = arguments.images / seconds
            print(f"  {name:38s} {rate:9,.0f} views/s  {slowest / seconds:6.1f} x PIL")
    print("mean absolute difference from torchvision's ColorJitter with the same factors")
    for name, difference in colour_differences(arguments.images).items():
        print(f"  {name:38s} {difference:.4f}")


if __name__ == "__main__":
    main()
