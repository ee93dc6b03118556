"""Parameters checked before anything runs, and a graph that follows them."""

from __future__ import annotations

import click
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines

from ssl_kedro.core.memory import keep_freed_memory
from ssl_kedro.pipelines import effective_parameters
from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters
from ssl_kedro.pipelines.dynamic_channels.parameters import DynamicChannelsParameters
from ssl_kedro.pipelines.parameters import PipelineParameters, parsed
from ssl_kedro.pipelines.retrieval_eval.parameters import RetrievalEvalParameters
from ssl_kedro.pipelines.saliency360.parameters import Saliency360Parameters

PARAMETER_MODELS: dict[str, type[PipelineParameters]] = {
    "dual_gating": DualGatingParameters,
    "dynamic_channels": DynamicChannelsParameters,
    "retrieval_eval": RetrievalEvalParameters,
    "saliency360": Saliency360Parameters,
}


def _command_line_tags() -> tuple[str, ...]:
    """Tags of the ``kedro run`` that is being executed.

    Kedro tells hooks of them only when the graph is fixed. Other commands and sessions started
    from Python have none.
    """
    command = click.get_current_context(silent=True)
    if command is None or "tags" not in command.params:
        return ()
    given = command.params["tags"] or ()
    return tuple(given.split(",") if isinstance(given, str) else given)


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
        effective_parameters.ask_for(_command_line_tags())
        # Kedro reads the registry before the configuration is known; told again, it builds
        # the graph from the effective budgets and the parts that are asked for.
        pipelines.configure("ssl_kedro.pipeline_registry")
        keep_freed_memory()
