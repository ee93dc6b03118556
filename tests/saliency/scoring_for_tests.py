"""Scores of what is given one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ssl_kedro.saliency import scores
from ssl_kedro.saliency.maps import MODES, Mode
from ssl_kedro.saliency.panoramas import Fixations

Looks = Fixations | Sequence[Fixations] | None


def scores_by_mode(
    prediction: np.ndarray,
    truth: np.ndarray | None,
    fixations: Looks,
    *,
    equator_prior: np.ndarray | None = None,
    other_fixations: Fixations | None = None,
    modes: Sequence[Mode] = MODES,
) -> dict[Mode, dict[str, float]]:
    sets = [fixations] if isinstance(fixations, Fixations) else fixations or ()
    panorama = scores.PanoramaTruth(truth, sets, other_fixations, equator_prior)
    return scores.scores_by_mode(prediction, panorama, modes)


def score(
    prediction: np.ndarray,
    truth: np.ndarray | None,
    fixations: Looks,
    mode: Mode = "sphere",
    **given: Any,
) -> dict[str, float]:
    return scores_by_mode(prediction, truth, fixations, modes=(mode,), **given)[mode]
