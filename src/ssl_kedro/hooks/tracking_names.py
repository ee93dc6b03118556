"""What tracking reads from Kedro's catalog, and the names and values it has in MLflow."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

from pydantic_core import to_jsonable_python

from ssl_kedro.hooks.catalog import layers
from ssl_kedro.hooks.flat_parameters import flattened, key_of, leaves
from ssl_kedro.reporting.manifest import git_commit

TAG_VALUE_LIMIT = 5000
DIGEST_LIMIT = 36
HEADLINE_LIMIT = 20


class Place(NamedTuple):
    """What a dotted name says about where its values belong.

    Args:
        pipeline: first component, "" for a name without a namespace.
        model: further components but the last, "budget_30.vicreg_gating"; "" for what belongs to
            the pipeline as a whole.
    """

    pipeline: str
    model: str

    @classmethod
    def of(cls, name: str) -> "Place":
        """Place of a dataset such as "dual_gating.budget_30.vicreg_gating.epoch_log"."""
        pipeline, _, model = name.rpartition(".")[0].partition(".")
        return cls(pipeline, model)


def numbers(values: Any, prefix: str = "") -> dict[str, float]:
    """The numbers among nested values, by dotted keys; a list of numbers counts as their mean."""
    found = {}
    for key, plain in leaves(values):
        several = plain if isinstance(plain, list) else [plain]
        if several and all(isinstance(one, Real) for one in several):
            found[key_of(f"{prefix}{key}")] = float(sum(several)) / len(several)
    return found


def headline(metrics: Mapping[str, float], patterns: Sequence[str]) -> dict[str, float]:
    """The metrics that match the first of some patterns, then those of the next; 20 at most."""
    found = [key for one in patterns for key in metrics if fnmatchcase(key, one)]
    return {key: metrics[key] for key in list(dict.fromkeys(found))[:HEADLINE_LIMIT]}


def of_all_models(key: str) -> str:
    """Name of a metric among those of several models: MLflow shows a section for each quantity.

    "dual.budget_30.gated.knn_top1" becomes "knn_top1/dual.budget_30.gated".
    """
    model, _, quantity = key.rpartition(".")
    return f"{quantity}/{model}" if model else quantity


def of_one_model(key: str) -> str:
    """Name of a metric in a model's own run: "branches.gated.knn_top1" becomes "gated/knn_top1"."""
    return "/".join(re.sub(r"^(branches|rankings)\.", "", key).rsplit(".", 1))


def run_name(run_params: Mapping[str, Any]) -> str:
    """Pipelines, room and start: "dual_gating cifar10/night 2026-01-31 23:59"."""
    run = (run_params.get("runtime_params") or {}).get("run")
    room = run_params.get("env") or "base"
    started = f"{datetime.now().astimezone():%Y-%m-%d %H:%M}"
    pipelines = "+".join(run_params.get("pipeline_names") or ["default"])
    return f"{pipelines} {room if run is None else f'{room}/{run}'} {started}"


def run_tags(run_params: Mapping[str, Any]) -> dict[str, str]:
    """What Kedro says of a run, and the commit of the project."""
    commit, _, changes = (git_commit() or "").partition("+")
    # Kedro has a class's name, or an object's text: "<kedro... .ThreadRunner object at 0x7f>".
    runner = str(run_params.get("runner") or "").partition(" object at ")[0].rpartition(".")[2]
    tags = {
        "kedro.env": run_params.get("env") or "base",
        "kedro.pipelines": ",".join(run_params.get("pipeline_names") or ["__default__"]),
        "kedro.run_id": run_params.get("run_id"),
        "kedro.runner": runner,
        "mlflow.source.git.commit": commit,
        "mlflow.source.git.dirty": "true" if changes else "",
    }
    return {key: str(value)[:TAG_VALUE_LIMIT] for key, value in tags.items() if value}


def bound_constants(function: Any) -> tuple[str, dict[str, str]]:
    """What the graph has bound to a node's function: a label, if it has one, and its values.

    Of a training: "dual_gating at 30%, seed 0", with method, budget and seed.
    """
    found, label = dict[str, str](), ""
    for name, value in getattr(function, "keywords", {}).items():
        label = getattr(value, "label", label)
        found |= flattened(value) or flattened(value, name)
    return label, found


def dataset_inputs(summary: Any) -> dict[tuple[str, str], str]:
    """Contexts that data sets were used in, by name and digest, from the summary of a run's data.

    It has the fingerprints of the parts of one source, or a fingerprint for each of several.
    """
    plain, found = to_jsonable_python(summary), dict[tuple[str, str], str]()
    parts = [(plain["source"], *part) for part in plain.get("fingerprints", {}).items()]
    for name, context, digest in parts or [
        (name, ", ".join(one.get("splits", ["eval"])), one["fingerprint"])
        for name, one in plain.items()
    ]:
        if digest is not None:
            key = (name, digest[:DIGEST_LIMIT])
            found[key] = f"{found[key]}, {context}" if key in found else context
    return found


def tracking_kind(dataset: Any) -> Any:
    """Value of ``metadata: {mlflow: ...}``; a wrapper's own metadata come first."""
    every = (getattr(layer, "metadata", None) or {} for layer in layers(dataset))
    return next((found["mlflow"] for found in every if "mlflow" in found), None)


def local_path(dataset: Any) -> Path | None:
    """Where a dataset keeps its file, None for one that has no file on this machine."""
    *_, inner = layers(dataset)
    if getattr(inner, "_protocol", "file") not in {"file", "local"}:
        return None
    versioned = getattr(inner, "_get_load_path", None)
    found = versioned() if callable(versioned) else getattr(inner, "_filepath", None)
    return Path(found) if found and Path(found).exists() else None
