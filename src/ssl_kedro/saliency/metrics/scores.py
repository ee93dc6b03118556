"""All metrics of one prediction.

Conventions. Maps are densities per solid angle, float (h, 2h). A pixel's share is its weight in
the mode, summing to 1; a map becomes a distribution as value x share / sum. Three modes:

- `planar`: the MIT saliency benchmark's definitions on the pixels of the equirectangular image.
- `sphere`: every pixel weighs its solid angle. The mode of reports: with fixations uniform on the
  sphere a prior of the equator scores AUC 2/pi = .64 in planar mode and .50 in this one.
- `authors`: rows multiplied by sin(linspace(0, pi, H)), then the planar definitions.

Planar definitions, p and t being prediction and truth as distributions:

- auc_judd: fixated pixels against all others. In `sphere` mode fixations against all pixels,
  weighted: the chance that a fixation has more than a random direction.
- sauc: fixated pixels against those that are fixated in other images.
- nss: mean at fixations of the prediction less its mean, over its deviation.
- cc: Pearson correlation.
- sim: sum of min(p, t). `planar` and `authors` first subtract each map's minimum, as MIT does.
- kld: sum of t log(eps + t / (p + eps)), natural logarithm, eps = 2.2e-16.
- info_gain: mean at fixations of log2(eps + p) - log2(eps + prior): bits a fixation.

Duplicate fixations: in `planar` and `authors` mode a pixel with several fixations counts once, as
in MIT's binary fixation map; in `sphere` mode each fixation counts. Missing fixations (None, or a
set of none) make the metrics of fixations NaN, a missing truth map those of maps, a missing prior
info_gain and missing fixations of other images sauc.

Four places leave MIT's code. AUC is the exact Mann-Whitney statistic (`auc.py`), also for sauc,
which MIT samples. info_gain normalises by the sum only, as densities demand, and does not first
subtract the minimum. The standard deviation divides by N. Maps are resized bilinearly, across the
seam. In `authors` mode cc is the correlation weighted by the sine, not that of the products, as
in the Salient360! toolbox, whose values the tests hold. For metrics of fixations `authors` takes
the prediction times the sine; the toolbox takes it as it is, which is `planar` mode.

Sources: Bylinskii et al., "What do different evaluation metrics tell us about saliency models?",
arXiv:1604.03605, and code_forMetrics of the MIT saliency benchmark; Kuemmerer, Wallis and Bethge,
PNAS 112 (2015), for information gain; comparison/saliencyMetrics.py of the Salient360! toolbox.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ssl_kedro.saliency.metrics.auc import RankedMap, mann_whitney
from ssl_kedro.saliency.metrics.maps import checked_map, resized
from ssl_kedro.saliency.metrics.weights import (
    MODES,
    Mode,
    pixel_shares,
    weighted_mean,
    weighted_product,
)
from ssl_kedro.saliency.panoramas import Fixations
from ssl_kedro.spherical.sphere import pixel_of

METRICS = ("auc_judd", "sauc", "nss", "cc", "sim", "kld", "info_gain")

_EPS = float(np.finfo(np.float64).eps)
_NAN = float("nan")
# A map whose deviation is this small beside its mean is constant up to rounding.
_CONSTANT = 1e-12


def score(
    prediction: np.ndarray,
    truth_map: np.ndarray | None,
    fixations: Fixations | Sequence[Fixations] | None,
    mode: Mode = "sphere",
    *,
    equator_prior: np.ndarray | None = None,
    other_fixations: Fixations | None = None,
) -> dict[str, float]:
    """Metrics of one prediction in one mode; see `scores_by_mode`."""
    return scores_by_mode(
        prediction,
        truth_map,
        fixations,
        equator_prior=equator_prior,
        other_fixations=other_fixations,
        modes=(mode,),
    )[mode]


def scores_by_mode(
    prediction: np.ndarray,
    truth_map: np.ndarray | None,
    fixations: Fixations | Sequence[Fixations] | None,
    *,
    equator_prior: np.ndarray | None = None,
    other_fixations: Fixations | None = None,
    modes: Sequence[Mode] = MODES,
) -> dict[Mode, dict[str, float]]:
    """Metrics of one prediction in several modes, which share all sorting and resizing.

    Nothing is mutated. The truth map's size is the reference, or the prediction's own where
    there is no truth map: the other maps are brought to it by `resized`. A constant prediction
    or truth scores cc 0 and a constant prediction nss 0 (neither has any association); its
    auc_judd and sauc are .5 exactly (except in `authors` mode, whose product with the sine is
    not constant) and in `planar` sim it stands for the uniform distribution.

    Args:
        prediction: density per solid angle (h, 2h); its scale does not matter.
        truth_map: the same, of where people looked; None = not known.
        fixations: where they looked. Several sets, e.g. of two eyes, are scored one by one
            and the scores averaged; empty sets are left out. None = not known.
        equator_prior: what info_gain compares with, (h, 2h), any size.
        other_fixations: fixations of other images, the negatives of sauc.
        modes: which.

    Returns:
        By mode, by metric; every metric is there, NaN where something is missing.

    Raises:
        ValueError: an unknown mode, a map of wrong shape, negative, zero everywhere or not
            finite, or neither truth map nor fixations.
    """
    case = _case(prediction, truth_map, fixations, equator_prior, other_fixations)
    ranked = RankedMap(case.prediction)
    return {mode: _scores(case, ranked, mode) for mode in modes}


@dataclass(frozen=True)
class _Case:
    """Everything at one size; fixations as flat indices of pixels."""

    prediction: np.ndarray
    truth: np.ndarray | None
    prior: np.ndarray | None
    sets: list[np.ndarray]
    others: np.ndarray | None


def _case(
    prediction: np.ndarray,
    truth_map: np.ndarray | None,
    fixations: Fixations | Sequence[Fixations] | None,
    equator_prior: np.ndarray | None,
    other_fixations: Fixations | None,
) -> _Case:
    if truth_map is None and fixations is None:
        raise ValueError(
            "found neither a truth map nor fixations; expected at least one to score against"
        )
    predicted = checked_map("the prediction", prediction)
    truth = None if truth_map is None else checked_map("the truth map", truth_map)
    prior = None if equator_prior is None else checked_map("the equator prior", equator_prior)
    height, width = predicted.shape if truth is None else truth.shape
    if fixations is None:
        sets: Sequence[Fixations] = ()
    else:
        sets = (fixations,) if isinstance(fixations, Fixations) else fixations
    return _Case(
        resized(predicted, height, width),
        truth,
        None if prior is None else resized(prior, height, width),
        [fixated_pixels(found, height, width) for found in sets if len(found)],
        None if other_fixations is None else fixated_pixels(other_fixations, height, width),
    )


def fixated_pixels(fixations: Fixations, height: int, width: int) -> np.ndarray:
    """Flat index of the pixel of each fixation, int64 (F,)."""
    longitude, latitude = (
        torch.from_numpy(np.asarray(angles, dtype=np.float64).copy())
        for angles in (fixations.longitude_deg, fixations.latitude_deg)
    )
    row, column = pixel_of(longitude, latitude, height, width)
    return (row * width + column).numpy()


def _scores(case: _Case, ranked: RankedMap, mode: Mode) -> dict[str, float]:
    shares = pixel_shares(mode, *case.prediction.shape)
    found = dict.fromkeys(METRICS, _NAN)
    if case.truth is not None:
        found["cc"] = _correlation(case.prediction, case.truth, shares)
        predicted, wanted = (map_ * shares[:, None] for map_ in (case.prediction, case.truth))
        found["sim"] = _similarity(predicted, wanted, subtract=mode != "sphere")
        found["kld"] = _divergence(predicted, wanted)
    if case.sets:
        each = [_fixation_scores(case, ranked, mode, shares, pixels) for pixels in case.sets]
        found |= {name: float(np.mean([one[name] for one in each])) for name in each[0]}
    return found


def _correlation(first: np.ndarray, second: np.ndarray, shares: np.ndarray) -> float:
    """Weighted Pearson correlation; 0 where a map is constant."""
    first, first_spread = _centred(first, shares)
    second, second_spread = _centred(second, shares)
    if not first_spread or not second_spread:
        return 0.0
    return weighted_product(first, second, shares) / (first_spread * second_spread)


def _centred(values: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, float]:
    """A map less its weighted mean, and its weighted deviation, 0 if it is constant."""
    mean = weighted_mean(values, shares)
    centred = values - mean
    spread = weighted_product(centred, centred, shares) ** 0.5
    return centred, spread if spread > _CONSTANT * mean else 0.0


def _similarity(first: np.ndarray, second: np.ndarray, *, subtract: bool) -> float:
    """Intersection of two maps of mass; MIT's code subtracts each one's minimum before."""
    if subtract:
        first, second = _from_zero(first), _from_zero(second)
    return float(np.minimum(first / first.sum(), second / second.sum()).sum())


def _from_zero(values: np.ndarray) -> np.ndarray:
    low = values.min()
    return values - low if values.max() > low else values


def _divergence(predicted: np.ndarray, wanted: np.ndarray) -> float:
    """Kullback-Leibler divergence of the prediction from the truth, nats."""
    wanted = wanted / wanted.sum()
    ratio = predicted / predicted.sum()
    ratio += _EPS
    np.divide(wanted, ratio, out=ratio)
    ratio += _EPS
    return float(np.vdot(wanted, np.log(ratio, out=ratio)))


def _fixation_scores(
    case: _Case, ranked: RankedMap, mode: Mode, shares: np.ndarray, pixels: np.ndarray
) -> dict[str, float]:
    """Metrics of one set of fixations, not empty."""
    values, others = case.prediction, case.others
    if mode == "authors":
        values = values * (shares[:, None] / shares.max())
        ranked = RankedMap(values)
    if mode == "sphere":
        judd, weights = ranked.auc_against_sphere(pixels, shares), shares
    else:
        # MIT's binary fixation map: a pixel is fixated or not.
        pixels = np.unique(pixels)
        others = None if others is None else np.unique(others)
        judd, weights = ranked.auc_against_rest(pixels), pixel_shares("planar", *values.shape)
    at = values.reshape(-1)[pixels]
    against = np.empty(0) if others is None else values.reshape(-1)[others]
    return {
        "auc_judd": judd,
        "sauc": mann_whitney(at, against),
        "nss": _standardised(at, values, weights),
        "info_gain": _NAN if case.prior is None else _gain(case, shares, pixels),
    }


def _standardised(at: np.ndarray, values: np.ndarray, shares: np.ndarray) -> float:
    """Mean z-score; 0 where the map is constant."""
    _, spread = _centred(values, shares)
    return float(at.mean() - weighted_mean(values, shares)) / spread if spread else 0.0


def _gain(case: _Case, shares: np.ndarray, pixels: np.ndarray) -> float:
    """Information gain over the prior, bits a fixation."""
    logs = []
    for map_ in (case.prediction, case.prior):
        if map_ is not None:
            mass = map_.reshape(-1)[pixels] * shares[pixels // map_.shape[1]]
            logs.append(np.log2(_EPS + mass / weighted_mean(map_, shares)))
    return float((logs[0] - logs[1]).mean())
