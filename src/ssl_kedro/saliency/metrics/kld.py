"""KLD: the Kullback-Leibler divergence of the prediction from the truth."""

import numpy as np

from ssl_kedro.saliency.metric import EPS, Compared, Metric


def kld(compared: Compared) -> float:
    """Sum of t log(eps + t / (p + eps)), natural logarithm, eps = 2.2e-16."""
    predicted, wanted = compared.masses
    wanted = wanted / wanted.sum()
    ratio = predicted / predicted.sum()
    ratio += EPS
    np.divide(wanted, ratio, out=ratio)
    ratio += EPS
    return float(np.vdot(wanted, np.log(ratio, out=ratio)))


METRIC = Metric(
    "KLD",
    "divergence from the map of where people looked",
    "0 and above",
    unit="nats",
    place=6,
    of_map=kld,
    lower_is_better=True,
)
