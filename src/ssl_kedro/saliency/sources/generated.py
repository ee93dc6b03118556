"""Generated panoramas: scenes with objects at known places, and looks of known density.

What is looked at depends on what an object is: faces, targets and checkered things draw looks,
plain, shaded and two-coloured things of the same sizes, colours and mean brightness do not.
Neither place nor brightness tells them apart.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import get_args

import numpy as np

from ssl_kedro.core.seeding import numpy_generator
from ssl_kedro.saliency.panoramas import Fixations, PanoramaSource, Split
from ssl_kedro.saliency.sources.config import SourceConfig
from ssl_kedro.spherical.sphere import pixel_directions, pixel_solid_angles

SALIENT = ("face", "target", "checker")
DISTRACTORS = ("disc", "ball", "cross")
# Contrast of an object's inner structure to its own colour; its mean is that of a plain disc.
_INNER = 0.75
# Houses and trees along the horizon.
_SEGMENTS = 28

# Shares of looks that go anywhere, to the equator, and to what draws them.
_ANYWHERE, _EQUATOR, _OBJECTS = 0.1, 0.2, 0.7
_EQUATOR_SIGMA_DEG, _OBJECT_SIGMA_DEG = 20.0, 8.0
_MAP_SIZE = (80, 160)
_LOOK_SIZE = (160, 320)
_FINER = 2


class GeneratedPanoramas(PanoramaSource):
    """Scenes that are drawn when they are asked for; the same seed gives the same scenes.

    Args:
        config: ``count_train``, ``count_test``, ``count_unlabelled`` (which have no map), ``seed``.
        viewers: of each panorama.
        fixations_per_viewer: looks of each.
    """

    def __init__(
        self, config: SourceConfig, viewers: int = 20, fixations_per_viewer: int = 10
    ) -> None:
        counts: dict[Split, int] = {s: getattr(config, f"count_{s}") for s in get_args(Split)}
        names = [f"{split}_{at:03d}" for split, count in counts.items() for at in range(count)]
        splits = [split for split, count in counts.items() for _ in range(count)]
        super().__init__(names, names, splits)
        self.seed = config.seed
        self.viewers = viewers
        self.fixations_per_viewer = fixations_per_viewer

    def objects(self, index: int) -> "tuple[SceneObject, ...]":
        """What stands in a scene; first those that draw looks."""
        rng = numpy_generator(self.seed, "objects", self.names[index])
        salient, others = int(rng.integers(2, 5)), int(rng.integers(2, 5))
        weights = rng.uniform(0.5, 1.0, salient)
        return tuple(
            SceneObject(
                kind=str(rng.choice(SALIENT if weight else DISTRACTORS)),
                longitude_deg=float(rng.uniform(-180, 180)),
                latitude_deg=float(np.clip(rng.normal(0, 28), -80, 80)),
                radius_deg=float(rng.uniform(8, 13)),
                weight=weight,
                colour=_bright(rng),
                angle_deg=float(rng.uniform(-30, 30)),
            )
            for weight in (*(weights / weights.sum()).tolist(), *[0.0] * others)
        )

    def image(self, index: int, height: int, width: int) -> np.ndarray:
        """A scene, uint8 (3, height, width), each pixel the mean of four finer ones."""
        finer = _directions(_FINER * height, _FINER * width)
        picture = draw_background(finer, numpy_generator(self.seed, "scene", self.names[index]))
        for thing in reversed(self.objects(index)):
            draw_object(picture, finer, thing)
        small = picture.reshape(height, _FINER, width, _FINER, 3).mean(axis=(1, 3))
        return np.ascontiguousarray((255 * small).round().astype(np.uint8).transpose(2, 0, 1))

    def density(self, index: int, height: int, width: int) -> np.ndarray:
        """What a perfect predictor says: looks per steradian, float64 (height, width).

        Times the solid angles it sums to 1.
        """
        directions = _directions(height, width)
        latitude = np.degrees(np.arcsin(np.clip(directions[..., 2], -1, 1)))
        areas = pixel_solid_angles(height, width).numpy()
        total = np.full((height, width), _ANYWHERE / (4 * math.pi))
        belt = np.exp(-0.5 * (latitude / _EQUATOR_SIGMA_DEG) ** 2)
        total += _EQUATOR * belt / (belt * areas).sum()
        sharpness = 1 / math.radians(_OBJECT_SIGMA_DEG) ** 2
        for thing in self.objects(index):
            if thing.weight:
                bump = np.exp(sharpness * (directions @ thing.direction - 1))
                total += _OBJECTS * thing.weight * bump / (bump * areas).sum()
        return total

    def saliency(self, index: int) -> np.ndarray | None:
        """The density itself, float32 (80, 160)."""
        if self.splits[index] == "unlabelled":
            return None
        return self.density(index, *_MAP_SIZE).astype(np.float32)

    def fixation_sets(self, index: int) -> tuple[Fixations, ...]:
        """Looks drawn from the density."""
        if self.splits[index] == "unlabelled":
            return ()
        rng = numpy_generator(self.seed, "fixations", self.names[index])
        height, width = _LOOK_SIZE
        mass = self.density(index, height, width) * pixel_solid_angles(height, width).numpy()
        count = self.viewers * self.fixations_per_viewer
        drawn = rng.choice(mass.size, count, p=(mass / mass.sum()).ravel())
        row, column = np.divmod(drawn, width)
        # Even within the pixel: longitude, and the sine of latitude.
        edges = np.sin(np.radians(90 - np.arange(height + 1) * (180 / height)))
        sine = edges[row] + rng.random(count) * (edges[row + 1] - edges[row])
        longitude = -180 + (column + rng.random(count)) * (360 / width)
        viewer = np.repeat(np.arange(self.viewers), self.fixations_per_viewer).astype(np.int64)
        return (Fixations(longitude, np.degrees(np.arcsin(np.clip(sine, -1, 1))), viewer),)

    @property
    def fingerprint(self) -> str:
        """Of the seed and the numbers."""
        counts = "-".join(str(self.splits.count(s)) for s in get_args(Split))
        return f"generated-v1-{self.seed}-{counts}-{self.viewers}-{self.fixations_per_viewer}"


@lru_cache(maxsize=4)
def _directions(height: int, width: int) -> np.ndarray:
    return pixel_directions(height, width).numpy()


@dataclass(frozen=True)
class SceneObject:
    """A round thing in a scene.

    Args:
        kind: one of :data:`SALIENT` or :data:`DISTRACTORS`.
        longitude_deg, latitude_deg: of its middle.
        radius_deg: as seen from the camera.
        weight: share of the looks at objects that it draws; 0 for distractors.
        colour: RGB in [0, 1].
        angle_deg: by which its inner structure is turned.
    """

    kind: str
    longitude_deg: float
    latitude_deg: float
    radius_deg: float
    weight: float
    colour: tuple[float, ...]
    angle_deg: float = 0.0

    @property
    def direction(self) -> np.ndarray:
        """Unit vector to its middle, float64 (3,)."""
        longitude, latitude = math.radians(self.longitude_deg), math.radians(self.latitude_deg)
        across = math.cos(latitude)
        return np.array(
            [across * math.cos(longitude), across * math.sin(longitude), math.sin(latitude)]
        )


def draw_background(directions: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sky, a skyline and ground, float32 (h, w, 3) in [0, 1].

    Args:
        directions: of the pixels, (h, w, 3).
        rng: draws colours, heights and structure.
    """
    height = np.arcsin(np.clip(directions[..., 2], -1, 1))
    longitude = np.arctan2(directions[..., 1], directions[..., 0])
    light = rng.uniform(0.55, 0.95)
    zenith, horizon = _muted(rng, light), _muted(rng, min(1.0, light + 0.15))
    share = np.clip(height / (math.pi / 2), 0, 1)[..., None] ** 0.6
    found = share * zenith + (1 - share) * horizon
    ground = _muted(rng, 0.55 * light)
    waves = _waves(directions, rng, count=8, frequency=9.0)[..., None]
    found = np.where(height[..., None] < 0, ground * (1 + 0.25 * waves), found)
    # Houses and trees of random height stand along the horizon.
    tops = np.radians(rng.uniform(2, 22, _SEGMENTS)) * (rng.random(_SEGMENTS) < 0.8)
    colours = np.stack([_muted(rng, light * rng.uniform(0.4, 0.9)) for _ in range(_SEGMENTS)])
    segment = ((longitude / (2 * math.pi) + 0.5) * _SEGMENTS).astype(int) % _SEGMENTS
    house = (height >= 0) & (height < tops[segment])
    shade = 1 - 0.12 * (np.sin(longitude * 90) > 0.6)
    found = np.where(house[..., None], colours[segment] * shade[..., None], found)
    grain = _waves(directions, rng, count=8, frequency=40.0)[..., None]
    picture: np.ndarray = np.clip(found * (1 + 0.08 * grain), 0, 1).astype(np.float32)
    return picture


