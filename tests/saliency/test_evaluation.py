from __future__ import annotations

import numpy as np
import pytest

from saliency.scoring_for_tests import score
from saliency.sources_for_tests import looks
from ssl_kedro.saliency.evaluation import (
    Scores,
    intervals,
    score_all,
)
from ssl_kedro.saliency.maps import MODES
from ssl_kedro.saliency.metric import metrics
from ssl_kedro.saliency.panoramas import joined
from ssl_kedro.saliency.scores import PanoramaTruth

RNG = np.random.default_rng(0)
MAPS = RNG.random((3, 4, 8)).astype(np.float32) + 0.1
LOOKS = [looks((10, 20), (-100, 5)), None, looks((50, -40))]


def test_scores_of_each_image_in_their_order() -> None:
    panoramas = [
        PanoramaTruth(
            MAPS[k], [LOOKS[k]] if LOOKS[k] else [], joined(LOOKS[:k] + LOOKS[k + 1 :]), MAPS[0]
        )
        for k in range(3)
    ]
    found = score_all(iter(MAPS[::-1]), panoramas, ("planar", "sphere"))
    assert list(found) == ["planar", "sphere"]
    for mode, of_mode in found.items():
        assert set(of_mode) == set(metrics())
        for k in range(3):
            alone = score(
                MAPS[::-1][k],
                MAPS[k],
                LOOKS[k],
                mode,  # type: ignore[arg-type]
                equator_prior=MAPS[0],
                other_fixations=panoramas[k].others,
            )
            for metric in metrics():
                value = None if np.isnan(alone[metric]) else pytest.approx(alone[metric])
                assert of_mode[metric][k] == value
    assert [value is None for value in found["planar"]["nss"]] == [False, True, False]
    assert found["sphere"]["cc"][1] == pytest.approx(1.0)


def test_fixations_of_several_images_are_joined() -> None:
    found = joined(LOOKS)
    assert found is not None
    assert found.longitude_deg.tolist() == [10, -100, 50]
    assert joined([None, None]) is None


def scores(values: list[float | None]) -> Scores:
    return {"sphere": {"cc": values}}


def test_means_and_gains() -> None:
    scenes = ["a", "a", "b", "c"]
    mean = intervals(scores([0.1, 0.3, 0.5, 0.9]), scenes, 0, confidence=0.9, resamples=500)
    found = mean["sphere"]["cc"]
    assert found.mean == pytest.approx(0.45)
    assert found.low < 0.45 < found.high
    gain = intervals(
        scores([0.1, 0.3, 0.5, None]),
        scenes,
        0,
        confidence=0.9,
        resamples=500,
        baseline=scores([0.0, 0.2, 0.4, 0.8]),
    )["sphere"]["cc"]
    # Every image gains the same: nothing is uncertain about it.
    assert (gain.mean, gain.low, gain.high) == pytest.approx((0.1, 0.1, 0.1))
    assert len(MODES) == 3
