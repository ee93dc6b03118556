"""All metrics of one prediction.

Conventions. Maps are densities per solid angle, float (h, 2h). A pixel's share is its weight in
the mode, summing to 1; a map becomes a distribution as value x share / sum. Three modes:

- `planar`: the MIT saliency benchmark's definitions on the pixels of the equirectangular image.
- `sphere`: every pixel weighs its solid angle. The mode of reports: with fixations uniform on the
  sphere a prior of the equator scores AUC 2/pi = .64 in planar mode and .50 in this one.
- `authors`: rows multiplied by sin(linspace(0, pi, H)), then the planar definitions. For metrics
  of fixations it takes the prediction times the sine; the Salient360! toolbox takes it as it is,
  which is `planar` mode.

Duplicate fixations: in `planar` and `authors` mode a pixel with several fixations counts once, as
in MIT's binary fixation map; in `sphere` mode each fixation counts. Missing fixations (None, or a
set of none) make the metrics of fixations NaN, a missing truth map those of maps, a missing prior
info_gain and missing fixations of other images sauc. Maps are resized bilinearly, across the seam.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ssl_kedro.saliency.maps import MODES, Mode, checked_map, resized
from ssl_kedro.saliency.metric import Compared, RankedMap, metrics
from ssl_kedro.saliency.panoramas import Fixations


@dataclass(frozen=True)
class PanoramaTruth:
    """What one prediction is compared with; None = not known.

    Args:
        truth: density per solid angle of where people looked, (h, 2h).
        fixations: where they looked, in sets, e.g. of two eyes, that are scored one by one and
            the scores averaged; empty sets are left out. () = not known.
        others: fixations of other images, the negatives of sauc.
        prior: density that info_gain compares with, as an equator prior, (h, 2h), any size.
    """

    truth: np.ndarray | None
    fixations: Sequence[Fixations] = ()
    others: Fixations | None = None
    prior: np.ndarray | None = None


def scores_by_mode(
    prediction: np.ndarray, panorama: PanoramaTruth, modes: Sequence[Mode] = MODES
) -> dict[Mode, dict[str, float]]:
    """Metrics of one prediction in several modes, which share all sorting and resizing.

    Nothing is mutated. The truth map's size is the reference, or the prediction's own where
    there is no truth map: the other maps are brought to it by `resized`.

    Args:
        prediction: density per solid angle (h, 2h); its scale does not matter.
        panorama: what it is compared with.
        modes: which.

    Returns:
        By mode, by metric; every metric is there, NaN where something is missing.

    Raises:
        ValueError: an unknown mode, a map of wrong shape, negative, zero everywhere or not
            finite, or neither truth map nor fixations.
    """
    if panorama.truth is None and not panorama.fixations:
        raise ValueError(
            "found neither a truth map nor fixations; expected at least one to score against"
        )
    truth = prior = None
    predicted = checked_map("the prediction", prediction)
    size = predicted.shape
    if panorama.truth is not None:
        truth = checked_map("the truth map", panorama.truth)
        size = truth.shape
    if panorama.prior is not None:
        prior = resized(checked_map("the equator prior", panorama.prior), *size)
    predicted = resized(predicted, *size)
    others = panorama.others.pixels(*size) if panorama.others else np.empty(0, dtype=np.int64)
    pixels = [*(found.pixels(*size) for found in panorama.fixations if len(found)), others]
    ranks = RankedMap(predicted)
    scores = {}
    for mode in modes:
        # MIT's binary fixation map: a pixel is fixated or not.
        *counted, negatives = pixels if mode == "sphere" else map(np.unique, pixels)
        scores[mode] = _scores(Compared(mode, predicted, truth, prior, negatives, ranks), counted)
    return scores


def _scores(compared: Compared, sets: Sequence[np.ndarray]) -> dict[str, float]:
    found = {}
    for name, metric in metrics().items():
        values: list[float] = []
        if metric.of_map is not None and compared.truth is not None:
            values = [metric.of_map(compared)]
        elif metric.of_fixations is not None:
            values = [metric.of_fixations(compared, pixels) for pixels in sets]
        found[name] = float(np.mean(values)) if values else float("nan")
    return found
