"""NSS: the normalised scanpath saliency."""

import numpy as np

from ssl_kedro.saliency.metric import Compared, Metric


def nss(compared: Compared, pixels: np.ndarray) -> float:
    """Mean at fixations of the prediction less its mean, over its deviation (divided by N).

    0 where the prediction is constant: it has no association with anything.
    """
    mean, spread = compared.spread
    return float(np.take(compared.values, pixels).mean() - mean) / spread if spread else 0.0


METRIC = Metric(
    "NSS",
    "how far the prediction lies above its mean where people looked",
    "any, 0 by chance",
    unit="standard deviations",
    place=3,
    of_fixations=nss,
)
