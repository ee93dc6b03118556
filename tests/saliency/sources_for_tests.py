"""Small panoramas in memory."""

from __future__ import annotations

import numpy as np

from ssl_kedro.images.files import UnreadableImageError
from ssl_kedro.saliency.panoramas import Fixations, PanoramaSource, Split


class Plain(PanoramaSource):
    """Panoramas of one grey each, number k of value 10 k; those in ``broken`` cannot be read."""

    def __init__(
        self,
        splits: list[Split],
        scenes: list[str] | None = None,
        broken: tuple[int, ...] = (),
        maps: dict[int, np.ndarray] | None = None,
        fixations: dict[int, Fixations] | None = None,
        mark: str = "a",
    ) -> None:
        names = [f"p{k}" for k in range(len(splits))]
        super().__init__(names, scenes or names, splits)
        self.broken, self.maps, self.looked, self.mark = broken, maps or {}, fixations or {}, mark
        self.decoded: list[int] = []

    def image(self, index: int, height: int, width: int) -> np.ndarray:
        self.decoded.append(index)
        if index in self.broken:
            raise UnreadableImageError("it ends too early")
        return np.full((3, height, width), 10 * index, dtype=np.uint8)

    def saliency(self, index: int) -> np.ndarray | None:
        return self.maps.get(index)

    def fixations(self, index: int) -> Fixations | None:
        return self.looked.get(index)

    @property
    def fingerprint(self) -> str:
        return self.mark


def looks(*directions: tuple[float, float], viewers: list[int] | None = None) -> Fixations:
    longitude, latitude = (np.array(v, dtype=np.float64) for v in zip(*directions, strict=True))
    return Fixations(longitude, latitude, np.array(viewers or [0] * len(directions), np.int64))
