"""Generated grey textures of ten classes: data that is always there.

What tells the classes apart is the statistics of a texture, not where it lies: phase, scale,
contrast, its sign, brightness and noise are random in every image, so that pixels of two
images of one class rarely match. Colour and background carry nothing: the three channels are
equal and the pattern fills the image.
"""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from ssl_kedro.core.seeding import numpy_generator
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.images.load import DataConfig, ImageSource, Split
from ssl_kedro.images.store import Block, Plan, stored
from ssl_kedro.images.subsets import check_limit, limited_count

# Lengths are in units of 1/32 of the image side, which is a pixel at the default size.
_SIDE = 32.0
_PERIOD = (4.0, 10.0)
_TILT_DEG = 10.0
_CONTRAST = (0.15, 0.4)
_BRIGHTNESS = (0.4, 0.6)
_NOISE = (0.05, 0.2)
_IMAGES_A_BLOCK = 1000

# From a generator, a number of images K and pixel coordinates (S,) to (K, S, S) in [-1, 1].
Pattern = Callable[[np.random.Generator, int, np.ndarray], np.ndarray]


def _uniform(generator: np.random.Generator, count: int, low: float, high: float) -> np.ndarray:
    """Float32 (count, 1, 1), to be broadcast over pixels."""
    return np.asarray(generator.uniform(low, high, (count, 1, 1)), dtype=np.float32)


def _wave(
    generator: np.random.Generator, count: int, at: np.ndarray, angle_deg: float
) -> np.ndarray:
    """Sine wave that runs along a direction, of random period, phase and tilt."""
    angle = np.deg2rad(angle_deg + _uniform(generator, count, -_TILT_DEG, _TILT_DEG))
    frequency = 2 * np.pi / _uniform(generator, count, *_PERIOD)
    phase = _uniform(generator, count, 0, 2 * np.pi)
    along = np.cos(angle) * at[None, None, :] + np.sin(angle) * at[None, :, None]
    return np.asarray(np.sin(frequency * along + phase))


def _plaid(generator: np.random.Generator, count: int, at: np.ndarray) -> np.ndarray:
    return np.asarray((_wave(generator, count, at, 0.0) + _wave(generator, count, at, 90.0)) / 2)


def _checker(generator: np.random.Generator, count: int, at: np.ndarray) -> np.ndarray:
    frequency = 2 * np.pi / (1.5 * _uniform(generator, count, *_PERIOD))
    across = np.sin(frequency * at[None, None, :] + _uniform(generator, count, 0, 2 * np.pi))
    down = np.sin(frequency * at[None, :, None] + _uniform(generator, count, 0, 2 * np.pi))
    return np.asarray(np.sign(across * down))


def _dots(generator: np.random.Generator, count: int, at: np.ndarray) -> np.ndarray:
    """Discs on a square grid, 0.3 periods in radius."""
    period = 1.2 * _uniform(generator, count, *_PERIOD)
    offsets = [_uniform(generator, count, 0, 1) for _ in range(2)]
    across = (at[None, None, :] / period + offsets[0]) % 1 - 0.5
    down = (at[None, :, None] / period + offsets[1]) % 1 - 0.5
    inside = across**2 + down**2 < 0.3**2
    return np.asarray(np.where(inside, 1.0, -1.0), dtype=np.float32)


def _rings(generator: np.random.Generator, count: int, at: np.ndarray) -> np.ndarray:
    """Concentric waves around a random centre inside the image."""
    centre = [_uniform(generator, count, 0.2 * _SIDE, 0.8 * _SIDE) for _ in range(2)]
    radius = np.hypot(at[None, None, :] - centre[0], at[None, :, None] - centre[1])
    frequency = 2 * np.pi / _uniform(generator, count, *_PERIOD)
    return np.asarray(np.sin(frequency * radius + _uniform(generator, count, 0, 2 * np.pi)))


