"""The DAG that is made of a pipeline, and its tasks: processes that are one tracked run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from types import ModuleType
from typing import Any, ClassVar, Self

import jinja2
import pytest
import yaml
from mlflow import MlflowClient
from omegaconf import OmegaConf

from conftest import ROOT, TINY, Project
from hooks.stored import Stored, uri
from ssl_kedro.pipelines.entrance import chosen

TEMPLATE = ROOT / "docs" / "examples" / "airflow" / "dag.py.j2"
TRAINED, EXTRACTED = (f"dual_gating.vicreg.{verb}_vicreg" for verb in ("pretrain", "extract"))
FIRST = ("dual_gating.summarise_data", "dual_gating.select_execution", TRAINED)


class Operator:
    """What the DAG uses of Airflow's, which keeps what it was told."""

    known: ClassVar[list[Operator]] = []

    def __init__(self, task_id: str, **told: Any) -> None:
        self.task_id, self.told, self.output = task_id, told, "what start prints"
        self.after: set[str] = set()
        self.known.append(self)

    def __rshift__(self, other: Any) -> Any:
        for one in other if isinstance(other, list) else [other]:
            one.after.add(self.task_id)
        return other

    def __rrshift__(self, others: Iterable[Operator]) -> Self:
        for one in others:
            one >> self
        return self

    @property
    def nodes(self) -> list[str]:
        """That the command runs."""
        _, found, names = self.told["bash_command"].partition(" --nodes ")
        return names.split(",") if found else []


class Dag:
    def __init__(self, **told: Any) -> None:
        self.told = told

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


def environment_of(project: Project) -> dict[str, Any]:
    """The environment "tiny" of a project, and what stands in it."""
    values: dict[str, Any] = {}
    for key, value in TINY.items():
        *parts, last = key.split(".")
        place = values
        for part in parts:
            place = place.setdefault(part, {})
        place[last] = value
    folder = project.path / "conf" / "tiny"
    folder.mkdir()
    (folder / "parameters.yml").write_text(yaml.safe_dump({"dual_gating": values}))
    return values


