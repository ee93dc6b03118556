"""Nodes of chapter 4 for using a trained model: prediction and export."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from ssl_kedro.core.config import ConfigError
from ssl_kedro.encoders.saliency_model import SaliencyModel
from ssl_kedro.pipelines.saliency360.parameters import Saliency360Parameters
from ssl_kedro.saliency.predict.files import write_predictions
from ssl_kedro.saliency.predict.onnx_export import export_onnx
from ssl_kedro.saliency.store import PanoramaStore

Json = dict[str, Any]
# Real panoramas that an exported file is compared on, beside noise.
_COMPARED = 4


def predict(parameters: Saliency360Parameters, model: SaliencyModel, folder: Path) -> Json:
    """Maps, heat maps and overlays of a user's image, folder or video.

    Raises:
        ConfigError: no input is named.
        PredictionInputError: the input cannot be predicted for.
    """
    if parameters.predict.input is None:
        raise ConfigError(
            "predict.input", None, "the path of a panorama, a video, or a folder of them"
        )
    config = dataclasses.replace(parameters.predict_config, output=str(folder))
    rows = write_predictions(model, config)
    return {"folder": str(folder), "files": [dataclasses.asdict(row) for row in rows]}


def export(
    parameters: Saliency360Parameters, model: SaliencyModel, store: PanoramaStore, path: Path
) -> Json:
    """One ONNX file of encoder and decoder, compared with PyTorch on noise and real panoramas."""
    images = np.array(store.images()[:_COMPARED])
    report = export_onnx(model, path, *parameters.image.size, images=images)
    return {**dataclasses.asdict(report), "path": str(report.path)}
