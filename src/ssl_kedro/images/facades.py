"""Generated facades seen from changing viewpoints: instance retrieval data that is always there.

Each instance is a plane of its own: a wall with a grid of windows, its colours, proportions,
ornaments and stains. A view turns it in space, moves it, lights it and puts something in
front; the background is another for every view. How hard a view is to find follows from the
numbers it was made with, not from anyone's eye: see :func:`difficulty`.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from ssl_kedro.core.config import PROBABILITY, Config, ConfigError, Range
from ssl_kedro.core.seeding import numpy_generator

Difficulty = Literal["easy", "hard", "junk"]

# What is still easy, and beyond what a view is junk: nobody could be asked to find it.
_EASY_YAW_DEG, _EASY_OCCLUSION, _EASY_SCALE, _EASY_LIGHT = 30.0, 0.2, 0.55, 0.5
_JUNK_OCCLUSION = 0.65
_MOST_GB = 4.0
_WALL = 192  # px, side of the plane's own picture
_FOCAL = 2.2  # focal length over half of the image's side


@dataclass(frozen=True)
class FacadeConfig(Config):
    """How many facades are made and how.

    Args:
        instances: facades with a query.
        views: database views of each of them.
        distractors: facades that no query shows, one view each.
        junk_share: probability of a view to be hidden until it is junk.
        size: side of the images in px.
    """

    instances: Annotated[int, Range(at_least=2)] = 24
    views: Annotated[int, Range(at_least=2)] = 8
    distractors: Annotated[int, Range(at_least=0)] = 120
    junk_share: Annotated[float, PROBABILITY] = 0.1
    size: Annotated[int, Range(at_least=32, at_most=4096)] = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        views = (self.views + 1) * self.instances + self.distractors
        if (needed := views * 3 * self.size**2 / 1e9) > _MOST_GB:
            found = (
                f"{views} images of {self.size} px take {needed:.0f} GB, which are kept in memory"
            )
            raise ConfigError("instances", self.instances, f"less in all: {found}")


@dataclass(frozen=True)
class View:
    """How one image of a facade was made.

    Args:
        instance: the facade; distractors count on from the last instance.
        yaw_deg: turn around the vertical axis, 0 = seen from the front.
        pitch_deg: turn around the horizontal axis.
        scale: side of the facade, seen from the front, over the image's.
        shift: of its centre, over the image's side, (right, down).
        light: exponent of 2 by which it is brighter.
        occlusion: share of the facade's middle row that something hides.
    """

    instance: int
    yaw_deg: float
    pitch_deg: float
    scale: float
    shift: tuple[float, float]
    light: float
    occlusion: float


def difficulty(view: View) -> Difficulty:
    """How hard the view is to find from a frontal query, by the numbers it was made with."""
    if view.occlusion > _JUNK_OCCLUSION:
        return "junk"
    easy = (
        abs(view.yaw_deg) <= _EASY_YAW_DEG
        and view.occlusion <= _EASY_OCCLUSION
        and view.scale >= _EASY_SCALE
        and abs(view.light) <= _EASY_LIGHT
    )
    return "easy" if easy else "hard"


@dataclass(frozen=True)
class FacadeSet:
    """Images of a retrieval task.

    Args:
        database: uint8 (N, 3, S, S).
        database_views: how each was made.
        queries: uint8 (Q, 3, S, S), facade q in query q.
        query_views: how each was made.
        boxes: float (Q, 4), the facade in the query: left, top, right, bottom in px.
    """

    database: np.ndarray
    database_views: tuple[View, ...]
    queries: np.ndarray
    query_views: tuple[View, ...]
    boxes: np.ndarray


def generated_facades(config: FacadeConfig, seed: int) -> FacadeSet:
    """Make the set.

    Returns:
        Facades in an order that the seed shuffles, equal for equal seeds.
    """
    asked = [(i, v) for i in range(config.instances) for v in range(config.views)]
    others = [(config.instances + d, 0) for d in range(config.distractors)]
    views = [
        _drawn_view(numpy_generator(seed, "view", *named), named[0], junk_share)
        for some, junk_share in ((asked, config.junk_share), (others, 0.0))
        for named in some
    ]
    order = numpy_generator(seed, "facade order").permutation(len(views))
    views = [views[i] for i in order]
    frontal = [_query_view(numpy_generator(seed, "query", i), i) for i in range(config.instances)]
    walls: dict[int, np.ndarray] = {}

    def image(view: View, *purpose: str | int) -> np.ndarray:
        wall = walls.setdefault(view.instance, _wall(numpy_generator(seed, "wall", view.instance)))
        return _rendered(wall, view, config.size, numpy_generator(seed, "scene", *purpose))

    return FacadeSet(
        np.stack([image(view, "database", i) for i, view in enumerate(views)]),
        tuple(views),
        np.stack([image(view, "query", i) for i, view in enumerate(frontal)]),
        tuple(frontal),
        np.stack([bounding_box(view, config.size) for view in frontal]),
    )


def _drawn_view(generator: np.random.Generator, instance: int, junk_share: float) -> View:
    """Hidden with probability ``junk_share``; two fifths of the others are made to be easy."""
    hidden, mild = bool(generator.random() < junk_share), bool(generator.random() < 0.4)
    if hidden:
        occlusion = generator.uniform(0.7, 0.9)
    else:  # a third has nothing in front
        occlusion = max(0.0, generator.uniform(-0.25, _EASY_OCCLUSION if mild else 0.5))
    yaw = _EASY_YAW_DEG if mild else 60.0
    light = _EASY_LIGHT if mild else 1.0
    return View(
        instance,
        yaw_deg=float(generator.uniform(-yaw, yaw)),
        pitch_deg=float(generator.uniform(-15, 15)),
        scale=float(generator.uniform(_EASY_SCALE if mild else 0.4, 0.95)),
        shift=(float(generator.uniform(-0.15, 0.15)), float(generator.uniform(-0.15, 0.15))),
        light=float(generator.uniform(-light, light)),
        occlusion=float(occlusion),
    )


def _query_view(generator: np.random.Generator, instance: int) -> View:
    shift = (float(generator.uniform(-0.1, 0.1)), float(generator.uniform(-0.1, 0.1)))
    yaw = float(generator.uniform(-10, 10))
    return View(instance, yaw, 0.0, float(generator.uniform(0.6, 0.75)), shift, 0.0, 0.0)


def _blurred_noise(generator: np.random.Generator, side: int, cells: int) -> np.ndarray:
    """Smooth noise (side, side, 3) in [0, 1] with about ``cells`` bumps along a side."""
    coarse = generator.random((cells + 2, cells + 2, 3))
    at = np.linspace(0.5, cells + 0.5, side)
    low, share = np.floor(at).astype(int), (at % 1)
    rows = coarse[low] * (1 - share)[:, None, None] + coarse[low + 1] * share[:, None, None]
    columns = share[None, :, None]
    return np.asarray(rows[:, low] * (1 - columns) + rows[:, low + 1] * columns)


def _wall(generator: np.random.Generator) -> np.ndarray:
    """The plane's own picture, float (W, W, 3) in [0, 1]."""
    wall = np.broadcast_to(generator.uniform(0.35, 0.9, 3), (_WALL, _WALL, 3)).copy()
    wall += 0.25 * (_blurred_noise(generator, _WALL, 6) - 0.5)
    rows, columns = generator.integers(2, 6, 2)
    pane, frame = generator.uniform(0.0, 0.5, 3), generator.uniform(0.4, 1.0, 3)
    width, height = generator.uniform(0.35, 0.8, 2)
    arched = bool(generator.random() < 0.4)
    lit = generator.random((rows, columns)) < 0.3
    y, x = np.meshgrid(*(np.linspace(0, 1, _WALL, endpoint=False),) * 2, indexing="ij")
    across, down = x * columns % 1 - 0.5, y * rows % 1 - 0.5
    if arched:
        down = down + 0.35 * across**2
    row, column = np.minimum(y * rows, rows - 1).astype(int), (x * columns).astype(int)
    outer = (np.abs(across) < width / 2) & (np.abs(down) < height / 2)
    inner = (np.abs(across) < width / 2 - 0.06) & (np.abs(down) < height / 2 - 0.06)
    wall[outer] = frame
    wall[inner] = pane
    wall[inner & lit[row, column]] = np.minimum(1.0, pane + 0.4)
    for _ in range(int(generator.integers(2, 6))):  # bands and ornaments
        colour, centre = generator.random(3), generator.random(2)
        if generator.random() < 0.5:
            wall[np.abs(y - centre[0]) < generator.uniform(0.01, 0.04)] = colour
        else:
            radius = generator.uniform(0.04, 0.14)
            wall[np.hypot(y - centre[0], x - centre[1]) < radius] = colour
    return np.clip(wall, 0, 1)


