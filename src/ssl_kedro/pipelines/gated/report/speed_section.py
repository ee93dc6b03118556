"""Report sections: what gating gains in time, and exported files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ssl_kedro.pipelines.gated.report.speed_figure import time_against_cost
from ssl_kedro.pipelines.gated.report.speed_numbers import NETWORKS, flat_accuracies
from ssl_kedro.pipelines.gated.variants import label_of
from ssl_kedro.reporting.html import Picture, Section, Table
from ssl_kedro.reporting.number_format import DASH, counted, percent, plain, signed, three_digits

Json = Mapping[str, Any]
ENGINE_NAMES = {
    "native": "C++",
    "openvino": "OpenVINO",
    "onnxruntime": "ONNX Runtime",
    "compiled": "compiled",
    "eager": "PyTorch",
}
_MEASURES = {"linear_top1": "linear", "knn_top1": "1\N{NON-BREAKING HYPHEN}NN"}
_TIMES = "\N{MULTIPLICATION SIGN}"


def inference_sections(models: Json, inference: Json, table: pd.DataFrame) -> list[Section]:
    """One section with times, accuracies and forced gates; none where nothing was measured.

    Args:
        models: evaluation of every model.
        inference: what was measured, by model.
        table: from :func:`~ssl_kedro.pipelines.gated.report.speed_numbers.inference_frame`.
    """
    if not inference:
        return []
    return [
        Section(
            "Inference: FLOPs and time",
            (
                _verdict(inference),
                *_static_verdict(inference),
                *_static_reasons(inference),
                _how(inference),
            ),
            tables=[_time_table(table), _forced_table(models, inference)],
            pictures=[
                Picture(
                    time_against_cost(table),
                    "Time of gated and static networks over their cost, both as shares of the "
                    "dense network's, one panel a batch size",
                )
            ],
        )
    ]


def export_section(exports: Json, chosen: float | None = None) -> Section:
    """Exported files with the difference that the check after writing found.

    Args:
        exports: checks of the files, by model.
        chosen: budget of the operating point, whose row is marked.
    """
    rows: list[list[str]] = []
    breaks: list[int] = []
    for key, export in exports.items():
        marked = chosen is not None and key.endswith(f".budget_{round(100 * chosen):02d}")
        breaks.append(len(rows))
        for name, file in export["files"].items():
            rows.append(
                [
                    label_of(key) + (" (operating point)" if marked else ""),
                    name,
                    "/".join(Path(file["path"]).parts[-3:]),
                    counted(file["bytes"]),
                    counted(file["images"]),
                    f"{file['difference']:.1e}",
                    three_digits(file["largest"]),
                ]
            )
    columns = ["Model", "Network", "File", "Bytes", "Images", "Difference", "Largest feature"]
    caption = (
        "Difference: largest absolute difference of a feature between the file, read again, and "
        "the network, over noise and evaluation images. “compact” is a folder of safetensors and "
        "JSON with gates, “gated” the same as ONNX, “static” the plain narrow network as ONNX. "
        "Whole paths: exports.json."
    )
    table = Table(columns, rows, left=3, breaks=breaks[1:], caption=caption)
    return Section("Exported files", tables=[table])


def _verdict(inference: Json) -> str:
    """The gain at each batch size in a sentence; models may have been timed at different ones."""
    parts = []
    for batch in sorted(
        {batch for found in inference.values() for batch in found["batches"]}, key=int
    ):
        timed = {
            key: found["batches"][batch]
            for key, found in inference.items()
            if batch in found["batches"]
        }
        ratios = {key: compared["ratio"] for key, compared in timed.items()}
        least, most = min(ratios.values()), max(ratios.values())
        best = max(ratios, key=ratios.__getitem__)
        span = f"{least:.2f} to {most:.2f}" if len(ratios) > 1 else f"{most:.2f}"
        fallen = sum(compared["chosen"] == "dense" for compared in timed.values())
        said = f" ({fallen} of {len(ratios)} fall back to the dense network)" if fallen else ""
        among = (
            f" (of {len(timed)} of {len(inference)} models)" if len(timed) < len(inference) else ""
        )
        parts.append(
            f"{span} times as fast as the best dense engine at batch {batch}{among}"
            + (f", most for {label_of(best)}" if len(ratios) > 1 and most > 1 else "")
            + said
        )
    return "Gated encoders are " + "; ".join(parts) + "."


def _static_verdict(inference: Json) -> list[str]:
    """How the plain narrow networks compare by accuracy; nothing without labels."""
    points = [
        100 * (of["static"]["knn_top1"] - of["gated"]["knn_top1"])
        for of in (found["accuracies"] for found in inference.values())
        if of.get("static")
    ]
    if not points:
        return []
    span = f"{signed(min(points), 1)} to {signed(max(points), 1)}"
    if len(points) == 1:
        span = signed(points[0], 1)
    return [
        f"Static networks, which need no gates, differ by {span} points of 1-NN from the gated "
        "ones of the same budget."
    ]


def _how(inference: Json) -> str:
    first = next(iter(inference.values()))
    compared = next(iter(first["batches"].values()))
    threads = compared["threads"]
    reasons = {
        timing["name"]: timing["reason"]
        for found in inference.values()
        for batch in found["batches"].values()
        for network in batch["networks"].values()
        for timing in network["timings"]
        if timing["ms"] is None
    }
    asked = [timing["name"] for timing in compared["networks"]["gated"]["timings"]]
    left_out = [name for name in ENGINE_NAMES if name not in asked]
    text = (
        f"Measured on this machine's CPU with {counted(threads)} "
        f"thread{'s' if threads > 1 else ''} at "
        f"{first['image_size']} px: each network on its fastest engine, all three in turns, "
        "medians. Times depend on the machine, and on what else it does. Engines that raced: "
        f"{', '.join(ENGINE_NAMES[name] for name in asked if name not in reasons)}."
    )
    if reasons:
        told = "; ".join(f"{ENGINE_NAMES[name]} ({why})" for name, why in reasons.items())
        text += f" Not available here: {told}."
    if left_out:
        text += f" Not asked for (inference.engines): {', '.join(left_out)}."
    return text


def _static_reasons(inference: Json) -> list[str]:
    return [
        f"{label_of(key)} has no static network: {found['static']['reason']}."
        for key, found in inference.items()
        if found["static"]["reason"]
    ]


def _time_table(table: pd.DataFrame) -> Table:
    batches = sorted(table["batch"].unique())
    rows: list[list[str]] = []
    breaks: list[int] = []
    measures = [name for name in _MEASURES if table[name].notna().any()]
    for _, of_model in table.groupby("model", sort=False):
        breaks.append(len(rows))
        for network in NETWORKS:
            same = of_model[of_model["network"] == network].set_index("batch")
            if not same.empty:
                rows.append(_time_row(same, batches, measures))
    columns = ["Model", "Network", "FLOPs (%)", *(_MEASURES[name] for name in measures)]
    columns += ["engine", "ms/image", "images/s", "gain"] * len(batches)
    groups = [("", 3), *([("Top-1 (%)", len(measures))] if measures else [])]
    groups += [(f"{batch} image{'s' if batch > 1 else ''} at a time", 4) for batch in batches]
    caption = (
        "FLOPs: MACs as a share of the dense network's. Dense: the encoder's dense branch, or the "
        "ungated baseline where it has none. Gated: closed channels are not computed; gates that "
        "never opened on the training images are removed, gates that were always open computed "
        "always. Static: no gates, the channels most often open at the same cost. Gain: time of "
        "the dense network over its own; “dense” where the gated network was slower, and what runs "
        "is the dense one. A dash: this model was timed at other batch sizes. Linear "
        "accuracies of gated and static networks: on features of whole images, whatever "
        "probe.features is."
    )
    return Table(columns, rows, left=2, groups=groups, breaks=breaks[1:], caption=caption)


def _time_row(same: pd.DataFrame, batches: Sequence[int], measures: Sequence[str]) -> list[str]:
    first = same.iloc[0]
    row = [
        label_of(str(first["model"])),
        str(first["network"]),
        plain(100 * first["cost_share"], 1),
        *(plain(100 * first[name], 1) for name in measures),
    ]
    by_batch = same.to_dict("index")
    for batch in batches:
        found = by_batch.get(batch)
        if found is None:  # timed at other batch sizes
            row += [DASH] * 4
            continue
        gain = f"{found['measured_ratio']:.2f}{_TIMES}"
        if found["network"] == "gated" and not found["runs"]:
            gain = "dense"
        row += [
            ENGINE_NAMES[found["engine"]],
            three_digits(found["ms_per_image"]),
            three_digits(found["images_per_second"]),
            DASH if found["network"] == "dense" else gain,
        ]
    return row


def _forced_table(models: Json, inference: Json) -> Table:
    rows = []
    for key, found in inference.items():
        channels, forced = found["channels"], found["forced"]
        shares = [channels[n] / channels["all"] for n in ("always_on", "dependent", "removed")]
        trained = flat_accuracies(models[key]["branches"]["gated"])
        compact = flat_accuracies(found["accuracies"]["gated"])
        rows.append(
            [
                label_of(key),
                *(plain(100 * share, 1) for share in shares),
                percent(forced["changed_images"]),
                percent(forced["opened_share"], 3),
                three_digits(forced["changed_gates"]),
                percent(forced["feature_change"], 2),
                percent(forced["largest_change"], 1),
                plain(100 * trained.get("knn_top1", float("nan")), 1),
                plain(100 * compact.get("knn_top1", float("nan")), 1),
            ]
        )
    columns = ["Model", "always on", "dependent", "removed", "images with a changed mask"]
    columns += ["removed gates that would open", "gates changed an image"]
    columns += ["mean", "at most", "as trained", "forced"]
    images = counted(next(iter(inference.values()))["forced"]["images"])
    groups = [("", 1), ("Channels (%)", 3), (f"Forced gates on {images} evaluation images", 3)]
    groups += [("Features changed by", 2), ("1\N{NON-BREAKING HYPHEN}NN (%)", 2)]
    caption = (
        "“Removed” and “always on” are observations on the training images. On images held out "
        "from them a gate may decide otherwise; forcing it then changes the mask, and with it the "
        "features (Euclidean norm of the difference over that of the encoder's features)."
    )
    return Table(columns, rows, left=1, groups=groups, caption=caption)
