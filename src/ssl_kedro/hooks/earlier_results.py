"""What a part of a pipeline takes from an earlier run has to be there before it starts."""

from __future__ import annotations

from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from ssl_kedro.core.errors import UserError, first_few


class EarlierResultsError(UserError, ValueError):
    """A run by tag or node needs results that no earlier run has left."""


class EarlierResultsHook:
    """Looks for results that a part of the graph reads and that another part makes.

    Kedro finds out when a node loads them, which may be after hours of training.
    """

    @hook_impl
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> None:
        """Runs before the first node.

        Raises:
            EarlierResultsError: naming what is missing and what makes it.
        """
        names = run_params.get("pipeline_names") or ["__default__"]
        whole = sum((pipelines[name] for name in names), Pipeline([]))
        needed = pipeline.inputs() & whole.all_outputs()
        missing = sorted(name for name in needed if not catalog.exists(name))
        if not missing:
            return
        makers = [node.name for node in whole.only_nodes_with_outputs(*missing).nodes]
        raise EarlierResultsError(
            f"this part of the pipeline reads results that no earlier run has left here: "
            f"{first_few(missing)}. They are made by {first_few(makers)}; "
            "run the pipeline without --tags first, or name the tags of these nodes as well"
        )