def draw_object(picture: np.ndarray, directions: np.ndarray, thing: SceneObject) -> None:
    """Draw a thing over a picture (h, w, 3), in place."""
    middle = thing.direction
    cosine = directions @ middle
    inside = cosine > math.cos(math.radians(thing.radius_deg))
    if not inside.any():
        return
    east = np.array([-middle[1], middle[0], 0.0])
    east = east / np.linalg.norm(east) if np.linalg.norm(east) > 1e-9 else np.array([0, 1.0, 0])
    north = np.cross(middle, east)
    seen = directions[inside]
    apart = np.arccos(np.clip(cosine[inside], -1, 1)) / math.radians(thing.radius_deg)
    turn = np.arctan2(seen @ north, seen @ east) - math.radians(thing.angle_deg)
    pattern = _PATTERNS[thing.kind](apart * np.cos(turn), apart * np.sin(turn), apart)
    pattern = pattern - pattern.mean()
    picture[inside] = np.clip(np.array(thing.colour) * (1 + _INNER * pattern[:, None]), 0, 1)


def _face(x: np.ndarray, y: np.ndarray, _: np.ndarray) -> np.ndarray:
    eyes = np.hypot(np.abs(x) - 0.38, y - 0.25) < 0.2
    mouth = (np.abs(y + 0.42) < 0.13) & (np.abs(x) < 0.45)
    return np.where(eyes | mouth, -1.2, 0.0)


