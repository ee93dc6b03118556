"""Sections of the parameters of the saliency360 pipeline that no class of the library is for."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from ssl_kedro.core.config import Config, ConfigError, Range
from ssl_kedro.pipelines.parameters import budget_list, name_list
from ssl_kedro.saliency.bands import latitude_bands
from ssl_kedro.saliency.maps import MODES, Mode
from ssl_kedro.saliency.predict.prediction import Output, PredictConfig


def number_list(value: object) -> object:
    """Whole numbers from a list, one number, or a string such as "2048;4096"."""
    if isinstance(value, str) and all(part.isdecimal() for part in name_list(value)):
        return tuple(int(part) for part in name_list(value))
    return (value,) if isinstance(value, int) else value


@dataclass(frozen=True)
class ImageConfig(Config):
    """Size at which networks see panoramas, in px; multiples of 16 (thesis 4.3.2: 160 x 320).

    The width is twice the height.
    """

    height: Annotated[int, Range(at_least=16, at_most=2048)] = 160
    width: Annotated[int, Range(at_least=32, at_most=4096)] = 320

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("height", "width"):
            if getattr(self, name) % 16:
                raise ConfigError(name, getattr(self, name), "a multiple of 16")
        if self.width != 2 * self.height:
            expected = f"{2 * self.height}, twice the height: panoramas are 360 x 180 degrees"
            raise ConfigError("width", self.width, expected)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width


@dataclass(frozen=True)
class TruthConfig(Config):
    """What predictions are compared with.

    Args:
        source: "maps" as published, made from "fixations", or "auto": maps where there are any.
        sigma_deg: of the Gaussian on the sphere that fixations are smoothed with.
        height: rows of the maps that scores are computed on; columns are twice as many.
    """

    source: Literal["auto", "maps", "fixations"] = "auto"
    sigma_deg: Annotated[float, Range(above=0, at_most=90)] = 3.34
    height: Annotated[int, Range(at_least=16, at_most=2048)] = 160


@dataclass(frozen=True)
class ScoreConfig(Config):
    """How predictions are scored.

    Args:
        modes: "sphere" weighs pixels by solid angle, "planar" as the MIT benchmark, "authors" as
            the thesis' code.
        resamples: of the bootstrap over scenes.
        confidence: of the intervals.
        ceiling_repeats: random halves of the viewers.
        bands_deg: distances from the equator at which bands of latitude meet, ascending.
    """

    modes: Annotated[tuple[Mode, ...], Field(min_length=1), BeforeValidator(name_list)] = MODES
    resamples: Annotated[int, Range(at_least=1, at_most=100_000)] = 2000
    confidence: Annotated[float, Range(above=0, below=1)] = 0.95
    ceiling_repeats: Annotated[int, Range(at_least=1, at_most=1000)] = 5
    bands_deg: Annotated[tuple[float, ...], BeforeValidator(budget_list)] = (30.0, 60.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            latitude_bands(self.bands_deg)
        except ValueError as error:
            expected = "ascending latitudes between 0 and 90"
            raise ConfigError("bands_deg", [*self.bands_deg], expected) from error


@dataclass(frozen=True)
class PredictParameters(PredictConfig):
    """What to predict for; ``outputs`` may be one string, as "map;overlay"."""

    outputs: Annotated[tuple[Output, ...], BeforeValidator(name_list)] = PredictConfig.outputs


@dataclass(frozen=True)
class GalleryConfig(Config):
    """What the report shows.

    Args:
        panoramas: how many.
        poles: of how many of them the surroundings of the poles.
        pole_deg: how far from each pole; up to the equator.
    """

    panoramas: Annotated[int, Range(at_least=1, at_most=24)] = 6
    poles: Annotated[int, Range(at_least=1, at_most=12)] = 2
    pole_deg: Annotated[float, Range(above=0, below=90)] = 45.0


@dataclass(frozen=True)
class TimingConfig(Config):
    """What the run time of Table 4.2 is measured on.

    Args:
        data: name of the tested data whose panoramas are timed; None = the run's own.
        widths: of the panoramas, in px, twice their height. One that is smaller in its file is
            enlarged, and the table says so.
        panoramas: how many are used in turn.
    """

    data: str | None = None
    widths: Annotated[
        tuple[Annotated[int, Range(at_least=32, at_most=2**14)], ...],
        Field(min_length=1),
        BeforeValidator(number_list),
    ] = (2048, 4096)
    panoramas: Annotated[int, Range(at_least=1, at_most=64)] = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(width % 2 for width in self.widths) or len(set(self.widths)) < len(self.widths):
            raise ConfigError("widths", self.widths, "different even numbers")
