"""A metric of another installed package: one file there, nothing about it here."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest

from conftest import TINY_SALIENCY, copied_project
from core.test_plugins import installed

METRIC = '''
import numpy as np
from ssl_kedro.saliency.metric import Compared, Metric

def share(compared: Compared, pixels: np.ndarray) -> float:
    """Share of the fixations in the upper half."""
    height, width = compared.prediction.shape
    return float((pixels < height * width / 2).mean())

METRIC = Metric("upper", "how many look up", "0 to 1", place=8, of_fixations=share)
'''


@pytest.mark.slow
def test_a_metric_from_outside_is_in_table_report_and_metrics(tmp_path: Path) -> None:
    outside = tmp_path / "site"
    outside.mkdir()
    installed(outside, "ssl_kedro.saliency.metrics", "upper_share", METRIC)
    project = copied_project(tmp_path / "project")
    tiny = TINY_SALIENCY | {"train.epochs": 1, "decoder_train.epochs": 1}
    changes = ",".join(f"saliency360.{key}={value}" for key, value in tiny.items())
    path = os.pathsep.join(filter(None, (str(outside), os.environ.get("PYTHONPATH"))))
    done = project.kedro(
        "run", "--pipeline", "saliency360", "--params", changes, environment={"PYTHONPATH": path}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    folder = project.path / "data/08_reporting/saliency360"
    found = json.loads((folder / "metrics.json").read_text())
    values = {key: value for key, value in found.items() if key.endswith(".upper_share")}
    # What is looked at does not depend on who predicts.
    own = {value for key, value in values.items() if ".ceiling." not in key and "sphere" in key}
    assert len(own) == 1 and 0 < own.pop() < 1
    with (folder / "table_4_1.csv").open(newline="") as file:
        columns = next(csv.reader(file))
    assert columns[columns.index("info_gain") + 1] == "upper_share"
    report = (folder / "report.html").read_text()
    assert ">upper<" in report and "How many look up: 0 to 1." in report
