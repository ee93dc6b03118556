"""Panoramas with what is known of where people looked, whatever they come from."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from ssl_kedro.core.errors import shown
from ssl_kedro.spherical.sphere import pixel_of

Split = Literal["train", "test", "unlabelled"]


@dataclass(frozen=True)
class Fixations:
    """Where viewers looked at one panorama.

    Args:
        longitude_deg: float64 (F,), -180 at the left edge to 180 at the right.
        latitude_deg: float64 (F,), 90 at the top to -90 at the bottom.
        viewer: int64 (F,), who looked; fixations of one viewer have equal numbers.

    Raises:
        ValueError: unequal lengths, a value that is not finite, or an angle out of range.
    """

    longitude_deg: np.ndarray
    latitude_deg: np.ndarray
    viewer: np.ndarray

    def __post_init__(self) -> None:
        if not len(self.longitude_deg) == len(self.latitude_deg) == len(self.viewer):
            raise ValueError(
                f"expected one longitude, latitude and viewer a fixation, found "
                f"{len(self.longitude_deg)}, {len(self.latitude_deg)} and {len(self.viewer)}"
            )
        for name, limit in (("longitude", 180), ("latitude", 90)):
            values = getattr(self, f"{name}_deg")
            wrong = ~(np.abs(values) <= limit)  # also where the value is not a number
            if wrong.any():
                at = int(np.flatnonzero(wrong)[0])
                raise ValueError(
                    f"fixation {at + 1} has {name} {values[at]:g} degrees; expected -{limit} to "
                    f"{limit}"
                )

    def __len__(self) -> int:
        return len(self.longitude_deg)

    def of(self, chosen: np.ndarray) -> "Fixations":
        """Those that a mask or indices choose."""
        return Fixations(self.longitude_deg[chosen], self.latitude_deg[chosen], self.viewer[chosen])

    def pixels(self, height: int, width: int) -> np.ndarray:
        """Flat index of the pixel of a panorama that each lies in, int64 (F,)."""
        longitude = torch.tensor(self.longitude_deg, dtype=torch.float64)
        latitude = torch.tensor(self.latitude_deg, dtype=torch.float64)
        row, column = pixel_of(longitude, latitude, height, width)
        return np.asarray((row * width + column).numpy())


def joined(sets: Iterable[Fixations | None]) -> Fixations | None:
    """All fixations of several sets, None where there are none."""
    known = [found for found in sets if found is not None and len(found)]
    if not known:
        return None
    return Fixations(
        np.concatenate([found.longitude_deg for found in known]),
        np.concatenate([found.latitude_deg for found in known]),
        np.concatenate([found.viewer for found in known]),
    )


class PanoramaSource(ABC):
    """Panoramas by index; images and maps are read when they are asked for.

    Args:
        names: of the panoramas, unique; results are listed by them.
        scenes: of each; panoramas of one scene (frames of a video) are never on both sides
            of a split.
        splits: of each: "train" and "test" have a map or fixations, "unlabelled" has
            neither and serves pre-training.

    Raises:
        ValueError: unequal lengths, a name that occurs twice, a scene in both splits.
    """

    def __init__(
        self, names: Sequence[str], scenes: Sequence[str], splits: Sequence[Split]
    ) -> None:
        if not len(names) == len(scenes) == len(splits):
            raise ValueError(
                f"expected one scene and split a panorama, found {len(names)} names, "
                f"{len(scenes)} scenes, {len(splits)} splits"
            )
        twice = sorted(name for name, count in Counter(names).items() if count > 1)
        if twice:
            raise ValueError(f"panoramas need unique names; these occur twice: {', '.join(twice)}")
        sides = set(zip(scenes, splits, strict=True))
        both = sorted(
            scene for scene in set(scenes) if {(scene, "train"), (scene, "test")} <= sides
        )
        if both:
            raise ValueError(
                f"scenes in the training and in the test split: {', '.join(both)}; a model that "
                "has seen a scene cannot be tested on it: give each scene one split"
            )
        self.names = tuple(map(shown, names))
        self.scenes = tuple(map(shown, scenes))
        self.splits = tuple(splits)
        # Numbers of files of a kind that is not read, by ending.
        self.passed_over: Mapping[str, int] = {}

    def __len__(self) -> int:
        return len(self.names)

    def check(self) -> None:  # noqa: B027  a source that cannot be wrong has nothing to check
        """Look at everything that is cheap to look at, before any long work.

        Raises:
            ValueError: naming what cannot be used, at most twenty files, then a count.
        """

    @abstractmethod
    def image(self, index: int, height: int, width: int) -> np.ndarray:
        """One panorama brought to a size, uint8 (3, height, width).

        Raises:
            UnreadableImageError: it cannot be decoded, or is not twice as wide as high.
        """

    @abstractmethod
    def saliency(self, index: int) -> np.ndarray | None:
        """Its map, float32 (h, w), h x 2h, not negative, not all zero; None = there is none.

        Values are densities per solid angle: what looks uniform is uniform on the sphere.
        """

    @abstractmethod
    def fixation_sets(self, index: int) -> tuple[Fixations, ...]:
        """Where its viewers looked, in sets that are scored one by one, as of two eyes.

        () = not known.
        """

    def fixations(self, index: int) -> Fixations | None:
        """All of :meth:`fixation_sets`; None = not known."""
        return joined(self.fixation_sets(index))

    def file(self, index: int) -> Path | None:  # noqa: ARG002
        """The picture or video that it is read from; None = none."""
        return None

    def width_px(self, index: int) -> int | None:  # noqa: ARG002
        """How wide it is in its file; None = it is drawn at any size."""
        return None

    def in_order(self, index: int) -> bool:  # noqa: ARG002
        """Whether it is read fast only after those before it, as a frame of a video is."""
        return False

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Changes with what the source holds; cheap: from names, sizes and dates of files."""
