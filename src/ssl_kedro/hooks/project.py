"""Parameters checked before anything runs, and a graph that follows them."""

from __future__ import annotations

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines

from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters
from ssl_kedro.pipelines.parameters import PipelineParameters, parsed

PARAMETER_MODELS: dict[str, type[PipelineParameters]] = {"dual_gating": DualGatingParameters}


class ParameterHook:
    """Checks the effective parameters, then has the graph built from them."""

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Runs once the environment's files and the command line's parameters are merged.

        Raises:
            ParameterError: naming each faulty key, its value and what is allowed.
        """
        parameters = context.config_loader["parameters"]
        for key, model in PARAMETER_MODELS.items():
            parsed(model, key, parameters.get(key, {}))
        # Kedro reads the registry before the configuration is known; told again, it builds
        # the graph from the effective budgets.
        pipelines.configure("ssl_kedro.pipeline_registry")
