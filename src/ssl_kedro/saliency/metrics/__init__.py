"""Metrics of saliency on panoramas: AUC-Judd, sAUC, NSS, CC, SIM, KLD, information gain."""

from ssl_kedro.saliency.metrics.maps import resized
from ssl_kedro.saliency.metrics.scores import METRICS, score, scores_by_mode
from ssl_kedro.saliency.metrics.weights import MODES, Mode

__all__ = ["METRICS", "MODES", "Mode", "resized", "score", "scores_by_mode"]
