"""Results of environments and named runs lie apart; two runs are not in one room."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import FileLock
from mlflow import MlflowClient

from conftest import Project
from ssl_kedro.hooks.project import ParameterAwareConfigLoader
from ssl_kedro.hooks.rooms import RoomError, room
from ssl_kedro.settings import CONFIG_LOADER_ARGS

ENVIRONMENTS = ("base", "cifar10", "local")


@pytest.mark.parametrize(
    ("environment", "run", "expected"),
    [
        (None, None, "data"),
        ("base", None, "data"),
        ("local", None, "data"),
        ("cifar10", None, "data/cifar10"),
        (None, "night", "data/night"),
        ("cifar10", "night", "data/cifar10/night"),
        ("cifar10", 3, "data/cifar10/3"),
    ],
)
def test_every_environment_and_run_has_a_folder(
    environment: str | None, run: object, expected: str
) -> None:
    assert room(environment, run, ENVIRONMENTS) == expected


def test_each_session_of_a_process_has_its_own_room() -> None:
    conf = str(Path(__file__).parents[2] / "conf")
    for env, expected in ((None, "data"), ("own", "data/own"), (None, "data")):
        loader = ParameterAwareConfigLoader(conf, env, **CONFIG_LOADER_ARGS)
        path = loader["catalog"]["{namespace}.report"]["filepath"]
        assert path == f"{expected}/08_reporting/{{namespace}}/report.html"


@pytest.mark.parametrize("run", ["", "..", "a/b", ".hidden", "01_raw", "a b", "-x"])
def test_a_name_that_is_no_folder_is_refused(run: object) -> None:
    with pytest.raises(RoomError, match="expected a name of letters, digits"):
        room(None, run, ENVIRONMENTS)


@pytest.mark.parametrize("run", ["cifar10", "base", "latest"])
def test_the_name_of_another_folder_is_refused(run: str) -> None:
    with pytest.raises(RoomError, match="taken are latest, base, cifar10, local"):
        room("cifar10", run, ENVIRONMENTS)


def prepared(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Images counted and described; nothing trained."""
    return project.run({}, "--to-outputs", "dual_gating.data_summary", *arguments)


def test_results_of_environments_and_runs_lie_apart(project: Project) -> None:
    small = project.path / "conf/small"
    small.mkdir()
    (small / "parameters_dual_gating.yml").write_text("dual_gating: {data: {generated_eval: 30}}\n")
    parameters = "dual_gating.data.generated=60,dual_gating.data.size=16"
    found = {}
    for folder, given in {
        "data": (parameters,),
        "data/small": (parameters, "--env", "small"),
        "data/small/night": (f"{parameters},run=night", "--env", "small"),
    }.items():
        value, *more = given
        done = project.kedro(
            *("run", "--pipeline", "dual_gating", "--to-outputs", "dual_gating.data_summary"),
            *("--params", value, *more),
        )
        assert done.returncode == 0, done.stdout + done.stderr
        path = project.path / folder / "03_primary/dual_gating/data_summary.json"
        found[folder] = json.loads(path.read_text())["images"]["eval"]
    assert found["data"] != 30
    assert found["data/small"] == found["data/small/night"] == 30
    refused = project.kedro("run", "--pipeline", "dual_gating", "--params", "run=small")
    assert refused.returncode != 0
    assert "expected a name that no other folder of data/ has" in refused.stdout + refused.stderr
    assert not list(project.path.rglob(".running.json"))


def accuracies(project: Project, room: str) -> dict[str, float]:
    """What a run has measured, when its report is whole."""
    results = project.path / "data" / room / "08_reporting/dual_gating"
    assert (results / "report.html").read_text().rstrip().endswith("</html>")
    metrics = json.loads((results / "metrics.json").read_text())
    return {key: value for key, value in metrics.items() if "top1" in key}


@pytest.mark.slow
def test_two_environments_run_side_by_side(project: Project) -> None:
    (project.path / "conf/seven").mkdir(exist_ok=True)
    (project.path / "conf/seven/parameters_dual_gating.yml").write_text("dual_gating: {seed: 7}\n")
    alone = project.run()
    assert alone.returncode == 0, alone.stdout + alone.stderr
    before = accuracies(project, ".")
    with ThreadPoolExecutor() as together:
        more = ((), ("--env", "seven"))
        done = list(together.map(lambda given: project.run({}, *given, cold=True), more))
    assert [one.returncode for one in done] == [0, 0], [one.stderr[-2000:] for one in done]
    assert accuracies(project, ".") == before != accuracies(project, "seven")
    store = MlflowClient(f"sqlite:///{project.path / 'mlflow.db'}")
    of_runs = "tags.`kedro.env` != '' and attributes.status = 'FINISHED'"
    parents = [
        run.data.tags["kedro.env"]
        for run in store.search_runs(["1"], of_runs)
        if "mlflow.parentRunId" not in run.data.tags
    ]
    assert sorted(parents) == ["base", "base", "seven"]


def test_a_second_run_is_refused_while_the_room_is_in_use(project: Project) -> None:
    data = project.path / "data"
    data.mkdir(exist_ok=True)
    owner = {"pipeline": "dual_gating", "process": 7, "host": "here", "started": "today"}
    (data / ".running.json").write_text(json.dumps(owner))
    with FileLock(data / ".lock"):
        refused = prepared(project)
        elsewhere = prepared(project, "--env", "cifar10")  # without its data: another error
        joined = project.run(
            {}, "--to-outputs", "dual_gating.data_summary", environment={"MLFLOW_RUN_ID": "0" * 32}
        )
    said = refused.stdout + refused.stderr
    assert refused.returncode != 0
    assert "data/ is in use by another run (dual_gating, process 7 on here since today)" in said
    assert "--params run=NAME" in said
    assert "Traceback" not in said
    assert "is in use" not in elsewhere.stdout + elsewhere.stderr
    assert joined.returncode == 0, joined.stdout + joined.stderr
    # What a dead run left stands in nobody's way.
    half = data / "08_reporting/dual_gating/.metrics.json.17.tmp"
    half.parent.mkdir(parents=True)
    half.write_text("half")
    done = prepared(project)
    assert done.returncode == 0
    assert not half.exists()
    assert "Left by a run that was killed" in done.stdout + done.stderr


def test_the_system_lets_go_of_a_room_when_its_owner_is_killed(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\nfrom filelock import FileLock\n"
        "FileLock(sys.argv[1]).acquire()\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / ".lock")], check=False)
    FileLock(tmp_path / ".lock").acquire(timeout=0)
