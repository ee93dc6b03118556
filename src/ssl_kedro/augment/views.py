"""Random views of a batch, each sample with its own draw."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ssl_kedro.augment.colour import ColourDraws, apply_colour, draw_colours
from ssl_kedro.augment.config import ViewConfig
from ssl_kedro.augment.crops import Boxes, crop_resize, draw_boxes
from ssl_kedro.core.collectives import own_slice, rows_of_all

# Pixels of a chunk on the CPU: 128 images of 32 px, 14 of 96 px. Its intermediates then stay in
# the cache; batches of 512 rendered at once took 2.5 times as long.
CHUNK_PIXELS = 128 * 32 * 32


class ViewDraws(NamedTuple):
    """Everything random about the views of a batch of N samples.

    Args:
        boxes: crop boxes.
        flip: whether mirrored, bool (N,).
        colour: colour changes, or None where the recipe has none.
        solarize: whether solarised, bool (N,), or None where the recipe never does.
        noise: added noise (N, 3, *size) in units of the range, or None.
    """

    boxes: Boxes
    flip: Tensor
    colour: ColourDraws | None
    solarize: Tensor | None
    noise: Tensor | None

    def part(self, rows: slice) -> ViewDraws:
        """The draws of some of the samples."""
        return ViewDraws(
            boxes=Boxes(*(values[rows] for values in self.boxes)),
            flip=self.flip[rows],
            colour=self.colour and ColourDraws(*(values[rows] for values in self.colour)),
            solarize=None if self.solarize is None else self.solarize[rows],
            noise=None if self.noise is None else self.noise[rows],
        )


class RandomViews:
    """Per-sample random views of a uint8 batch, on the device of the data.

    Crop, flip, colour jitter, grey, solarisation and noise, in this order. Crops are drawn
    and resized as torchvision's RandomResizedCrop does; the colour differs in the details
    that :mod:`ssl_kedro.augment.colour` lists.

    Args:
        config: the recipe.
    """

    def __init__(self, config: ViewConfig) -> None:
        self.config = config

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """One random view of every image.

        Args:
            images: uint8 (N, 3, H, W).
            generator: source of all randomness, on the device of images.

        Returns:
            float32 (N, 3, S, S) in [0, 1], not normalised; S = config.size. Without a size
            (N, 3, H, W).

        Raises:
            TypeError: images are not uint8.
            ValueError: wrong shape, or generator and images on different devices.
        """
        _check(images, generator)
        size = self._size(images)
        height_width = (images.shape[2], images.shape[3])
        whole = self.draw(rows_of_all(len(images)), height_width, generator)
        draws = whole.part(own_slice(len(images)))
        views = torch.empty(len(images), 3, *size, device=images.device)
        step = _chunk_length(images, size)
        # Views stay float32 when asked for inside a training step that casts automatically.
        with torch.autocast(images.device.type, enabled=False):
            for start in range(0, len(images), step):
                rows = slice(start, start + step)
                views[rows] = self.render(images[rows], draws.part(rows))
        return views

    def draw(
        self, count: int, image_size: tuple[int, int], generator: torch.Generator
    ) -> ViewDraws:
        """Draw everything random about the views of count images.

        The draws of a whole batch precede its rendering, so that the length of the chunks in
        which it is rendered cannot change a view.

        Args:
            count: number of images N.
            image_size: their height and width in pixels.
            generator: source of randomness; the draws lie on its device.
        """
        config, device = self.config, generator.device
        boxes = draw_boxes(count, *image_size, config, generator)
        uniform = torch.rand(2, count, generator=generator, device=device)
        colour = draw_colours(count, config, generator) if config.changes_colour else None
        noise = None
        if config.noise > 0:
            size = (config.size, config.size) if config.size else image_size
            noise = torch.randn(count, 3, *size, generator=generator, device=device)
            noise.mul_(config.noise)
        return ViewDraws(
            boxes=boxes,
            flip=uniform[0] < config.flip,
            colour=colour,
            solarize=uniform[1] < config.solarize if config.solarize > 0 else None,
            noise=noise,
        )

    def render(self, images: Tensor, draws: ViewDraws) -> Tensor:
        """The views that draws describe, float32 (N, 3, S, S) in [0, 1].

        Args:
            images: uint8 (N, 3, H, W).
            draws: one draw a sample, on the device of images.
        """
        config = self.config
        crops = crop_resize(
            images, draws.boxes, draws.flip, self._size(images), config.interpolation
        )
        if draws.colour is None:
            views = crops.div_(255)
        else:
            views = apply_colour(crops, draws.colour, config.exact_hue, peak=255.0)
        if draws.colour is not None or config.interpolation == "bicubic":
            views.clamp_(0, 1)
        if draws.solarize is not None:
            views = _solarize(views, draws.solarize)
        if draws.noise is not None:
            views = views.add_(draws.noise).clamp_(0, 1)
        return views

    def _size(self, images: Tensor) -> tuple[int, int]:
        if self.config.size is None:
            return images.shape[2], images.shape[3]
        return self.config.size, self.config.size


class TwoViews:
    """Two views of one recipe, drawn independently.

    Args:
        views: the recipe.
    """

    def __init__(self, views: RandomViews) -> None:
        self.views = views

    def __call__(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Two random views of every image; see :class:`RandomViews`."""
        return self.views(images, generator), self.views(images, generator)


def _solarize(views: Tensor, chosen: Tensor) -> Tensor:
    """Invert values of at least one half in the chosen samples.

    On [0, 1] that is min(x, 1 - x); for the others min(x, 1) changes nothing, so one
    expression serves both and no sample has to be looked up.
    """
    slope = chosen.to(views.dtype).neg_()[:, None, None, None]
    return torch.minimum(views, (views * slope).add_(1))


def _chunk_length(images: Tensor, size: tuple[int, int]) -> int:
    """Images rendered at once: what fits the cache of a CPU core, else all of them."""
    if images.device.type != "cpu":
        return max(1, len(images))
    pixels = max(images.shape[2] * images.shape[3], size[0] * size[1])
    return max(1, CHUNK_PIXELS // pixels)


def _check(images: Tensor, generator: torch.Generator) -> None:
    if images.dtype != torch.uint8:
        raise TypeError(
            f"expected uint8 images in [0, 255], found {images.dtype}: convert them first"
        )
    if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape[2:]:
        raise ValueError(
            f"expected images of shape (N, 3, H, W), found {tuple(images.shape)}: "
            "repeat grey images over three channels"
        )
    if generator.device.type != images.device.type:
        raise ValueError(
            f"expected a generator on {images.device}, found one on {generator.device}: "
            "create it on the device of the images"
        )
