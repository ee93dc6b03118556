"""Scores in one mode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ssl_kedro.saliency.maps import Mode
from ssl_kedro.saliency.panoramas import Fixations
from ssl_kedro.saliency.scores import scores_by_mode


def score(
    prediction: np.ndarray,
    truth: np.ndarray | None,
    fixations: Fixations | Sequence[Fixations] | None,
    mode: Mode = "sphere",
    **given: Any,
) -> dict[str, float]:
    return scores_by_mode(prediction, truth, fixations, modes=(mode,), **given)[mode]
