"""A run that goes on from an earlier one fails before it starts where that has left too little."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from ssl_kedro.core.config import ConfigError
from ssl_kedro.pipelines import inference_nodes
from ssl_kedro.pipelines.inference_graph import EXPORT, MEASURE

_PIPELINES = ("dual_gating", "dynamic_channels")
# What no run leaves behind.
_GIVEN = ("_images", ".checkpoint", ".epoch_log", ".export_folder")
_SHOWN = 3


class EarlierResultsError(RuntimeError):
    """Results that an earlier run should have left are not there."""


class EarlierResultsHook:
    """Checks ``--tags export`` and ``--tags inference`` before any file is written."""

    @hook_impl
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> None:
        """Runs when the nodes of the run are chosen.

        Raises:
            ConfigError: an export of no model.
            EarlierResultsError: an input is there neither from an earlier run nor from this one.
        """
        continued = [tag for tag in (EXPORT, MEASURE) if tag in (run_params.get("tags") or ())]
        outputs = pipeline.all_outputs()
        for key in _PIPELINES:
            if continued and any(name.startswith(f"{key}.") for name in outputs):
                if EXPORT in continued:
                    _check_models(key, pipeline)
                _check_inputs(key, continued[0], pipeline.inputs(), catalog)


def _check_models(key: str, pipeline: Pipeline) -> None:
    if not any(
        node.func is inference_nodes.export and str(node.namespace).startswith(f"{key}.")
        for node in pipeline.nodes
    ):
        raise ConfigError(
            f"{key}.inference.models", [], 'the models to export, or "all"; none is named'
        )


def _check_inputs(key: str, tag: str, inputs: Collection[str], catalog: DataCatalog) -> None:
    missing = [
        name
        for name in sorted(inputs)
        if name.startswith(f"{key}.") and not name.endswith(_GIVEN) and not catalog.exists(name)
    ]
    if missing:
        shown = ", ".join(missing[:_SHOWN])
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise EarlierResultsError(
            f"--tags {tag} goes on from an earlier run, which has not left {shown}{more}. Run "
            f"kedro run --pipeline {key} with the same parameters first, or name what was run by "
            f"{key}.budgets, {key}.inference.models"
            + (f" and {key}.parts" if key == "dual_gating" else "")
        )
