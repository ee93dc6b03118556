"""Random views of a batch, each sample with its own draw."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from ssl_kedro.augment.blur import gaussian_blur
from ssl_kedro.augment.config import PanoramaViewConfig, ViewConfig
from ssl_kedro.augment.transforms import Boxes, ColourDraws, apply_colour, crop_resize
from ssl_kedro.augment.whole import unpacked
from ssl_kedro.core.collectives import own_slice, rows_of_all

Draws = TypeVar("Draws", bound=tuple[Any, ...])

ATTEMPTS = 10  # as in RandomResizedCrop.get_params

# Pixels of a chunk on the CPU: 128 images of 32 px, 14 of 96 px. Its intermediates then stay in
# the cache; batches of 512 rendered at once took 2.5 times as long.
CHUNK_PIXELS = 128 * 32 * 32


def draw_boxes(
    count: int,
    height: int | Tensor,
    width: int | Tensor,
    config: ViewConfig,
    generator: torch.Generator,
) -> Boxes:
    """Draw crop boxes: area uniform, ratio log-uniform, position uniform.

    All ten attempts that torchvision makes one after another are drawn at once and the first
    that fits is kept; where none fits, the largest centred box of an allowed ratio.

    Args:
        count: number of boxes N.
        height: height of the images in pixels, of all or of each (N,).
        width: width of the images in pixels, the same.
        config: scale and ratio of the crops.
        generator: source of randomness; the boxes lie on its device.
    """
    uniform = torch.rand(2, count, ATTEMPTS, generator=generator, device=generator.device)
    position = torch.rand(2, count, generator=generator, device=generator.device)
    (smallest, largest), (low, high) = config.crop_scale, config.crop_ratio
    # Of each image (N,), and of each attempt (N, 1).
    high_px, wide_px = (_each(side, position[0]) for side in (height, width))
    rows, columns = high_px[:, None], wide_px[:, None]
    side = ((uniform[0] * (largest - smallest) + smallest) * (rows * columns)).sqrt_()
    # Narrowest and widest by the square root of width over height, log-uniform.
    narrow, wide = math.log(low) / 2, math.log(high) / 2
    root_ratio = (uniform[1] * (wide - narrow) + narrow).exp_()
    widths = (side * root_ratio).round_()
    heights = (side / root_ratio).round_()
    fits = (widths > 0) & (widths <= columns) & (heights > 0) & (heights <= rows)
    # argmax returns the first of several equal maxima.
    first = fits.to(torch.uint8).argmax(dim=1, keepdim=True)
    found = fits.any(dim=1)
    largest_height = torch.minimum(high_px, (wide_px / low).round_()).clamp_min_(1)
    largest_width = torch.minimum(wide_px, (high_px * high).round_()).clamp_min_(1)
    box_width = torch.where(found, widths.gather(1, first)[:, 0], largest_width)
    box_height = torch.where(found, heights.gather(1, first)[:, 0], largest_height)
    free = torch.stack([high_px - box_height, wide_px - box_width])
    corner = torch.minimum((position * (free + 1)).floor_(), free)
    corner = torch.where(found, corner, (free / 2).floor_())
    return Boxes(corner[0], corner[1], box_height, box_width)


def _each(side: int | Tensor, like: Tensor) -> Tensor:
    """A side of every image, float32 as the other."""
    return side if isinstance(side, Tensor) else torch.full_like(like, side)


def draw_colours(
    count: int, config: ViewConfig | PanoramaViewConfig, generator: torch.Generator
) -> ColourDraws:
    """Draw the colour changes of count samples on the device of the generator."""
    uniform = torch.rand(6, count, generator=generator, device=generator.device)
    jittered = uniform[0] < config.jitter

    def factor(row: Tensor, strength: float) -> Tensor:
        low = max(0.0, 1 - strength)
        return torch.where(jittered, row * (1 + strength - low) + low, 1.0)

    return ColourDraws(
        brightness=factor(uniform[1], config.brightness),
        contrast=factor(uniform[2], config.contrast),
        saturation=factor(uniform[3], config.saturation),
        hue=torch.where(jittered, (2 * uniform[4] - 1) * config.hue, 0.0),
        grey=uniform[5] < config.grey,
    )


class ViewDraws(NamedTuple):
    """Everything random about the views of a batch of N samples.

    Args:
        boxes: crop boxes.
        flip: whether mirrored, bool (N,).
        colour: colour changes, or None where the recipe has none.
        solarize: whether solarised, bool (N,), or None where the recipe never does.
        noise: added noise (N, 3, *size) in units of the range, or None.
        blur: standard deviation of the blur in px (N,), 0 = none, or None where the recipe never
            blurs.
    """

    boxes: Boxes
    flip: Tensor
    colour: ColourDraws | None
    solarize: Tensor | None
    noise: Tensor | None
    blur: Tensor | None = None


def part(draws: Draws, rows: slice) -> Draws:
    """The draws of some of the samples: of every tensor within these rows."""
    chosen = (
        values[rows] if isinstance(values, Tensor) else values and part(values, rows)
        for values in draws
    )
    return type(draws)(*chosen)


@dataclass(frozen=True)
class RandomViews:
    """Per-sample random views of a uint8 batch, on the device of the data.

    Crop, flip, colour jitter, grey, blur, solarisation and noise, in this order. Crops are drawn
    and resized as torchvision's RandomResizedCrop does; the colour differs in the details
    that :mod:`ssl_kedro.augment.transforms` lists.

    Args:
        config: the recipe.
    """

    config: ViewConfig

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """One random view of every image.

        Args:
            images: uint8 (N, 3, H, W), or rows of whole pictures (N, L)
                (:mod:`ssl_kedro.core.form`), whose boxes are drawn in their own shape.
            generator: source of all randomness, on the device of images.

        Returns:
            float32 (N, 3, S, S) in [0, 1], not normalised; S = config.size. Without a size
            (N, 3, H, W), of whole pictures squares.

        Raises:
            TypeError: images are not uint8.
            ValueError: wrong shape, or generator and images on different devices.
        """
        count, own = rows_of_all(len(images)), own_slice(len(images))
        images, sides = unpacked(images, count, own)
        check_batch(images, generator)
        height, width = images.shape[2:]
        size = self._size(height, width)
        draws = part(self.draw(count, (height, width), generator, sides), own)
        views = torch.empty(len(images), 3, *size, device=images.device)
        # What fits the cache of a CPU core at once.
        step = max(1, CHUNK_PIXELS // max(height * width, math.prod(size)))
        if images.device.type != "cpu":
            step = max(1, len(images))
        # Views stay float32 when asked for inside a training step that casts automatically.
        with torch.autocast(images.device.type, enabled=False):
            for start in range(0, len(images), step):
                rows = slice(start, start + step)
                views[rows] = self.render(images[rows], part(draws, rows))
        return views

    def draw(
        self,
        count: int,
        image_size: tuple[int, int],
        generator: torch.Generator,
        sides: tuple[Tensor, Tensor] | None = None,
    ) -> ViewDraws:
        """Draw everything random about the views of count images.

        The draws of a whole batch precede its rendering, so that the length of the chunks in
        which it is rendered cannot change a view.

        Args:
            count: number of images N.
            image_size: their height and width in pixels.
            generator: source of randomness; the draws lie on its device.
            sides: heights and widths (N,) of the pictures that were squeezed into that size; None
                where none was. Boxes are drawn in them, and then squeezed alike.
        """
        config, device = self.config, generator.device
        height, width = sides or image_size
        boxes = draw_boxes(count, height, width, config, generator)
        if sides is not None:
            down, across = image_size[0] / sides[0], image_size[1] / sides[1]
            boxes = Boxes(
                boxes.top * down, boxes.left * across, boxes.height * down, boxes.width * across
            )
        uniform = torch.rand(2, count, generator=generator, device=device)
        colour = draw_colours(count, config, generator) if config.changes_colour else None
        noise = None
        if config.noise > 0:
            size = self._size(*image_size)
            noise = torch.randn(count, 3, *size, generator=generator, device=device)
            noise.mul_(config.noise)
        blur = None
        if config.blur > 0:  # drawn last: a recipe without it draws the rest alike
            chosen, share = torch.rand(2, count, generator=generator, device=device).unbind()
            low, high = config.blur_sigma
            blur = torch.where(chosen < config.blur, share * (high - low) + low, 0.0)
        return ViewDraws(
            boxes=boxes,
            flip=uniform[0] < config.flip,
            colour=colour,
            solarize=uniform[1] < config.solarize if config.solarize > 0 else None,
            noise=noise,
            blur=blur,
        )

    def render(self, images: Tensor, draws: ViewDraws) -> Tensor:
        """The views that draws describe, float32 (N, 3, S, S) in [0, 1].

        Args:
            images: uint8 (N, 3, H, W).
            draws: one draw a sample, on the device of images.
        """
        config, size = self.config, self._size(*images.shape[2:])
        crops = crop_resize(images, draws.boxes, draws.flip, size, config.interpolation)
        if draws.colour is None:
            views = crops.div_(255)
        else:
            views = apply_colour(crops, draws.colour, config.exact_hue, peak=255.0)
        if draws.colour is not None or config.interpolation == "bicubic":
            views.clamp_(0, 1)
        if draws.blur is not None:
            views = gaussian_blur(views, draws.blur, config.blur_side)
        if draws.solarize is not None:
            views = _solarize(views, draws.solarize)
        if draws.noise is not None:
            views = views.add_(draws.noise).clamp_(0, 1)
        return views

    def _size(self, height: int, width: int) -> tuple[int, int]:
        size = self.config.size
        return (height, width) if size is None else (size, size)


@dataclass(frozen=True)
class SeveralViews:
    """Views of one recipe, drawn independently one after the other.

    Args:
        views: the recipe.
        count: views of an image.
    """

    views: RandomViews
    count: int = 2

    def __call__(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
        """So many random views of every image; see :class:`RandomViews`."""
        return tuple(self.views(images, generator) for _ in range(self.count))


def _solarize(views: Tensor, chosen: Tensor) -> Tensor:
    """Invert values of at least one half in the chosen samples.

    On [0, 1] that is min(x, 1 - x); for the others min(x, 1) changes nothing, so one
    expression serves both and no sample has to be looked up.
    """
    slope = chosen.to(views.dtype).neg_()[:, None, None, None]
    return torch.minimum(views, (views * slope).add_(1))


def check_batch(images: Tensor, generator: torch.Generator) -> None:
    """Refuse what views cannot be made of; see :class:`RandomViews`."""
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
