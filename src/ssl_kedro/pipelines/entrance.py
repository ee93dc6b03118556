"""What makes a folder a pipeline (a declaration in it, found by name), and its nodes' arguments."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial, update_wrapper
from typing import TYPE_CHECKING, Any

from ssl_kedro.core.config import ConfigError
from ssl_kedro.core.plugins import module_names

if TYPE_CHECKING:
    from kedro.pipeline import Pipeline

    from ssl_kedro.pipelines.parameters import PipelineParameters


@dataclass(frozen=True)
class Entrance:
    """A pipeline, of which nothing is loaded before it is built.

    A folder of ``ssl_kedro.pipelines`` is a pipeline if its ``__init__.py`` says
    ``PIPELINE = Entrance(__name__, "MyParameters")``. Its ``parameters.py`` defines that model, its
    ``pipeline.py`` has ``create_pipeline(parameters, asked)``. A folder of another package is one
    by an entry point of the group "ssl_kedro.pipelines".

    Args:
        package: full name of the folder; its last part names the pipeline and its parameters.
        parameters: name of the pipeline's model of parameters.
        default: what runs where no pipeline is named.
    """

    package: str
    parameters: str
    default: bool = False

    @property
    def name(self) -> str:
        """What ``--pipeline`` takes, and the key of the parameters."""
        return self.package.rpartition(".")[-1]

    def check(self, parameters: Any) -> PipelineParameters:
        """The pipeline's parameters; values that it cannot be run with are refused.

        Raises:
            ParameterError: naming each faulty key, its value and what is allowed.
        """
        from ssl_kedro.pipelines.parameters import parsed  # noqa: PLC0415  loads torch

        return parsed(self._model, self.name, parameters)

    def create_pipeline(
        self, parameters: Mapping[str, Any], asked: Collection[str] = ()
    ) -> Pipeline:
        """The pipeline's graph.

        Args:
            parameters: values below the pipeline's key, as they stand in the files.
            asked: tags of the run at hand, which may add parts of a chapter or leave some out.
        """
        graph = importlib.import_module(f"{self.package}.pipeline")
        made: Pipeline = graph.create_pipeline(
            self._model.model_validate(dict(parameters)), tuple(asked)
        )
        return made

    @property
    def _model(self) -> type[PipelineParameters]:
        module = importlib.import_module(f"{self.package}.parameters")
        model: type[PipelineParameters] = getattr(module, self.parameters)
        return model


def entrances() -> dict[str, Entrance]:
    """All pipelines by name; where two have the same, ours."""
    found: dict[str, Entrance] = {}
    for name in module_names("ssl_kedro.pipelines"):
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            declared = getattr(importlib.import_module(name), "PIPELINE", None)
            if isinstance(declared, Entrance):
                found.setdefault(declared.name, declared)
    return found


def chosen(names: Collection[str] | None) -> dict[str, Entrance]:
    """Pipelines of these names, "__default__" among them; all for None."""
    known = entrances()
    known["__default__"] = next(found for found in known.values() if found.default)
    return {name: found for name, found in known.items() if names is None or name in names}


def refuse_others(tags: Collection[str], asked: Collection[str], known: Collection[str]) -> None:
    """Refuse tags of a pipeline beside some that do something else than its run.

    Args:
        tags: that are asked for, and can only stand alone.
        asked: all tags of the run.
        known: tags of the pipeline.

    Raises:
        ConfigError: naming them.
    """
    if others := sorted({*asked} & {*known} - {*tags}):
        expected = f"{' and '.join(tags)} without other tags"
        raise ConfigError("--tags", ",".join([*tags, *others]), expected)


def given(function: Callable[..., Any], **constants: Any) -> Callable[..., Any]:
    """Function with constants bound, under its own name."""
    return update_wrapper(partial(function, **constants), function)


def nested(found: Mapping[str, Any]) -> dict[str, Any]:
    """Values that a node gathers under names such as "evaluations.facades.pixels", part by part."""
    made: dict[str, Any] = {}
    for name, value in found.items():
        *parts, last = name.split(".")
        place = made
        for part in parts:
            place = place.setdefault(part, {})
        place[last] = value
    return made