def _homography(view: View, size: int) -> np.ndarray:
    """From the plane (u, v in [-1/2, 1/2], right and down) to pixels, (3, 3)."""
    yaw, pitch = math.radians(view.yaw_deg), math.radians(view.pitch_deg)
    right = np.array([math.cos(yaw), 0.0, math.sin(yaw)])
    down = np.array(
        [math.sin(yaw) * math.sin(pitch), math.cos(pitch), -math.cos(yaw) * math.sin(pitch)]
    )
    # At this distance a frontal facade has side ``scale`` of the image's.
    distance = _FOCAL / (2 * view.scale)
    centre = np.array([*(2 * shift * distance / _FOCAL for shift in view.shift), distance])
    focal, middle = _FOCAL * size / 2, size / 2
    camera = np.array([[focal, 0, middle], [0, focal, middle], [0, 0, 1]])
    return np.asarray(camera @ np.stack([right, down, centre], axis=1))


def bounding_box(view: View, size: int) -> np.ndarray:
    """Left, top, right, bottom of the facade in px, clipped to the image, (4,)."""
    corners = np.array([[-0.5, -0.5, 1], [0.5, -0.5, 1], [0.5, 0.5, 1], [-0.5, 0.5, 1]])
    projected = corners @ _homography(view, size).T
    points = np.clip(projected[:, :2] / projected[:, 2:], 0, size)
    return np.concatenate([points.min(axis=0), points.max(axis=0)])


