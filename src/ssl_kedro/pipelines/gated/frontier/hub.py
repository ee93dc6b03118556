"""The node that writes what is to be deployed as a folder of the Hugging Face Hub."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ssl_kedro.encoders.bundle import load_bundle
from ssl_kedro.inference.hub import ModelCard, push_to_hub, write_hub_folder
from ssl_kedro.inference.planned import PlannedNetwork
from ssl_kedro.pipelines.gated.frontier.choice import pareto_front
from ssl_kedro.pipelines.gated.frontier.export import files_of
from ssl_kedro.pipelines.gated.inference.records import Deployment, Exports, HubFolder
from ssl_kedro.pipelines.gated.parameters import EncoderPipelineParameters
from ssl_kedro.pipelines.gated.recipes import OF_THE_RUN
from ssl_kedro.pipelines.gated.variants import label_of, name_of
from ssl_kedro.reporting.number_format import percent, plain, three_digits

# Sections of the parameters that a training follows, and fields in them that only say how it runs.
_RECIPE = ("seed", "encoder", "views", "expander", "train")
_IDLE = (*OF_THE_RUN, "checkpoint_every")


def export_hub(
    parameters: EncoderPipelineParameters,
    deployment: Deployment,
    exports: Exports,
    frontier_table: pd.DataFrame,
    run_manifest: Mapping[str, Any],
    folder: Path,
) -> HubFolder:
    """Card, weights, configuration and code of the network to deploy; sent where that is asked for.

    Weights are in float32, whatever precision is the fastest on this machine.

    Raises:
        ConfigError: there is nothing to choose by, or the model has no files yet.
        ExportError: the files are of another run, or the folder computes something else.
        InputError: the Hub did not take it.
    """
    files = files_of(deployment, exports)
    if deployment.network == "gated":
        why = "the network to deploy looks at each image, which plain code does not compute"
        return HubFolder(str(folder), why=why)
    source = files[f"{deployment.network}_kernel"].path
    network = load_bundle(source, PlannedNetwork)  # type: ignore[type-abstract]
    method = exported_method(parameters, deployment.model)
    licence = parameters.hub.licence
    card = model_card(deployment, method, frontier_table, run_manifest, licence)
    file = write_hub_folder(network, folder, card)
    repository = parameters.hub.repository
    return HubFolder(str(folder), file, sent=push_to_hub(folder, repository) if repository else "")


def exported_method(parameters: EncoderPipelineParameters, model: str) -> str:
    """The method that trained a model, by the name of its variant."""
    known = {**parameters.variants, **parameters.peers, **parameters.further_variants()}
    return known[name_of(model)].method


def model_card(
    deployment: Deployment,
    method: str,
    frontier_table: pd.DataFrame,
    run_manifest: Mapping[str, Any],
    licence: str,
) -> ModelCard:
    """What a reader of the network's page wants to know, from what the run has left.

    Args:
        deployment: what is to be deployed, and why.
        method: that trained it.
        frontier_table: all networks.
        run_manifest: of the run.
        licence: of the weights.
    """
    data, run = run_manifest["data"], run_manifest["parameters"]
    classes = f", {len(data['class_names'])} classes" * bool(data["class_names"])
    recipe = {name: run[name] for name in _RECIPE if name in run}
    own = run.get("methods", {}).get(method, {})
    counts = ", ".join(f"{count:,} for {part}" for part, count in data["images"].items())
    return ModelCard(
        title=f"{label_of(deployment.model)}, {deployment.network}: features of {data['source']}",
        summary=f"{deployment.why}\n\nTrained without labels. These weights are in float32; times "
        "are those of the named precision and engine, on the machine that measured them.",
        data=f"{data['source']}: images of {data['image_size']} px{classes}; {counts}.",
        recipe={"method": method, **dict(_flat(recipe)), **dict(_flat(own, f"{method}."))},
        figures={"Accuracy against time": _front(frontier_table)},
        licence=licence,
    )


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        elif value is not None and name not in _IDLE:
            yield f"{above}{name}", str(value)


def _front(table: pd.DataFrame) -> list[list[str]]:
    """Networks that none is faster and as good as, one image at a time; all without labels."""
    one = table[
        table["fastest"] & table["offered"].notna() & (table["batch"] == table["batch"].min())
    ]
    measure = next((name for name in ("linear", "knn") if one[name].notna().any()), None)
    if measure is not None:
        one = one[pareto_front(one["ms_per_image"].tolist(), one[measure].tolist())]
    header = ["Network", "Precision", "FLOPs (MACs)", "Linear", "1-NN", "ms an image", "Engine"]
    rows: Sequence[Mapping[Any, Any]] = one.sort_values("ms_per_image").to_dict("records")
    return [header] + [
        [
            f"{label_of(row['model'])}, {row['network']}",
            row["precision"],
            percent(row["cost_share"], 0),
            *(plain(row[name], 1) for name in ("linear", "knn")),
            three_digits(row["ms_per_image"]),
            row["engine"],
        ]
        for row in rows
    ]
