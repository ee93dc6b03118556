"""Information gain over the equator prior (Kuemmerer, Wallis and Bethge, PNAS 112, 2015)."""

import numpy as np

from ssl_kedro.saliency.maps import weighted_mean
from ssl_kedro.saliency.metric import EPS, Compared, Metric


def info_gain(compared: Compared, pixels: np.ndarray) -> float:
    """Mean at fixations of log2(eps + p) - log2(eps + prior); NaN without a prior.

    Maps are normalised by their sums only, as densities demand: MIT first subtracts the minimum.
    """
    if compared.prior is None:
        return float("nan")
    logs = []
    for map_ in (compared.prediction, compared.prior):
        mass = map_.reshape(-1)[pixels] * compared.shares[pixels // map_.shape[1]]
        logs.append(np.log2(EPS + mass / weighted_mean(map_, compared.shares)))
    return float((logs[0] - logs[1]).mean())


METRIC = Metric(
    "IG",
    "what a look tells by it beyond the equator",
    "any, 0 for the equator",
    unit="bits a look",
    place=7,
    of_fixations=info_gain,
)
