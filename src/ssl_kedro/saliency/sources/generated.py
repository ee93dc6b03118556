"""Generated panoramas: scenes with objects at known places, and looks of known density.

What is looked at depends on what an object is: faces, targets and checkered things draw looks,
plain, shaded and two-coloured things of the same sizes, colours and mean brightness do not.
Neither place nor brightness tells them apart.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from ssl_kedro.core.seeding import numpy_generator
from ssl_kedro.saliency.panoramas import Fixations, PanoramaSource, Split
from ssl_kedro.saliency.sources.scene_drawing import (
    DISTRACTORS,
    SALIENT,
    SceneObject,
    draw_background,
    draw_object,
)
from ssl_kedro.spherical.sphere import pixel_directions, pixel_solid_angles

# Shares of looks that go anywhere, to the equator, and to what draws them.
_ANYWHERE, _EQUATOR, _OBJECTS = 0.1, 0.2, 0.7
_EQUATOR_SIGMA_DEG, _OBJECT_SIGMA_DEG = 20.0, 8.0
_MAP_SIZE = (80, 160)
_LOOK_SIZE = (160, 320)
_FINER = 2


class GeneratedPanoramas(PanoramaSource):
    """Scenes that are drawn when they are asked for; the same seed gives the same scenes.

    Args:
        train: panoramas for training.
        test: panoramas for testing.
        unlabelled: panoramas without a map.
        seed: of all scenes.
        viewers: of each panorama.
        fixations_per_viewer: looks of each.
    """

    def __init__(
        self,
        train: int,
        test: int,
        unlabelled: int,
        seed: int,
        viewers: int = 20,
        fixations_per_viewer: int = 10,
    ) -> None:
        kinds: tuple[tuple[Split, int], ...] = (
            ("train", train),
            ("test", test),
            ("unlabelled", unlabelled),
        )
        names = [f"{split}_{number:03d}" for split, count in kinds for number in range(count)]
        splits = [split for split, count in kinds for _ in range(count)]
        super().__init__(names, names, splits)
        self.seed = seed
        self.viewers = viewers
        self.fixations_per_viewer = fixations_per_viewer

    def objects(self, index: int) -> tuple[SceneObject, ...]:
        """What stands in a scene; first those that draw looks."""
        rng = numpy_generator(self.seed, "objects", self.names[index])
        salient, others = int(rng.integers(2, 5)), int(rng.integers(2, 5))
        weights = rng.uniform(0.5, 1.0, salient)
        weights = weights / weights.sum()
        found: list[SceneObject] = []
        for number in range(salient + others):
            draws = number < salient
            found.append(
                SceneObject(
                    kind=str(rng.choice(SALIENT if draws else DISTRACTORS)),
                    longitude_deg=float(rng.uniform(-180, 180)),
                    latitude_deg=float(np.clip(rng.normal(0, 28), -80, 80)),
                    radius_deg=float(rng.uniform(8, 13)),
                    weight=float(weights[number]) if draws else 0.0,
                    colour=_bright(rng),
                    angle_deg=float(rng.uniform(-30, 30)),
                )
            )
        return tuple(found)

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

    def fixations(self, index: int) -> Fixations | None:
        """Looks drawn from the density."""
        if self.splits[index] == "unlabelled":
            return None
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
        return Fixations(longitude, np.degrees(np.arcsin(np.clip(sine, -1, 1))), viewer)

    @property
    def fingerprint(self) -> str:
        """Of the seed and the numbers."""
        counts = "-".join(str(self.splits.count(s)) for s in ("train", "test", "unlabelled"))
        return f"generated-v1-{self.seed}-{counts}-{self.viewers}-{self.fixations_per_viewer}"


@lru_cache(maxsize=4)
def _directions(height: int, width: int) -> np.ndarray:
    return pixel_directions(height, width).numpy()


def _bright(rng: np.random.Generator) -> tuple[float, float, float]:
    """A saturated colour of middle brightness, the same range for every kind."""
    hue = rng.random()
    values = [0.62 + 0.3 * math.cos(2 * math.pi * (hue - third / 3)) for third in range(3)]
    red, green, blue = values
    return red, green, blue
