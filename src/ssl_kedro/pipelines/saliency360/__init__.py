"""Chapter 4: contrastive pre-training on panoramas and a light decoder for where people look."""

from collections.abc import Mapping
from typing import Any

from kedro.pipeline import Pipeline

from ssl_kedro.pipelines.saliency360 import pipeline
from ssl_kedro.pipelines.saliency360.parameters import Saliency360Parameters

__all__ = ["Saliency360Parameters", "create_pipeline"]


def create_pipeline(parameters: Mapping[str, Any], asked: tuple[str, ...] = ()) -> Pipeline:
    """The pipeline's graph for parameters as they stand in the files.

    Args:
        parameters: of the pipeline.
        asked: tags of the run; ablations are made where their tag is among them.
    """
    return pipeline.create_pipeline(Saliency360Parameters.model_validate(dict(parameters)), asked)
