"""Where runs are tracked: ``conf/<env>/mlflow.yml``, checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ssl_kedro.core.errors import UserError

SQLITE_PREFIX = "sqlite:///"


class TrackingConfigError(UserError, ValueError):
    """A configuration of tracking that cannot be used."""


class TrackingConfig(BaseModel):
    """Content of ``mlflow.yml``.

    Args:
        tracking_uri: of the MLflow store: ``http(s)://...``, ``sqlite:///...`` or another
            database; a relative sqlite path is below the project folder.
        experiment: name; created where it is absent.
        artifact_location: folder below the project for the files of a new experiment, or a
            URI; used with sqlite stores, since a server decides for itself.
        timeout_s: seconds after which a server counts as down.
        enabled: whether anything is tracked.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tracking_uri: Annotated[str, Field(min_length=1)]
    experiment: Annotated[str, Field(min_length=1)]
    artifact_location: Annotated[str, Field(min_length=1)] = "mlruns"
    timeout_s: Annotated[float, Field(gt=0, le=600, allow_inf_nan=False)] = 5.0
    enabled: bool = True

    def store_uri(self, project_path: Path) -> str:
        """The tracking URI with a relative sqlite path made absolute."""
        if sqlite_file(self.tracking_uri) is None:
            return self.tracking_uri
        path = self.tracking_uri.removeprefix(SQLITE_PREFIX)
        return SQLITE_PREFIX + (project_path.absolute() / path).as_posix()

    def artifact_uri(self, project_path: Path) -> str | None:
        """Where a new experiment keeps its files; None leaves it to the server."""
        if not self.tracking_uri.startswith("sqlite:"):
            return None
        if "://" in self.artifact_location:
            return self.artifact_location
        return (project_path / self.artifact_location).absolute().as_uri()


def sqlite_file(uri: str) -> Path | None:
    """File of a sqlite store; None for a database in memory and for every other store."""
    path, _, _ = uri.removeprefix(SQLITE_PREFIX).partition("?")
    if not uri.startswith(SQLITE_PREFIX) or path in {"", ":memory:"}:
        return None
    return Path(path)


def parsed_tracking_config(values: Mapping[str, Any]) -> TrackingConfig:
    """Checked configuration.

    Raises:
        TrackingConfigError: one line for each fault: key, value, what is allowed.
    """
    try:
        return TrackingConfig.model_validate(dict(values))
    except ValidationError as error:
        lines = [f"  - {_explained(item)}" for item in error.errors()]
        raise TrackingConfigError(
            "mlflow.yml cannot be used; nothing was started:\n" + "\n".join(lines)
        ) from None


def _explained(item: Any) -> str:
    name = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        known = ", ".join(TrackingConfig.model_fields)
        return f"{name}: there is no such key; known keys: {known}"
    if item["type"] == "missing":
        return f"{name}: this key is missing"
    return f"{name} = {item['input']!r}: {item['msg'][0].lower()}{item['msg'][1:]}"