# Contrast at places of an object: right, up and distance from its middle, its radius being 1.
_PATTERNS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    "face": _face,
    "target": lambda _x, _y, apart: np.where((apart * 3).astype(int) % 2 == 0, 0.5, -0.5),
    "checker": lambda x, y, _: np.where((np.floor(x * 2) + np.floor(y * 2)) % 2 == 0, 0.5, -0.5),
    "disc": lambda _x, _y, apart: np.zeros_like(apart),
    "ball": lambda x, y, _: 0.5 * (1 - np.hypot(x + 0.3, y - 0.3)),
    "cross": lambda x, _y, _: np.where(x > 0, 0.35, -0.35),
}


def _bright(rng: np.random.Generator) -> tuple[float, ...]:
    """A saturated RGB colour of middle brightness, the same range for every kind."""
    hue = rng.random()
    return tuple(0.62 + 0.3 * math.cos(2 * math.pi * (hue - third / 3)) for third in range(3))


def _muted(rng: np.random.Generator, light: float) -> np.ndarray:
    """A colour of low saturation, (3,)."""
    return np.clip(light * (1 + 0.25 * rng.uniform(-1, 1, 3)), 0, 1)


def _waves(
    directions: np.ndarray, rng: np.random.Generator, count: int, frequency: float
) -> np.ndarray:
    """A rough texture without seam or poles, (h, w), of about unit deviation."""
    # Every second pixel is enough for what is then repeated, and costs a quarter.
    coarse = directions[::2, ::2].astype(np.float32)
    total = np.zeros(coarse.shape[:2], dtype=np.float32)
    for _ in range(count):
        wave = (rng.normal(size=3) * frequency).astype(np.float32)
        total += np.sin(coarse @ wave + np.float32(rng.uniform(0, 2 * math.pi)))
    height, width = directions.shape[:2]
    fine = total.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    return np.asarray(fine * math.sqrt(2 / count))
