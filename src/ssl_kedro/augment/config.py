"""The recipes of random views, of images and of panoramas."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from ssl_kedro.core.config import PROBABILITY, RATE, STRENGTH, Config, ConfigError, Range

_SHARE = Range(above=0, at_most=1)


@dataclass(frozen=True)
class ViewConfig(Config):
    """Recipe of one random view; defaults: solo-learn's VICReg for CIFAR, as the authors' scripts.

    Args:
        crop_scale: smallest and largest share of the image area that a crop covers.
        crop_ratio: smallest and largest width over height of a crop, drawn log-uniformly.
        size: height and width of a view in pixels; None keeps those of the input. Smaller ones
            than the images train faster (docs/results/gates.md).
        interpolation: kernel of the resize; both widen it where they shrink the crop.
        flip: probability of a horizontal flip.
        jitter: probability of the colour jitter (the four strengths below).
        brightness: half width of the brightness factor around 1.
        contrast: half width of the contrast factor around 1.
        saturation: half width of the saturation factor around 1.
        hue: largest hue shift either way, in turns.
        grey: probability of dropping the colour.
        solarize: probability of inverting all values at or above one half; the thesis' text has
            none.
        blur: probability of a Gaussian blur. Thesis 5.3.1 lists one, its authors' script has none;
            SimSiam blurs half of its views on ImageNet and none on CIFAR-10 (Chen & He 2021).
        blur_sigma: smallest and largest standard deviation of the blur in px of the view, drawn
            uniformly (Chen & He 2021; Chen et al. 2020, MoCo v2).
        blur_kernel: side of its kernel in px, odd; None reaches three of the largest deviations.
        noise: standard deviation of added Gaussian noise, in units of the range [0, 1].
        exact_hue: True shifts hue in HSV as torchvision does; False rotates colours about the
            grey axis, which folds into the same 3 x 3 matrix as the rest and is faster.

    Raises:
        ConfigError: a value outside its range, a pair whose first exceeds its second, or an even
            kernel.
    """

    crop_scale: Annotated[tuple[float, float], _SHARE] = (0.2, 1.0)
    crop_ratio: Annotated[tuple[float, float], RATE] = (3 / 4, 4 / 3)
    size: Annotated[int, Range(at_least=1, at_most=1024)] | None = None
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    flip: Annotated[float, PROBABILITY] = 0.5
    jitter: Annotated[float, PROBABILITY] = 0.8
    brightness: Annotated[float, STRENGTH] = 0.4
    contrast: Annotated[float, STRENGTH] = 0.4
    saturation: Annotated[float, STRENGTH] = 0.2
    hue: Annotated[float, Range(at_least=0, at_most=0.5)] = 0.1
    grey: Annotated[float, PROBABILITY] = 0.2
    solarize: Annotated[float, PROBABILITY] = 0.1
    blur: Annotated[float, PROBABILITY] = 0.0
    blur_sigma: Annotated[tuple[float, float], Range(above=0, at_most=32)] = (0.1, 2.0)
    blur_kernel: Annotated[int, Range(at_least=3, at_most=255)] | None = None
    noise: Annotated[float, STRENGTH] = 0.0
    exact_hue: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("crop_scale", "crop_ratio", "blur_sigma"):
            low, high = getattr(self, name)
            if low > high:
                raise ConfigError(name, (low, high), "the smaller bound first")
        if self.blur_kernel is not None and self.blur_kernel % 2 == 0:
            raise ConfigError("blur_kernel", self.blur_kernel, "an odd number of px")

    @property
    def geometry(self) -> "ViewConfig":
        """The recipe's crops and flips alone, in the size of the images."""
        names = ("crop_scale", "crop_ratio", "interpolation", "flip")
        crops = {name: getattr(self, name) for name in names}
        return ViewConfig(**crops, jitter=0, grey=0, solarize=0)

    @property
    def blur_side(self) -> int:
        """Side of the kernel of the blur in px."""
        return self.blur_kernel or 2 * math.ceil(3 * self.blur_sigma[1]) + 1

    @property
    def changes_colour(self) -> bool:
        """Whether any view can differ from its crop by a colour map."""
        strengths = (self.brightness, self.contrast, self.saturation, self.hue)
        return self.grey > 0 or (self.jitter > 0 and max(strengths) > 0)


@dataclass(frozen=True)
class PanoramaViewConfig(Config):
    """Recipe of the other view; the source view is the panorama. Defaults: thesis 4.3.1.

    Args:
        projections: bring zenith or nadir to the equator, each with half of
            ``projection_probability``; false for the ablation of Table 4.4.
        projection_probability: of either (0.5).
        crop_area: largest share of the area that a crop leaves out (below 5 %).
        shift_px: largest shift either way, in px of a panorama 160 high, in proportion for
            others; around the seam, and repeating the edge at the poles (10).
        jitter: probability of the colour jitter (0.8).
        brightness: strength (0.4).
        contrast: strength (0.4).
        saturation: strength (0.4).
        hue: strength in turns (0.2).
        grey: probability of dropping the colour (0.25).
        flip: probability of mirroring both views (0.5).
        authors_crop: a centred crop of seven tenths of the width, stretched, as the authors'
            code always does by mistake; for comparison only.
        nearest_projection: take the nearest pixel, as the authors' code; for comparison only.
    """

    projections: bool = True
    projection_probability: Annotated[float, PROBABILITY] = 0.5
    crop_area: Annotated[float, Range(at_least=0, at_most=0.5)] = 0.05
    shift_px: Annotated[float, Range(at_least=0, at_most=160)] = 10.0
    jitter: Annotated[float, PROBABILITY] = 0.8
    brightness: Annotated[float, STRENGTH] = 0.4
    contrast: Annotated[float, STRENGTH] = 0.4
    saturation: Annotated[float, STRENGTH] = 0.4
    hue: Annotated[float, Range(at_least=0, at_most=0.5)] = 0.2
    grey: Annotated[float, PROBABILITY] = 0.25
    flip: Annotated[float, PROBABILITY] = 0.5
    authors_crop: bool = False
    nearest_projection: bool = False
