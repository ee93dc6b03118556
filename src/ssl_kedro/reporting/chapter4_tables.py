"""Tables 4.1 to 4.4: measured rows with the published ones beside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from ssl_kedro.reporting.published import published_table
from ssl_kedro.saliency.metric import metrics

BASELINES = ("uniform", "equator", "mean", "ceiling")
THIS_RUN, PUBLISHED = "this run", "published"
Row = dict[str, Any]


def table_4_1(results: Mapping[str, Any]) -> pd.DataFrame:
    """Models and baselines on every data set, in every mode; then the published rows.

    Columns: source, dataset, model, setting ((i) without, (ii) with attention), encoder, decoder,
    mode, the metrics, and "<metric>_low", "<metric>_high" of their intervals.
    """
    rows = [
        {**_identity(results, model), "dataset": dataset, "mode": mode, **_scores(scores)}
        for dataset, models in results["scores"].items()
        for model, modes in models.items()
        for mode, scores in modes.items()
    ]
    published = published_table("4.1").to_dict("records")
    return _frame(
        ["source", "dataset", "model", "setting", "encoder", "decoder", "mode"], rows, published
    )


def table_4_2(results: Mapping[str, Any]) -> pd.DataFrame:
    """Run time of each stage, milliseconds a panorama; then the published times."""
    rows = [{"source": THIS_RUN, **row} for row in results["runtime"]]
    for row in published_table("4.2").to_dict("records"):
        rows.append(
            {
                "source": PUBLISHED,
                "model": row["model"],
                "stage": "total",
                "batch": None,
                "ms": 1000 * row["seconds"],
                "device": "RTX 3090",
                "threads": None,
            }
        )
    columns = ["source", "model", "stage", "batch", "ms", "device", "threads"]
    return pd.DataFrame(rows, columns=columns)


def table_4_3(results: Mapping[str, Any]) -> pd.DataFrame:
    """Weight of the local loss, with and without attention; then the published rows."""
    return _ablation(
        results,
        "4.3",
        ["architecture", "setting", "local_weight"],
        keep=_alike(results, ("local_weight", "attention"), ("projections",)),
    )


def table_4_4(results: Mapping[str, Any]) -> pd.DataFrame:
    """With and without projections; then the published rows."""
    keep = _alike(results, ("projections",), ("local_weight", "attention"))
    return _ablation(results, "4.4", ["architecture", "projections"], keep=keep)


def _alike(
    results: Mapping[str, Any], varied: tuple[str, ...], fixed: tuple[str, ...]
) -> frozenset[str]:
    """Models on contrastive encoders with a partner that differs in the varied fields only.

    One that also has another decoder, or another network, says nothing about these fields.
    """
    encoders = _contrastive(results)
    groups: dict[tuple[Any, ...], dict[str, tuple[Any, ...]]] = {}
    for name, plan in results["models"].items():
        encoder = encoders.get(plan["encoder"])
        if encoder is not None:
            same = tuple(encoder[key] for key in ("architecture", "width", *fixed))
            made = (plan["decoder"], plan["fine_tune"], tuple(plan.get("recipe", ())))
            group = groups.setdefault((*made, *same), {})
            group[name] = tuple(encoder[key] for key in varied)
    compared = [group for group in groups.values() if len(set(group.values())) > 1]
    return frozenset(name for group in compared for name in group)


def _contrastive(results: Mapping[str, Any]) -> dict[str, Row]:
    """Pre-trained encoders by name."""
    return {n: e for n, e in results["encoders"].items() if e["kind"] == "contrastive"}


def _ablation(
    results: Mapping[str, Any], table: str, columns: list[str], *, keep: frozenset[str]
) -> pd.DataFrame:
    """Sphere-mode rows of models on contrastive encoders; none with nothing to compare."""
    encoders = _contrastive(results)
    rows = []
    for dataset, models in results["scores"].items():
        if len(keep & models.keys()) < 2:
            continue
        for model, modes in models.items():
            plan = results["models"].get(model)
            if plan is None or model not in keep or "sphere" not in modes:
                continue
            rows.append(
                {
                    "source": THIS_RUN,
                    "dataset": dataset,
                    "model": model,
                    **_encoder_columns(encoders[plan["encoder"]]),
                    **_scores(modes["sphere"]),
                }
            )
    rows.sort(key=lambda row: [str(row[column]) for column in ("dataset", *columns)])
    published = published_table(table).to_dict("records")
    return _frame(["source", "dataset", "model", *columns], rows, published)


def _encoder_columns(encoder: Mapping[str, Any]) -> Row:
    return {
        "architecture": encoder["architecture"],
        "setting": "(ii)" if encoder["attention"] else "(i)",
        "local_weight": encoder["local_weight"],
        "projections": encoder["projections"],
    }


def _identity(results: Mapping[str, Any], model: str) -> Row:
    """What a row is: a baseline has neither encoder nor decoder."""
    plan = results["models"].get(model)
    if plan is None:
        return {"source": THIS_RUN, "model": model}
    encoder = results["encoders"][plan["encoder"]]
    setting = _encoder_columns(encoder)["setting"] if encoder["kind"] == "contrastive" else ""
    decoder = plan["decoder"] + (", fine-tuned" if plan["fine_tune"] else "")
    return {
        "source": THIS_RUN,
        "model": model,
        "setting": setting,
        "encoder": f"{encoder['architecture']}, {encoder['kind']}",
        "decoder": decoder,
    }


def _scores(scores: Mapping[str, Any]) -> Row:
    found: Row = {}
    for metric in metrics():
        one = scores.get(metric) or {}
        found[metric] = one.get("mean")
        found[f"{metric}_low"], found[f"{metric}_high"] = one.get("low"), one.get("high")
    return found


def _frame(
    columns: list[str], rows: list[Row], published: Iterable[Mapping[Any, Any]]
) -> pd.DataFrame:
    every = [*columns, *metrics()]
    every += [f"{metric}_{end}" for metric in metrics() for end in ("low", "high")]
    beside = [{"source": PUBLISHED, **{str(k): v for k, v in row.items()}} for row in published]
    return pd.DataFrame([*rows, *beside], columns=every)
