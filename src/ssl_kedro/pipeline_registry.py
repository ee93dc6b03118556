"""The project's pipelines, built from the effective parameters."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from ssl_kedro.pipelines import (
    dual_gating,
    dynamic_channels,
    effective_parameters,
    retrieval_eval,
    saliency360,
)


def register_pipelines() -> dict[str, Pipeline]:
    """Pipelines by name; budgets come from the parameters where they are known already."""
    parameters = effective_parameters.current()
    asked = effective_parameters.asked_tags()
    registered = {
        "dual_gating": dual_gating.create_pipeline(parameters.get("dual_gating", {}), asked),
        "dynamic_channels": dynamic_channels.create_pipeline(
            parameters.get("dynamic_channels", {}), asked
        ),
        "retrieval_eval": retrieval_eval.create_pipeline(parameters.get("retrieval_eval", {})),
        "saliency360": saliency360.create_pipeline(parameters.get("saliency360", {}), asked),
    }
    registered["__default__"] = registered["dual_gating"]
    return registered
