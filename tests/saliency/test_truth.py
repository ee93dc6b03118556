from __future__ import annotations

import numpy as np
import pytest

from saliency.sources_for_tests import Plain, looks
from ssl_kedro.core.config import ConfigError
from ssl_kedro.saliency.ground_truth import (
    fixation_sets_of,
    fixations_of,
    saliency_map,
    truth_arrays,
)
from ssl_kedro.saliency.panoramas import Fixations

MAP = np.arange(32, dtype=np.float32).reshape(4, 8)
LOOKED = looks((10, 20), (-170, 5), viewers=[3, 4])


def source() -> Plain:
    return Plain(["train"] * 3, maps={0: MAP, 1: MAP}, fixations={1: LOOKED, 2: LOOKED})


def test_maps_come_first_and_fixations_where_there_is_none() -> None:
    found = truth_arrays(source(), [2, 1, 0], "auto", 4, 20.0)
    assert np.array_equal(found["maps"][1], MAP)
    assert np.array_equal(found["maps"][2], MAP)
    assert np.array_equal(found["maps"][0], saliency_map(LOOKED, 4, 8, sigma_deg=20.0))
    assert found["made_from_fixations"].tolist() == [True, False, False]


def test_fixations_only() -> None:
    found = truth_arrays(source(), [1], "fixations", 4, 20.0)
    assert np.array_equal(found["maps"][0], saliency_map(LOOKED, 4, 8, sigma_deg=20.0))


def test_fixations_come_back_by_panorama() -> None:
    found = truth_arrays(source(), [2, 0, 1], "auto", 4, 20.0)
    assert fixations_of(found, 1) is None
    for row in (0, 2):
        fixations = fixations_of(found, row)
        assert fixations is not None
        assert fixations.longitude_deg.tolist() == [10, -170]
        assert fixations.latitude_deg.tolist() == [20, 5]
        assert fixations.viewer.tolist() == [3, 4]


class TwoEyes(Plain):
    def fixation_sets(self, index: int) -> tuple[Fixations, ...]:
        whole = super().fixation_sets(index)
        return () if not whole else (whole[0].of(np.array([0])), whole[0].of(np.array([1])))


def test_sets_are_told_apart_and_pooled() -> None:
    eyes = TwoEyes(["train"] * 3, maps={0: MAP}, fixations={1: LOOKED, 2: LOOKED})
    found = truth_arrays(eyes, [2, 0, 1], "auto", 4, 20.0)
    assert fixation_sets_of(found, 1) == ()
    for row in (0, 2):
        assert [one.longitude_deg.tolist() for one in fixation_sets_of(found, row)] == [
            [10],
            [-170],
        ]
        pooled = fixations_of(found, row)
        assert pooled is not None and pooled.longitude_deg.tolist() == [10, -170]
    plain = truth_arrays(source(), [2], "auto", 4, 20.0)
    assert [len(one) for one in fixation_sets_of(plain, 0)] == [2]


@pytest.mark.parametrize(("made_from", "index"), [("maps", 2), ("fixations", 0)])
def test_a_missing_truth_names_the_panorama(made_from: str, index: int) -> None:
    with pytest.raises(ConfigError, match=f"expected {made_from} of p{index}, found none"):
        truth_arrays(source(), [index], made_from, 4, 20.0)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="expected a map or fixations of p0"):
        truth_arrays(Plain(["train"]), [0], "auto", 4, 20.0)
