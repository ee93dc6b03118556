"""Chapter 5: SimSiam with channel gates under a budget."""

from collections.abc import Collection, Mapping
from typing import Any

from kedro.pipeline import Pipeline

from ssl_kedro.inference.onnx_file import check_export_installed
from ssl_kedro.pipelines.dynamic_channels import pipeline
from ssl_kedro.pipelines.dynamic_channels.parameters import DynamicChannelsParameters

__all__ = ["DynamicChannelsParameters", "create_pipeline"]


def create_pipeline(parameters: Mapping[str, Any], asked: Collection[str] = ()) -> Pipeline:
    """The pipeline's graph for parameters as they stand in the files.

    Args:
        parameters: values below the pipeline's key.
        asked: tags of the run at hand; "export" adds the nodes that write compact networks.
    """
    exported = "export" in asked
    if exported:
        check_export_installed()
    checked = DynamicChannelsParameters.model_validate(dict(parameters))
    return pipeline.create_pipeline(checked, exported=exported)
