"""A run with a table that an installed package adds."""

from __future__ import annotations

import csv
import os
import re
from html import unescape
from pathlib import Path

import pytest

from conftest import Project
from outside.packages import installed_from_here
from ssl_kedro.pipelines.dual_gating.part import Part
from ssl_kedro.reporting.number_format import signed

NAME = "table_of_gaps"


@pytest.mark.slow
def test_it_is_asked_for_by_name_written_and_shown(
    project: Project, tmp_path_factory: pytest.TempPathFactory
) -> None:
    packages = tmp_path_factory.mktemp("packages")
    installed_from_here(packages, "ssl_kedro.pipelines.dual_gating.parts", NAME)
    found = os.environ.get("PYTHONPATH", "")
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, [str(packages), found]))}
    done = project.run({"parts": NAME}, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    models = {path.name for path in (project.path / "data/06_models").iterdir()}
    assert models == {"dual_gating.budget_50", "dual_gating.budget_50.two_encoders"}

    rows = read(project.results / f"{NAME}.csv")
    assert [row["model"] for row in rows] == ["dual", "two_encoders"]
    page = re.sub(r"data:[^\"]+", "", (project.results / "report.html").read_text())
    page = unescape(page)
    assert "<h2>What gating costs in accuracy</h2>" in page
    runs = read(project.results / "runs.csv")
    for row in rows:
        accuracy = {
            run["branch"]: 100 * float(run["knn_top1"])
            for run in runs
            if run["model"] == row["model"]
        }
        gap = accuracy["gated"] - accuracy["dense"]
        assert float(row["gap"]) == pytest.approx(gap, abs=1e-9)
        assert f">{signed(gap)}</td>" in page


def test_without_the_package_there_is_no_such_part(project: Project) -> None:
    done = project.run({"parts": NAME})
    assert done.returncode != 0
    assert f"'{NAME}'" in done.stdout + done.stderr
    assert not Path(project.results / f"{NAME}.csv").exists()


def test_a_part_is_named_as_its_file_can_be() -> None:
    with pytest.raises(ValueError, match="begins with table_"):
        Part("gaps", ("dual",))


def read(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))
