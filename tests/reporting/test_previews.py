from __future__ import annotations

import json
import math

from ssl_kedro.reporting.previews import curves, metric_table, table


def test_flat_metrics_become_a_table_of_what_has_them() -> None:
    found = metric_table(
        {
            "chance": 0.1,
            "dual.budget_30.knn_top1": 0.75123456,
            "dual.budget_30.macs": 12,
            "vicreg.knn_top1": math.nan,
            "deployment": {"model": "dual"},
        }
    )
    assert found["columns"] == ["of", "chance", "knn_top1", "macs"]
    assert found["data"] == [
        ["the run", 0.1, "", ""],
        ["dual.budget_30", "", 0.7512, 12],
        ["vicreg", "", "", ""],
    ]
    assert found["index"] == [0, 1, 2]
    json.dumps(found, allow_nan=False)


def test_an_empty_table_has_its_columns() -> None:
    assert table(["a"], []) == {"index": [], "columns": ["a"], "data": []}


def test_a_line_has_the_epochs_that_know_the_quantity() -> None:
    rows = [{"epoch": 1.0}, {"epoch": 2.0, "loss": 3.0}, {"epoch": 3.0, "loss": 2.0}]
    made = curves({"a": rows, "b": rows[1:2]})
    assert [(line["name"], line["x"], line["y"]) for line in made["data"]] == [
        ("a", [2.0, 3.0], [3.0, 2.0]),
        ("b", [2.0], [3.0]),
    ]
    assert len({line["line"]["color"] for line in made["data"]}) == 2
    assert made["layout"]["yaxis"]["title"]["text"] == "loss"
