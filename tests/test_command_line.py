"""Kedro's commands in the project, and the project's own where it is installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from conftest import ROOT, Project

HEAVY = ("torch", "pandas", "matplotlib", "sklearn", "mlflow", "scipy", "numpy")
PIPELINES = {"dual_gating", "dynamic_channels", "retrieval_eval", "saliency360"}


def python(code: str, folder: Path, *path: Path) -> str:
    """What a program prints that runs in a folder."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, path)),
            "OMP_NUM_THREADS": "1",
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def listed(project: Project) -> set[str]:
    done = project.kedro("registry", "list", cold=True)
    assert done.returncode == 0, done.stderr
    return set(yaml.safe_load(done.stdout))


def files(folder: Path) -> set[str]:
    """Every file below a folder but compiled ones."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)) for p in found if "__pycache__" not in p.parts}


# --- a light start


def test_commands_load_nothing_heavy(project: Project) -> None:
    code = f"""
import re, sys
from pathlib import Path
from kedro.framework.cli.cli import main
sys.argv = ["kedro", "--version"]
try:
    main()
except SystemExit:
    pass
import ssl_kedro.settings, ssl_kedro.pipeline_registry
print([name for name in {HEAVY} if name in sys.modules])
# Of this program alone; resource.getrusage counts the one that started it.
status = Path("/proc/self/status")
peak = re.search(r"VmHWM:\\s+(\\d+) kB", status.read_text())[1] if status.exists() else 0
print(int(peak) / 1024)
"""
    *_, heavy, megabytes = python(code, project.path, project.path / "src").splitlines()
    assert heavy == "[]"
    assert float(megabytes) < 150


def test_only_what_is_asked_for_is_built() -> None:
    code = f"""
import sys
from kedro.framework.project import pipelines
from kedro.framework.startup import bootstrap_project
bootstrap_project({str(ROOT)!r})
pipelines.set_requested(["retrieval_eval"])
graphs = [f"ssl_kedro.pipelines.{{name}}.pipeline" for name in {sorted(PIPELINES)}]
print(sorted(pipelines), [name for name in graphs if name in sys.modules])
"""
    assert python(code, ROOT).splitlines()[-1] == (
        "['retrieval_eval'] ['ssl_kedro.pipelines.retrieval_eval.pipeline']"
    )


# --- the registry


def test_pipelines_are_listed_and_described(project: Project) -> None:
    assert listed(project) == {"__default__", *PIPELINES}
    for name in ("dual_gating", "saliency360"):
        described = project.kedro("registry", "describe", name)
        assert described.returncode == 0, described.stderr
        assert any(name in node for node in yaml.safe_load(described.stdout)["Nodes"])


def test_pipelines_are_there_once_the_project_is_known(tmp_path: Path) -> None:
    """In any folder; built from the base environment's parameters."""
    code = f"""
from kedro.framework.project import pipelines
from kedro.framework.startup import bootstrap_project
bootstrap_project({str(ROOT)!r})
print(sorted(pipelines))
spaces = {{str(node.namespace) for node in pipelines["dynamic_channels"].nodes}}
print(sorted(space for space in spaces if "budget" in space))
"""
    names, budgets = python(code, tmp_path).splitlines()[-2:]
    assert names == str(sorted({"__default__", *PIPELINES}))
    base = yaml.safe_load((ROOT / "conf/base/parameters_dynamic_channels.yml").read_text())
    wanted = [
        f"dynamic_channels.budget_{b * 100:02.0f}.nested"
        for b in base["dynamic_channels"]["frontier"]["budgets"]
    ]
    assert budgets == str(sorted(wanted))


def test_a_pipeline_is_one_folder_of_any_package(project: Project, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere" / "theirs" / "toy"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    (folder / "__init__.py").write_text(
        "from ssl_kedro.pipelines.entrance import Entrance\n"
        'PIPELINE = Entrance(__name__, "ToyParameters")\n'
    )
    (folder / "parameters.py").write_text(
        "from ssl_kedro.pipelines.parameters import PipelineParameters\n"
        "class ToyParameters(PipelineParameters):\n    times: int = 2\n"
    )
    (folder / "pipeline.py").write_text(
        "from kedro.pipeline import Pipeline, node\n"
        "from theirs.toy.parameters import ToyParameters\n"
        "def repeat(parameters: ToyParameters) -> str:\n    return 'a' * parameters.times\n"
        "def create_pipeline(parameters, asked):\n"
        "    return Pipeline([node(repeat, 'params:toy', 'toy.text', name='repeat')])\n"
    )
    package = folder.parents[1] / "theirs-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[ssl_kedro.pipelines]\ntoy = theirs.toy\n")
    (project.path / "conf/base/parameters_toy.yml").write_text("toy: {times: 3}\n")
    (project.path / "conf/base/catalog_toy.yml").write_text(
        "toy.text: {type: text.TextDataset, filepath: toy.txt}\n"
    )
    (project.path / "conf/base/mlflow.yml").write_text(
        "{tracking_uri: 'sqlite:///m.db', experiment: e, enabled: false}"
    )
    path = {"PYTHONPATH": f"{project.path / 'src'}{os.pathsep}{package.parent}"}

    def kedro(*arguments: str) -> subprocess.CompletedProcess[str]:
        return project.kedro(*arguments, environment=path)

    assert set(yaml.safe_load(kedro("registry", "list").stdout)) == {
        "__default__",
        "toy",
        *PIPELINES,
    }
    assert yaml.safe_load(kedro("registry", "describe", "toy").stdout) == {
        "Nodes": ["repeat (repeat)"]
    }
    done = kedro("run", "--pipeline", "toy")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (project.path / "toy.txt").read_text() == "aaa"
    wrong = kedro("run", "--pipeline", "toy", "--params", "toy.time=3")
    assert wrong.returncode != 0
    assert "toy.time: there is no such key; did you mean 'times'?" in wrong.stderr


# --- runners


def test_a_runner_in_several_processes_is_refused(project: Project) -> None:
    done = project.run(None, "--runner", "ParallelRunner")
    assert done.returncode != 0
    assert "Error: ParallelRunner cannot run these pipelines" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (project.path / "data").exists()


@pytest.mark.slow
def test_nodes_may_run_in_threads(project: Project) -> None:
    done = project.run({"train.epochs": 1}, "--runner", "ThreadRunner")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((project.results / "metrics.json").read_text())


# --- the package


@pytest.mark.slow
def test_the_packaged_project_runs_in_another_folder(
    project: Project, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for name in ("README.md", "LICENSE"):
        (project.path / name).write_text((ROOT / name).read_text())
    packaged = project.kedro("package")
    if "No matching distribution" in packaged.stdout + packaged.stderr:
        pytest.skip("setuptools, which builds the wheel, cannot be fetched")
    assert packaged.returncode == 0, packaged.stdout + packaged.stderr
    (wheel,) = (project.path / "dist").glob("*.whl")
    elsewhere, installed = tmp_path_factory.mktemp("elsewhere"), tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    assert files(installed / "ssl_kedro") == files(project.path / "src" / "ssl_kedro")
    for archive in (project.path / "dist").glob("conf-*.tar.gz"):
        done = subprocess.run(
            [
                *(sys.executable, "-m", "ssl_kedro", "--conf-source", str(archive)),
                *("--pipeline", "retrieval_eval", "--to-nodes", "retrieval_eval.check_data"),
            ],
            cwd=elsewhere,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        (summary,) = elsewhere.rglob("data_summary.json")
        assert json.loads(summary.read_text())
