"""The project's pipelines, built from the effective parameters as they are asked for."""

from pathlib import Path

from kedro.framework.project import pipelines, settings
from kedro.pipeline import Pipeline
from kedro.utils import find_kedro_project

from ssl_kedro.core.memory import loading
from ssl_kedro.pipelines import effective_parameters
from ssl_kedro.pipelines.entrance import chosen


@loading()
def register_pipelines() -> dict[str, Pipeline]:
    """Pipelines by name: those that Kedro was asked for, all where it was not told.

    Commands that open no configuration, such as ``kedro registry list``, are shown what the base
    environment's parameters make.
    """
    if not effective_parameters.bound():
        _bind_base_environment()
    parameters = effective_parameters.current()
    # As Kedro's own find_pipelines reads it.
    names = pipelines._requested_pipelines
    tags = effective_parameters.asked_tags()
    return {
        name: found.create_pipeline(parameters.get(found.name, {}), tags)
        for name, found in chosen(names).items()
    }


def _bind_base_environment() -> None:
    """Read the base environment of the project at hand, or of the one this file lies in."""
    project = find_kedro_project(Path.cwd()) or find_kedro_project(Path(__file__).parent)
    if project is not None:
        # Making a loader binds it.
        settings.CONFIG_LOADER_CLASS(
            str(project / settings.CONF_SOURCE), env="base", **settings.CONFIG_LOADER_ARGS
        )
