"""Chapter 3: frozen encoders as descriptors for instance retrieval."""

from collections.abc import Mapping
from typing import Any

from kedro.pipeline import Pipeline

from ssl_kedro.pipelines.retrieval_eval import pipeline
from ssl_kedro.pipelines.retrieval_eval.parameters import RetrievalEvalParameters

__all__ = ["RetrievalEvalParameters", "create_pipeline"]


def create_pipeline(parameters: Mapping[str, Any]) -> Pipeline:
    """The pipeline's graph for parameters as they stand in the files."""
    return pipeline.create_pipeline(RetrievalEvalParameters.model_validate(dict(parameters)))
