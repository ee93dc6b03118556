"""Which size, width, batch and number of epochs fit the images, the machine and the time."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ssl_kedro.images.survey import Survey

# Below this side in px the first layers keep the resolution, as on CIFAR; above it they quarter it.
_SMALL_PX = 96
_SMALL_SIDES, _LARGE_SIDES = (64, 48, 32), (224, 160, 128, 96)
# Channels of the first stage at the largest size, the one below it, and the others.
_WIDTHS: tuple[tuple[int, ...], ...] = ((64, 32, 16), (32, 16), (16,))
_NARROWEST = 8
# Views of three quarters of the side: half the pixels, as good at the end (docs/results/gates.md).
_VIEW_SHARE = 0.75
# A run ends within its time although other work may come between.
_KEPT_BACK = 0.03
# Share of grey images from which on views leave colours alone.
_GREY = 0.95
# Largest batch that leaves so many steps an epoch, in powers of two.
_STEPS_AN_EPOCH, _BATCHES = 32, (128, 64, 32)


@dataclass(frozen=True)
class Candidate:
    """One way to train.

    Args:
        size: side in px of the images.
        width: channels of the first stage.
        stem: first layers, by the encoder's name for them.
    """

    size: int
    width: int
    stem: str

    @property
    def view_size(self) -> int:
        """Side in px of the views."""
        return 4 * round(self.size * _VIEW_SHARE / 4)

    @property
    def cost(self) -> float:
        """Grows as the arithmetic of an image does."""
        strides = 1 if self.stem == "cifar_pad1" else 4
        return float((self.size / strides) ** 2 * self.width**2)


@dataclass(frozen=True)
class Speed:
    """What a trial of a candidate has measured on this machine.

    Args:
        trainings: seconds for each image of a pass, by the name of the method.
        other: seconds of all else, by stage.
    """

    trainings: Mapping[str, float]
    other: Mapping[str, float]


@dataclass(frozen=True)
class Plan:
    """What is going to be done.

    Args:
        candidate: the way that was taken.
        epochs: of each training.
        spent: seconds until it was made.
        seconds: of each stage to come, measured or reckoned; of trainings by their method.
        short: whether even the smallest candidate shows each image less often than asked.
    """

    candidate: Candidate
    epochs: int
    spent: float
    seconds: Mapping[str, float]
    short: bool

    @property
    def total(self) -> float:
        """Seconds from the start of the run to its end."""
        return self.spent + sum(self.seconds.values())


def candidates(median_side: int, given: Mapping[str, Any]) -> list[Candidate]:
    """Ways to train on images of a size, the dearest first.

    Args:
        median_side: shorter side in px of the middle image.
        given: "size", "width", "stem" as far as they are settled.
    """
    small = median_side < _SMALL_PX
    sides = _SMALL_SIDES if small else _LARGE_SIDES
    fitting = [side for side in sides if side <= median_side] or [sides[-1]]
    found = {
        (side, width)
        for number, side in enumerate(fitting)
        for width in _WIDTHS[min(number, len(_WIDTHS) - 1)]
    } | {(fitting[-1], _NARROWEST)}
    if len(fitting) == 1:
        found |= {(fitting[0], width) for width in _WIDTHS[0]}
    settled = {
        Candidate(
            given.get("size", side),
            given.get("width", width),
            given.get("stem", "cifar_pad1" if given.get("size", side) < _SMALL_PX else "imagenet"),
        )
        for side, width in found
    }
    return sorted(settled, key=lambda one: (one.cost, one.size), reverse=True)


def planned(
    ways: Sequence[Candidate],
    measure: Callable[[Candidate], Speed],
    clock: Callable[[], float],
    images: int,
    seconds: float,
    passes: int,
    epochs: int | None = None,
) -> Plan:
    """The dearest way that shows each image often enough in the time; else the cheapest.

    Speeds are measured of few of them: a dearer one is slower.

    Args:
        ways: the dearest first.
        measure: tries one.
        clock: seconds since the run began.
        images: for training.
        seconds: that the run may take, from its beginning.
        passes: over the images, at least.
        epochs: of each training, where they are settled; else as many as fit.
    """
    speeds: dict[Candidate, Speed] = {}

    def fitting(way: Candidate) -> int:
        if way not in speeds:
            speeds[way] = measure(way)
        speed = speeds[way]
        left = seconds * (1 - _KEPT_BACK) - clock() - sum(speed.other.values())
        return max(0, math.floor(left / (images * sum(speed.trainings.values()))))

    first, last = 0, len(ways) - 1
    while first < last:
        middle = (first + last) // 2
        if fitting(ways[middle]) >= (epochs or passes):
            last = middle
        else:
            first = middle + 1
    way = ways[first]
    found = fitting(way)
    count = epochs or max(1, found)
    speed = speeds[way]
    trained = {name: images * count * each for name, each in speed.trainings.items()}
    short = found < (epochs or passes)
    return Plan(way, count, clock(), trained | dict(speed.other), short)


def batch_size(images: int) -> int:
    """Images a step: the largest batch that leaves enough steps an epoch."""
    return next((size for size in _BATCHES if images >= size * _STEPS_AN_EPOCH), _BATCHES[-1])


# Recipes of views by what was found: the thesis' for photographs in colour (6.3.1), and the same
# without what changes colours.
VIEWS: dict[str, dict[str, float]] = {
    "colour": {"saturation": 0.2, "hue": 0.1, "grey": 0.2},
    "grey": {"saturation": 0.0, "hue": 0.0, "grey": 0.0},
}


def named_views(survey: Survey) -> str:
    """Name of the recipe of views that suits the images."""
    return "grey" if survey.grey >= _GREY else "colour"


def changes(way: Candidate, epochs: int, survey: Survey) -> dict[str, Any]:
    """Parameters that a way of training sets, nested as in files."""
    data = survey.data
    return {
        "data": {
            "source": data.source,
            "root": data.root,
            "labels": data.labels,
            "size": way.size,
        },
        "views": {"size": way.view_size, **VIEWS[named_views(survey)]},
        "encoder": {"stem": way.stem, "width": way.width},
        "train": {
            "epochs": epochs,
            "batch_size": batch_size(survey.counts["train"]),
            "warmup_epochs": min(10, epochs // 10),
        },
    }