def tasks_of(
    project: Project, monkeypatch: pytest.MonkeyPatch, *options: str
) -> dict[str, Operator]:
    """Tasks of the DAG of the tiny pipeline, by name, as Airflow would find them."""
    pytest.importorskip("kedro_airflow")
    named = ("-p", "dual_gating", "-e", "tiny", "-g", "memory", "-j", str(TEMPLATE), "-t", "dags")
    done = project.kedro("airflow", "create", *named, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = (project.path / "dags").glob("*.py")
    for name in ("airflow", "airflow.providers", "airflow.providers.standard", "airflow.sdk"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    operators = ModuleType("airflow.providers.standard.operators")
    monkeypatch.setitem(sys.modules, operators.__name__, operators)
    bash = ModuleType(f"{operators.__name__}.bash")
    bash.BashOperator = Operator  # type: ignore[attr-defined]
    sys.modules["airflow.sdk"].DAG = Dag  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, bash.__name__, bash)
    monkeypatch.setattr(Operator, "known", [])
    monkeypatch.setenv("SSL_KEDRO_PROJECT", str(project.path))
    monkeypatch.setenv("SSL_KEDRO_PYTHON", sys.executable)
    exec(compile(file.read_text(), str(file), "exec"), {})
    return {one.task_id: one for one in Operator.known}


def carried_out(task: Operator, variables: Mapping[str, str]) -> str:
    """What a task's command prints, as Airflow's operator runs it."""
    template = jinja2.Environment()
    template.filters["ts_nodash"] = lambda time: time.strftime("%Y%m%dT%H%M%S")
    due = {"run_after": datetime(2026, 1, 31, 23, 59, tzinfo=UTC)}
    done = subprocess.run(
        ["bash", "-c", template.from_string(task.told["bash_command"]).render(dag_run=due)],
        cwd=task.told["cwd"],
        env={**os.environ, "OMP_NUM_THREADS": "1", **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def ancestors(tasks: Mapping[str, Operator], name: str) -> set[str]:
    above = tasks[name].after
    return above.union(*(ancestors(tasks, one) for one in above))


def test_each_node_is_in_one_task_that_waits_for_what_the_node_reads(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = environment_of(project)
    tasks = tasks_of(project, monkeypatch, "--params", "run_params=dual_gating.seed=3")
    ((_, entrance),) = chosen(["dual_gating"]).items()
    base = OmegaConf.load(ROOT / "conf" / "base" / "parameters_dual_gating.yml")
    merged = OmegaConf.to_container(OmegaConf.merge(base, {"dual_gating": values}))
    whole = entrance.create_pipeline(merged["dual_gating"])  # type: ignore[index,call-overload]
    place = {node: name for name, task in tasks.items() for node in task.nodes}
    assert sorted(place) == sorted(node.name for node in whole.nodes)
    assert sum(len(task.nodes) for task in tasks.values()) == len(whole.nodes)
    for node, needed in whole.node_dependencies.items():
        above = ancestors(tasks, place[node.name]) | {place[node.name]}
        assert {place[one.name] for one in needed} <= above
        assert "start" in above
    work = {name for name, task in tasks.items() if task.nodes}
    assert set(tasks) - work == {"start", "finished", "failed"}
    assert tasks["finished"].after == tasks["failed"].after == work
    assert {tasks[one].told["trigger_rule"] for one in ("finished", "failed")} == {
        "all_success",
        "one_failed",
    }
    command = tasks[place[TRAINED]].told["bash_command"]
    assert "--env tiny" in command
    assert ",dual_gating.seed=3 --nodes" in command


def test_two_processes_that_know_a_run_are_one_run(project: Project) -> None:
    environment_of(project)
    client = MlflowClient(uri(project.path))
    run = client.create_run(client.create_experiment("nightly"), run_name="one of many")
    joined = {"MLFLOW_RUN_ID": run.info.run_id}
    where = ("run", "--pipeline", "dual_gating", "--env", "tiny")
    for nodes in (",".join(FIRST), EXTRACTED, "dual_gating.vicreg.evaluate_vicreg"):
        done = project.kedro(*where, "--nodes", nodes, environment=joined)
        assert done.returncode == 0, done.stdout + done.stderr
    stored = Stored(uri(project.path), "nightly")
    assert [parent.info.run_id for parent in stored.parents] == [run.info.run_id]
    assert client.get_experiment_by_name("ssl_kedro") is None
    assert stored.parent.data.params["dual_gating.train.epochs"] == "3"
    assert stored.parent.data.params["dual_gating.probe.epochs"] == "5"
    ((_, child),) = stored.children.items()
    # From the first process, the training, and from the last, the evaluation.
    assert {"epochs/loss", "dense/knn_top1"} <= child.data.metrics.keys()
    assert stored.parent.info.status == "RUNNING"


@pytest.mark.slow
def test_tasks_of_the_dag_start_join_and_end_a_run(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment_of(project)
    tasks = tasks_of(project, monkeypatch)
    by_node = {node: task for task in tasks.values() for node in task.nodes}
    joined = {"MLFLOW_RUN_ID": carried_out(tasks["start"], {}).strip().splitlines()[-1]}
    for node in FIRST:
        carried_out(by_node[node], joined)
    carried_out(tasks["finished"], joined)
    stored = Stored(uri(project.path), "ssl_kedro")
    assert [parent.info.run_id for parent in stored.parents] == [joined["MLFLOW_RUN_ID"]]
    assert stored.parent.info.status == "FINISHED"
    assert stored.parent.info.run_name == "airflow_20260131T235900"
    assert len(stored.children) == 1
    room = project.path / "data" / "tiny" / "airflow_20260131T235900"
    assert list(room.rglob("weights.safetensors"))
