"""Runs on somebody's own images: planned before the graph is built, told when they end."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog

from ssl_kedro.core.errors import SettingError, UserError
from ssl_kedro.pipelines.entrance import Entrance

if TYPE_CHECKING:
    from ssl_kedro.pipelines.gated.own.prepare import Prepared

# Options of `kedro run` that leave out part of the graph: what was trained before is used then.
_SELECTING = (
    *("tags", "node_names", "from_nodes", "to_nodes", "from_inputs", "to_outputs"),
    *("namespaces", "load_versions"),
)


class PlanFileError(UserError, ValueError):
    """A plan that an earlier run has left and that cannot be read.

    Cause: ``plan_<pipeline>.yml`` in the run's folder was changed or is damaged.
    Remedy: Remove the file, and run without ``--tags`` and ``train.resume`` to plan anew.
    """


class PlanningHook:
    """Plans runs that ask for it, keeps the plan with the results, and says what to do with these.

    A run that continues an earlier one, or does a part, takes the plan that lies in its room.
    """

    def __init__(self) -> None:
        self._prepared: dict[str, Prepared] = {}
        self._room = Path()
        self._command: dict[str, Any] = {}

    def changes(
        self, found: Entrance, values: Mapping[str, Any], loader: Any, command: click.Context | None
    ) -> dict[str, Any]:
        """Parameters of a pipeline that are otherwise than files and command line have them.

        Args:
            found: the pipeline.
            values: its parameters.
            loader: of the configuration; tells the room and what the command line gives.
            command: the ``kedro run`` being executed, None for others.

        Raises:
            UserError: images that cannot be used, or a plan that cannot be read.
        """
        hours = (values.get("own") or {}).get("hours")
        if hours is None or command is None or command.info_name != "run":
            return {}
        self._room = Path(loader.room())
        place = self._file(found.name)
        resumed = (values.get("train") or {}).get("resume") is True
        if resumed or any(command.params.get(option) for option in _SELECTING):
            return _left(place, found.name) if place.exists() else {}
        from ssl_kedro.pipelines.gated.own.prepare import prepared  # noqa: PLC0415  loads torch

        began = time.monotonic()
        given = (loader.runtime_params or {}).get(found.name, {})
        try:
            made = prepared(
                found.name, values, given, found.check, lambda: time.monotonic() - began, _tell
            )
        except SettingError as error:
            error.stand_under(found.name)
            raise
        self._prepared[found.name] = made
        self._command = {"env": loader.env, "run": (loader.runtime_params or {}).get("run")}
        for line in made.lines:
            _tell(line)
        return made.changes

    def seconds(self) -> dict[str, float]:
        """What was planned for the run, by stage; empty where nothing was."""
        return {k: v for made in self._prepared.values() for k, v in made.plan.seconds.items()}

    def _file(self, pipeline: str) -> Path:
        return self._room / f"plan_{pipeline}.yml"

    @hook_impl
    def before_pipeline_run(self) -> None:
        """Leave the plan and a sheet of the images in the room, which is this run's by now."""
        for name, made in self._prepared.items():
            _write_plan(self._file(name), name, made, self._command)
            _write_sheet(self._room / "08_reporting" / name / "images.jpg", made)
            _tell(
                f"Plan: {self._file(name)}, to repeat with: kedro run --config {self._file(name)}"
            )
            _tell(f"A sheet of the images: {self._room}/08_reporting/{name}/images.jpg")

    @hook_impl
    def after_pipeline_run(self, catalog: DataCatalog) -> None:
        """Say where the encoder lies, how it is loaded, and what to deploy."""
        for name, made in self._prepared.items():
            from ssl_kedro.pipelines.gated.report.use_section import (  # noqa: PLC0415  loads torch
                deploy_sentence,
            )

            encoder: Any = catalog.get(f"{name}.{made.trained}.encoder")
            place = encoder._describe()["filepath"]
            _tell(f"\nThe encoder, one for every budget: {place}")
            _tell(
                "Load it: import ssl_kedro as ssl; "
                f"ssl.load_encoder({str(place)!r}).gated(images, budget=0.3)"
            )
            _tell(deploy_sentence(catalog.load(f"{name}.deployment")))
        self._prepared.clear()


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _left(place: Path, pipeline: str) -> dict[str, Any]:
    """What an earlier run's plan has set.

    Raises:
        PlanFileError: the file is damaged.
    """
    try:
        found: dict[str, Any] = yaml.safe_load(place.read_text(encoding="utf-8"))
        return {**found["run"]["params"][pipeline]}
    except (yaml.YAMLError, OSError, LookupError, TypeError) as error:
        raise PlanFileError(
            f"{place} cannot be read as the plan of an earlier run; remove it, or run without "
            "--tags and resume to plan anew"
        ) from error


def _write_plan(place: Path, pipeline: str, made: "Prepared", command: Mapping[str, Any]) -> None:
    """The plan as a file that ``kedro run --config`` takes."""
    from ssl_kedro.core.files import replaced_file  # noqa: PLC0415  loads NumPy

    run = {} if command["run"] is None else {"run": command["run"]}
    settled = {**made.changes, "own": {**made.changes.get("own", {}), "hours": None}}
    told = {"pipeline": pipeline, "env": command["env"], "params": {**run, pipeline: settled}}
    text = yaml.safe_dump({"run": told}, sort_keys=False, allow_unicode=True)
    comment = "".join(f"# {line}\n" for line in made.lines)
    with replaced_file(place) as temporary:
        temporary.write_text(f"# kedro run --config {place}\n{comment}{text}", encoding="utf-8")


def _write_sheet(place: Path, made: "Prepared") -> None:
    from PIL import Image  # noqa: PLC0415

    from ssl_kedro.core.files import replaced_file  # noqa: PLC0415
    from ssl_kedro.images.survey import contact_sheet  # noqa: PLC0415

    with replaced_file(place) as temporary:
        Image.fromarray(contact_sheet(made.survey.pictures)).save(temporary, "JPEG", quality=85)