def _rendered(
    wall: np.ndarray, view: View, size: int, generator: np.random.Generator
) -> np.ndarray:
    """One image, uint8 (3, S, S)."""
    scene = 0.2 + 0.6 * _blurred_noise(generator, size, int(generator.integers(3, 9)))
    pixels = np.arange(size) + 0.5
    x, y = np.meshgrid(pixels, pixels)
    at = np.stack([x, y, np.ones_like(x)], axis=-1) @ np.linalg.inv(_homography(view, size)).T
    u, v = at[..., 0] / at[..., 2], at[..., 1] / at[..., 2]
    inside = (np.abs(u) < 0.5) & (np.abs(v) < 0.5)
    scene[inside] = _bilinear(wall, v[inside] + 0.5, u[inside] + 0.5)
    if view.occlusion > 0:  # a pillar of its own texture across the facade
        middle = generator.uniform(-0.5 + view.occlusion / 2, 0.5 - view.occlusion / 2)
        hidden = np.abs(u - middle) < view.occlusion / 2
        scene[hidden] = _blurred_noise(generator, size, 5)[hidden] * generator.random(3)
    scene = scene * 2.0**view.light + generator.normal(0, 0.02, scene.shape)
    return np.ascontiguousarray(
        np.rint(255 * np.clip(scene, 0, 1)).astype(np.uint8).transpose(2, 0, 1)
    )


def _bilinear(picture: np.ndarray, down: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Values (P, 3) of a picture (W, W, 3) at points in [0, 1]."""
    side = picture.shape[0]
    row = np.clip(down * side - 0.5, 0, side - 1.001)
    column = np.clip(right * side - 0.5, 0, side - 1.001)
    top, left = row.astype(int), column.astype(int)
    a, b = (row - top)[:, None], (column - left)[:, None]
    upper = picture[top, left] * (1 - b) + picture[top, left + 1] * b
    lower = picture[top + 1, left] * (1 - b) + picture[top + 1, left + 1] * b
    return np.asarray(upper * (1 - a) + lower * a)
