"""Chapter 6: one encoder, trained once, usable dense and gated."""

from collections.abc import Collection, Mapping
from typing import Any

from kedro.pipeline import Pipeline

from ssl_kedro.inference.onnx_file import check_export_installed
from ssl_kedro.pipelines.dual_gating import pipeline
from ssl_kedro.pipelines.dual_gating.parameters import ALL_PARTS, DualGatingParameters

__all__ = ["DualGatingParameters", "create_pipeline"]


def create_pipeline(parameters: Mapping[str, Any], asked: Collection[str] = ()) -> Pipeline:
    """The pipeline's graph for parameters as they stand in the files.

    Args:
        parameters: values below the pipeline's key.
        asked: tags of the run at hand. Where they name parts of the chapter, the graph holds
            those and nothing else; otherwise the parts that the parameters name. "export"
            adds the nodes that write compact networks to files.
    """
    checked = DualGatingParameters.model_validate(dict(parameters))
    named = tuple(part for part in ALL_PARTS if part in asked)
    exported = "export" in asked
    if exported:
        check_export_installed()
    return pipeline.create_pipeline(checked, named or checked.parts, exported=exported)