def _noise(generator: np.random.Generator, count: int, at: np.ndarray, cell: float) -> np.ndarray:
    """Noise whose values are drawn on a grid and interpolated; ``cell`` is the grid's spacing."""
    knots = int(np.ceil(_SIDE / cell)) + 1
    values = generator.standard_normal((count, knots, knots)).astype(np.float32)
    weights = np.maximum(0, 1 - np.abs(at[:, None] / cell - np.arange(knots)))
    weights = weights / np.linalg.norm(weights, axis=1, keepdims=True)
    smooth = np.einsum("ia,kab,jb->kij", weights, values, weights, optimize=True)
    return np.asarray(np.clip(smooth / 2, -1, 1), dtype=np.float32)


# A horizontal flip turns an angle a into -a: with these four no class becomes another, so
# that views may be flipped.
PATTERNS: dict[str, Pattern] = {
    "grating_0": partial(_wave, angle_deg=0.0),
    "grating_30": partial(_wave, angle_deg=30.0),
    "grating_60": partial(_wave, angle_deg=60.0),
    "grating_90": partial(_wave, angle_deg=90.0),
    "plaid": _plaid,
    "checker": _checker,
    "dots": _dots,
    "fine_noise": partial(_noise, cell=1.0),
    "coarse_noise": partial(_noise, cell=5.0),
    "rings": _rings,
}


def _count(config: DataConfig, split: Split, _seed: int) -> int:
    training = split != "eval"
    check_limit(config, training, len(PATTERNS))
    key = "generated" if training else "generated_eval"
    count: int = getattr(config, key)
    if count < len(PATTERNS):
        raise config.error(
            key,
            found=f"{len(PATTERNS)} classes",
            expected=f"at least {len(PATTERNS)} images, one of each class",
            remedy=f"raise data.{key}",
        )
    return limited_count(config, training, count, len(PATTERNS))


def _load(config: DataConfig, split: Split, seed: int) -> ImageSet:
    """Textures, the classes in turn; the two parts share no draws."""
    part, count = "eval" if split == "eval" else "train", _count(config, split, seed)

    def blocks(done: int) -> Iterator[Block]:
        for start in range(done, count, _IMAGES_A_BLOCK):
            labels = np.arange(start, min(start + _IMAGES_A_BLOCK, count)) % len(PATTERNS)
            generator = numpy_generator(seed, "textures", part, start)
            yield textures(labels, config.size, generator), ()

    plan = Plan(
        identity=(seed, part),
        count=count,
        labels=np.arange(count, dtype=np.int64) % len(PATTERNS),
        class_names=tuple(PATTERNS),
        blocks=blocks,
    )
    return stored(plan, config)


def textures(labels: np.ndarray, size: int, generator: np.random.Generator) -> np.ndarray:
    """Random textures of given classes.

    Args:
        labels: int (N,), indices into :data:`PATTERNS`.
        size: side in pixels; the pattern is the same, sampled more finely.
        generator: of everything random.

    Returns:
        uint8 (N, 3, size, size), the channels equal.
    """
    at = ((np.arange(size, dtype=np.float32) + 0.5) * (_SIDE / size)).astype(np.float32)
    grey = np.empty((len(labels), size, size), dtype=np.float32)
    for label, pattern in enumerate(PATTERNS.values()):
        members = np.flatnonzero(labels == label)
        grey[members] = pattern(generator, len(members), at)
    count = len(labels)
    sign = np.where(generator.random((count, 1, 1)) < 0.5, -1, 1).astype(np.float32)
    grey *= sign * _uniform(generator, count, *_CONTRAST)
    grey += _uniform(generator, count, *_BRIGHTNESS)
    noise = generator.standard_normal(grey.shape, dtype=np.float32)
    grey += noise * _uniform(generator, count, *_NOISE)
    pixels = np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8)
    return np.repeat(pixels[:, None], 3, axis=1)


SOURCE = ImageSource(("textures",), _load, reads_files=False, count=_count)
