"""SIM: the intersection of two distributions."""

import numpy as np

from ssl_kedro.saliency.metric import Compared, Metric


def sim(compared: Compared) -> float:
    """Sum of min(p, t); `planar` and `authors` first subtract each map's minimum, as MIT does.

    In `planar` mode a constant map stands for the uniform distribution.
    """
    first, second = compared.masses
    if compared.mode != "sphere":
        first, second = _from_zero(first), _from_zero(second)
    return float(np.minimum(first / first.sum(), second / second.sum()).sum())


def _from_zero(values: np.ndarray) -> np.ndarray:
    low = values.min()
    return values - low if values.max() > low else values


METRIC = Metric(
    "SIM",
    "mass shared with the map of where people looked",
    "0 to 1",
    place=5,
    of_map=sim,
)
