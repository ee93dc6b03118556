"""A bundle for ``mlflow.pyfunc.load_model``, which finds this module by the name in the model.

Nothing of MLflow is needed here: the model is the bundle, and this is its code.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ssl_kedro.encoders.base import Branch, Encoder
from ssl_kedro.encoders.bundle import load_bundle
from ssl_kedro.encoders.bundled import Bundled


class Served:
    """A network with the one method that MLflow calls.

    Args:
        network: in evaluation mode.
    """

    def __init__(self, network: Bundled) -> None:
        self.network = network

    def predict(self, images: np.ndarray, params: Mapping[str, Any] | None = None) -> np.ndarray:
        """Features (N, D) of an encoder, or what another network gives: maps or saliency.

        Args:
            images: uint8 or float in [0, 1], (N, 3, H, W), RGB.
            params: of an encoder: its "branch", "dense" or "gated", by default its last (that has a
                linear layer, where one is used); and "output", "features", or where it has a
                trained linear layer "classes" (names, (N,)) or "probabilities" ((N, K), in the
                order of ``classifier.json``).

        Raises:
            InputError, ValueError: images of another shape or size, no such branch or output.
        """
        network = self.network
        if isinstance(network, Encoder):
            asked = params or {}
            return _output(network, images, asked.get("branch"), asked.get("output") or "features")
        with torch.no_grad():
            found: np.ndarray = network(torch.from_numpy(np.array(images))).numpy()
        return found


def _output(network: Encoder, images: np.ndarray, branch: Branch | None, output: str) -> np.ndarray:
    classifier = network.classifier
    if output == "classes":
        return np.array(network.classify(images, branch))
    if output == "features":
        return network.features(images, branch or network.branches[-1]).numpy()
    if output == "probabilities" and classifier is not None:
        branch = branch or classifier.default_branch(network.branches)
        return classifier.probabilities(network.features(images, branch), branch).numpy()
    known = ["features"] + ["classes", "probabilities"] * (classifier is not None)
    raise ValueError(f"output = {output!r}: expected one of {', '.join(known)}")


def _load_pyfunc(path: str) -> Served:
    """What MLflow calls with the folder of the bundle."""
    return Served(load_bundle(path, Bundled))
