"""Drawing generated scenes on the sphere: background, and objects that attract or do not."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

SALIENT = ("face", "target", "checker")
DISTRACTORS = ("disc", "ball", "cross")
# Contrast of an object's inner structure to its own colour; its mean is that of a plain disc.
_INNER = 0.75
_SEGMENTS = 28


@dataclass(frozen=True)
class SceneObject:
    """A round thing in a scene.

    Args:
        kind: one of :data:`SALIENT` or :data:`DISTRACTORS`.
        longitude_deg: of its middle.
        latitude_deg: of its middle.
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
    colour: tuple[float, float, float]
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


def _face(x: np.ndarray, y: np.ndarray, apart: np.ndarray) -> np.ndarray:  # noqa: ARG001
    eyes = (np.hypot(np.abs(x) - 0.38, y - 0.25) < 0.2).astype(float)
    mouth = ((np.abs(y + 0.42) < 0.13) & (np.abs(x) < 0.45)).astype(float)
    found: np.ndarray = -1.2 * np.maximum(eyes, mouth)
    return found


def _target(x: np.ndarray, y: np.ndarray, apart: np.ndarray) -> np.ndarray:  # noqa: ARG001
    return np.where((apart * 3).astype(int) % 2 == 0, 0.5, -0.5)


def _checker(x: np.ndarray, y: np.ndarray, apart: np.ndarray) -> np.ndarray:  # noqa: ARG001
    cells = np.floor(x * 2) + np.floor(y * 2)
    return np.where(cells % 2 == 0, 0.5, -0.5)


def _disc(x: np.ndarray, y: np.ndarray, apart: np.ndarray) -> np.ndarray:  # noqa: ARG001
    return np.zeros_like(apart)


def _ball(x: np.ndarray, y: np.ndarray, apart: np.ndarray) -> np.ndarray:  # noqa: ARG001
    return 0.5 * (1 - np.hypot(x + 0.3, y - 0.3))


def _cross(x: np.ndarray, y: np.ndarray, apart: np.ndarray) -> np.ndarray:  # noqa: ARG001
    return np.where(x > 0, 0.35, -0.35)


_PATTERNS = {
    "face": _face,
    "target": _target,
    "checker": _checker,
    "disc": _disc,
    "ball": _ball,
    "cross": _cross,
}


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
