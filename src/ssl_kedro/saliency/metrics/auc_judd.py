"""AUC-Judd: fixated pixels against all others."""

import numpy as np

from ssl_kedro.saliency.metric import Compared, Metric


def auc_judd(compared: Compared, pixels: np.ndarray) -> float:
    """Fixated pixels against all others, ties with half credit.

    In `sphere` mode fixations against all pixels, weighted: the chance that a fixation has more
    than a random direction. A constant prediction scores .5 exactly (except in `authors` mode,
    whose product with the sine is not constant).
    """
    if compared.mode == "sphere":
        return compared.ranked.auc_against_sphere(pixels, compared.shares)
    return compared.ranked.auc_against_rest(pixels)


METRIC = Metric(
    "AUC-J",
    "how often a place that people looked at has more than one anywhere else",
    "0 to 1, 0.5 by chance",
    place=1,
    of_fixations=auc_judd,
)
