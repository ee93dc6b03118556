"""What Kedro-Viz is shown of trainings, evaluations and the front."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_type_hints

import pandas as pd
import pytest
from omegaconf import OmegaConf

from pipelines.run_rows import evaluation
from ssl_kedro.datasets.base import named_object
from ssl_kedro.evaluation.accuracies import Accuracies, Costs
from ssl_kedro.pipelines.gated.report.previews import accuracies, accuracies_of_one, front, losses

CONF = Path(__file__).parents[2] / "conf" / "base"


def previewed() -> dict[str, str]:
    """Entries of the catalog with a preview of their own, and what makes it."""
    found: dict[str, Any] = {}
    for file in sorted(CONF.glob("catalog*.yml")):
        found |= OmegaConf.to_container(OmegaConf.load(file), resolve=False)  # type: ignore[arg-type]
    return {name: entry["preview"] for name, entry in found.items() if "preview" in entry}


@pytest.mark.parametrize("path", sorted({*previewed().values()}))
def test_every_preview_says_what_kedro_viz_is_to_draw(path: str) -> None:
    """Kedro-Viz reads the name of the type of the result, and draws nothing of others."""
    kind = get_type_hints(named_object(path))["return"]
    assert kind.__name__ in ("PlotlyPreview", "TablePreview")


def test_losses_have_names_that_a_person_reads() -> None:
    made = losses({"vicreg": [{"epoch": 1.0, "loss": 2.0}], "dual.budget_30": []})
    assert [line["name"] for line in made["data"]] == ["VICReg (dense)", "dual gating, 30 %"]


def test_accuracies_are_percent_and_costs_those_of_the_branch() -> None:
    both = replace(
        evaluation("dual_gating", 30),
        branches={"dense": Accuracies(0.5, None, (0.6, 0.7)), "gated": Accuracies(0.25)},
        macs=Costs(4_000_000, 3_000_000, 1_000_000.0, 0.75),
    )
    made = accuracies({"dual.budget_30": both})
    assert made["columns"] == ["Model", "Branch", "1-NN (%)", "Linear (%)", "FLOPs, MACs (M)"]
    assert made["data"] == [
        ["dual gating, 30 %", "dense", 50.0, 65.0, 3.0],
        ["dual gating, 30 %", "gated", 25.0, "", 1.0],
    ]
    assert [row[1:] for row in accuracies_of_one(both)["data"]] == [r[1:] for r in made["data"]]


def points() -> pd.DataFrame:
    """Three networks at two batch sizes, the second engine of each slower."""
    rows = [
        {
            "model": model,
            "network": "dense" if model == "vicreg" else "gated",
            "precision": "f32",
            "batch": batch,
            "engine": engine,
            "fastest": engine == "native",
            "ms_per_image": ms * (1 if engine == "native" else 2) / batch,
            "linear": linear,
            "on_front": engine == "native" and model != "thin.width_9",
            "deployed": engine == "native" and model == "dual.budget_30",
        }
        for model, ms, linear in (
            ("vicreg", 8.0, 70.0),
            ("thin.width_9", 9.0, 60.0),
            ("dual.budget_30", 2.0, 69.0),
        )
        for batch in (1, 32)
        for engine in ("native", "eager")
    ]
    return pd.DataFrame(rows)


def test_the_front_runs_from_the_fastest_to_the_most_accurate() -> None:
    made = front(points())
    json.dumps(made, allow_nan=False)
    [beaten, line, ring] = [trace for trace in made["data"] if trace["visible"] is True]
    assert (line["x"], line["y"]) == ([2.0, 8.0], [69.0, 70.0])
    assert line["text"] == ["dual gating, 30 %, gated, f32, C++", "VICReg (dense), f32, C++"]
    assert (beaten["x"], beaten["y"]) == ([9.0], [60.0])
    assert (ring["x"], ring["name"]) == ([2.0], "to deploy, 1 image at a time")
    assert made["layout"]["xaxis"]["type"] == "log"
    later = [trace["name"] for trace in made["data"] if trace["visible"] == "legendonly"]
    assert len(later) == 3 and all(name.endswith("32 images at a time") for name in later)
