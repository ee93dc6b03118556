"""The two views of a panorama that the contrastive pre-training compares (thesis 4.3.1)."""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ssl_kedro.augment.config import PanoramaViewConfig
from ssl_kedro.augment.transforms import Boxes, ColourDraws, apply_colour, crop_resize
from ssl_kedro.augment.views import check_batch, draw_colours, part
from ssl_kedro.core.collectives import own_slice, rows_of_all
from ssl_kedro.spherical.sphere import (
    Interpolation,
    SamplingPlan,
    nadir_to_equator,
    zenith_to_equator,
)

# Panoramas rendered at once on the CPU: their intermediates stay in the cache.
_CHUNK = 8
# The authors' crop always falls back to 160 x 224 of 160 x 320 pixels.
_AUTHORS_SHARE = 224 / 320


class PanoramaDraws(NamedTuple):
    """Everything random about the views of a batch of N samples.

    Args:
        projection: 0 = none, 1 = zenith, 2 = nadir to the equator, int64 (N,).
        boxes: crop boxes.
        shift: px to the right and down, int64 (N, 2).
        flip: whether both views are mirrored, bool (N,).
        colour: colour changes.
    """

    projection: Tensor
    boxes: Boxes
    shift: Tensor
    flip: Tensor
    colour: ColourDraws


@dataclass(frozen=True)
class PanoramaViews:
    """Source view and other view of every panorama of a uint8 batch, on its device.

    Args:
        config: the recipe.
    """

    config: PanoramaViewConfig

    def __call__(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Both views.

        Args:
            images: uint8 (N, 3, H, W).
            generator: source of all randomness, on the device of images.

        Returns:
            Two float32 (N, 3, H, W) in [0, 1], not normalised.

        Raises:
            TypeError: images are not uint8.
            ValueError: images of another shape, or on another device than the generator.
        """
        check_batch(images, generator)
        height_width = (images.shape[2], images.shape[3])
        whole = self.draw(rows_of_all(len(images)), height_width, generator)
        draws = part(whole, own_slice(len(images)))
        source = torch.empty(images.shape, device=images.device)
        other = torch.empty_like(source)
        step = _CHUNK if images.device.type == "cpu" else max(1, len(images))
        with torch.autocast(images.device.type, enabled=False):
            for start in range(0, len(images), step):
                rows = slice(start, start + step)
                source[rows], other[rows] = self.render(images[rows], part(draws, rows))
        return source, other

    def draw(self, count: int, size: tuple[int, int], generator: torch.Generator) -> PanoramaDraws:
        """Draw everything random about the views of count panoramas."""
        config, device = self.config, generator.device
        height, width = size
        uniform = torch.rand(8, count, generator=generator, device=device)
        projected = config.projection_probability if config.projections else 0.0
        to_equator = uniform[0] < projected
        projection = to_equator.long() + (to_equator & (uniform[0] >= projected / 2)).long()
        most = config.shift_px * height / 160
        shift = ((2 * uniform[1:3] - 1) * most).round().long().T
        return PanoramaDraws(
            projection,
            self._boxes(uniform[3:6], height, width),
            shift,
            uniform[6] < config.flip,
            draw_colours(count, config, generator),
        )

    def _boxes(self, uniform: Tensor, height: int, width: int) -> Boxes:
        """Boxes of the panorama's own shape, that leave out less than the share of its area."""
        if self.config.authors_crop:
            ones = torch.ones_like(uniform[0])
            inner = round(_AUTHORS_SHARE * width)
            left = (width - inner) // 2
            return Boxes(left=left * ones, top=0 * ones, width=inner * ones, height=height * ones)
        side = (1 - uniform[0] * self.config.crop_area).sqrt()
        # Whole pixels, rounded up: no box leaves out more than the share.
        wide, high = (side * width).ceil(), (side * height).ceil()
        return Boxes(
            left=(uniform[1] * (width - wide + 1)).floor(),
            top=(uniform[2] * (height - high + 1)).floor(),
            width=wide,
            height=high,
        )

    def render(self, images: Tensor, draws: PanoramaDraws) -> tuple[Tensor, Tensor]:
        """The views that draws describe; see :meth:`__call__`."""
        pixels = images.float()
        mirrored = draws.flip[:, None, None, None]
        source = torch.where(mirrored, pixels.flip(-1), pixels).div_(255)
        other = self._shifted(self._projected(pixels, draws.projection), draws.shift)
        size = (images.shape[2], images.shape[3])
        other = crop_resize(other, draws.boxes, draws.flip, size)
        return source, apply_colour(other, draws.colour, exact_hue=False, peak=255.0).clamp_(0, 1)

    def _projected(self, pixels: Tensor, projection: Tensor) -> Tensor:
        found = pixels.clone()
        plans = _plans(*pixels.shape[2:], self.config.nearest_projection, pixels.device)
        for kind, plan in enumerate(plans, start=1):
            chosen = torch.nonzero(projection == kind)[:, 0]
            if len(chosen):
                found[chosen] = plan(pixels[chosen])
        return found

    @staticmethod
    def _shifted(pixels: Tensor, shift: Tensor) -> Tensor:
        """Moved right around the seam and down; the edge repeats at the poles."""
        _, _, height, width = pixels.shape
        columns = (torch.arange(width, device=pixels.device) - shift[:, :1]) % width
        rows = (torch.arange(height, device=pixels.device) - shift[:, 1:]).clamp(0, height - 1)
        index = rows[:, :, None] * width + columns[:, None, :]
        flat = pixels.flatten(2)
        return flat.gather(2, index.flatten(1)[:, None].expand_as(flat)).view_as(pixels)


@functools.lru_cache(maxsize=8)
def _plans(
    height: int, width: int, nearest: bool, device: torch.device
) -> tuple[SamplingPlan, SamplingPlan]:
    """What brings zenith and nadir to the equator."""
    kind: Interpolation = "nearest" if nearest else "bilinear"
    size = (height, width)
    return zenith_to_equator(size, kind).to(device), nadir_to_equator(size, kind).to(device)
