"""Chapter 6: one encoder, trained once, usable dense and gated."""

from collections.abc import Mapping
from typing import Any

from kedro.pipeline import Pipeline

from ssl_kedro.pipelines.dual_gating import pipeline
from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters

__all__ = ["DualGatingParameters", "create_pipeline"]


def create_pipeline(parameters: Mapping[str, Any]) -> Pipeline:
    """The pipeline's graph for parameters as they stand in the files."""
    return pipeline.create_pipeline(DualGatingParameters.model_validate(dict(parameters)))
