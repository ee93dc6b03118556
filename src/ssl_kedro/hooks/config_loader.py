"""Kedro's configuration loader, with parameters inside the catalog."""

from __future__ import annotations

from typing import Any

from kedro.config import MissingConfigException, OmegaConfigLoader
from omegaconf.resolvers import oc

from ssl_kedro.pipelines import effective_parameters


class ParameterAwareConfigLoader(OmegaConfigLoader):
    """OmegaConfigLoader whose catalog may say ``${parameter:dual_gating.data}``.

    It also lets the pipeline registry see the effective parameters, without a hook: Kedro-Viz
    reads a project with all hooks switched off.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        resolvers = {
            "oc.env": oc.env,
            "parameter": effective_parameters.lookup,
            **(options.pop("custom_resolvers", None) or {}),
        }
        super().__init__(*arguments, custom_resolvers=resolvers, **options)
        effective_parameters.bind(self._parameters)

    def _parameters(self) -> dict[str, Any]:
        try:
            return dict(self["parameters"])
        except MissingConfigException:
            return {}
