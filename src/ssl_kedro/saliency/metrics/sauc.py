"""Shuffled AUC: fixated pixels against those that are fixated in other images."""

import numpy as np

from ssl_kedro.saliency.metric import Compared, Metric, mann_whitney


def sauc(compared: Compared, pixels: np.ndarray) -> float:
    """Fixated pixels against all that are fixated in other images, which MIT samples.

    A constant prediction scores .5 exactly; NaN without fixations of other images.
    """
    return mann_whitney(*(np.take(compared.values, at) for at in (pixels, compared.others)))


METRIC = Metric(
    "sAUC",
    "the same against where people looked in other panoramas",
    "0 to 1, 0.5 by chance",
    place=2,
    of_fixations=sauc,
)
