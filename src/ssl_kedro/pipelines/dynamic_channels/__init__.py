"""Chapter 5: SimSiam with channel gates under a budget."""

from collections.abc import Mapping
from typing import Any

from kedro.pipeline import Pipeline

from ssl_kedro.pipelines.dynamic_channels import pipeline
from ssl_kedro.pipelines.dynamic_channels.parameters import DynamicChannelsParameters

__all__ = ["DynamicChannelsParameters", "create_pipeline"]


def create_pipeline(parameters: Mapping[str, Any]) -> Pipeline:
    """The pipeline's graph for parameters as they stand in the files."""
    return pipeline.create_pipeline(DynamicChannelsParameters.model_validate(dict(parameters)))
