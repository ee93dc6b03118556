from __future__ import annotations

import numpy as np
import pytest

from ssl_kedro.saliency.panoramas import Fixations, PanoramaSource, Split


class Named(PanoramaSource):
    """A source that knows names only."""

    def image(self, index: int, height: int, width: int) -> np.ndarray:
        raise NotImplementedError

    def saliency(self, index: int) -> np.ndarray | None:
        return None

    def fixation_sets(self, index: int) -> tuple[Fixations, ...]:
        return ()

    @property
    def fingerprint(self) -> str:
        return ""


def source(names: str, scenes: str, splits: list[Split]) -> Named:
    return Named(names.split(), scenes.split(), splits)


def test_a_scene_has_one_split() -> None:
    assert len(source("a b c", "s s t", ["train", "train", "test"])) == 3
    source("a b", "s s", ["train", "unlabelled"])
    with pytest.raises(ValueError, match="training and in the test split: s;"):
        source("a b c", "s t s", ["train", "train", "test"])


def test_names_are_unique() -> None:
    with pytest.raises(ValueError, match="occur twice: a"):
        source("a b a", "r s t", ["train"] * 3)
    with pytest.raises(ValueError, match="found 2 names, 1 scenes, 2 splits"):
        source("a b", "r", ["train"] * 2)


def test_fixations_outside_the_sphere_are_named() -> None:
    with pytest.raises(ValueError, match="fixation 2 has latitude 91 degrees; expected -90 to 90"):
        Fixations(np.zeros(2), np.array([0.0, 91.0]), np.zeros(2, np.int64))
    with pytest.raises(ValueError, match="fixation 1 has longitude nan degrees"):
        Fixations(np.array([np.nan]), np.zeros(1), np.zeros(1, np.int64))
    with pytest.raises(ValueError, match="found 1, 2 and 1"):
        Fixations(np.zeros(1), np.zeros(2), np.zeros(1, np.int64))


def test_some_of_the_fixations() -> None:
    found = Fixations(np.array([1.0, 2.0, 3.0]), np.zeros(3), np.array([0, 1, 0]))
    assert found.of(found.viewer == 0).longitude_deg.tolist() == [1.0, 3.0]
