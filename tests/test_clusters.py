"""Examples for clusters: what they ask of a run, and a SLURM job of two tasks on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from kedro.framework.cli.utils import _split_params
from torch.nn.utils import parameters_to_vector

from conftest import ROOT, TINY_SALIENCY, Project
from ssl_kedro.encoders.bundle import load_bundle
from ssl_kedro.encoders.panorama_encoder import PanoramaEncoder
from ssl_kedro.hooks.rooms import room
from ssl_kedro.pipelines.entrance import chosen

EXAMPLES = ROOT / "docs" / "examples"
# Each task in its turn, as srun starts one on each machine.
SRUN = """#!/bin/bash
[ "$1" = --kill-on-bad-exit=1 ] || exit 9
shift
for ((node = 0; node < SLURM_JOB_NUM_NODES; node++)); do
    SLURM_NODEID=$node "$@" & tasks+=($!)
done
for task in "${tasks[@]}"; do wait "$task" || exit 1; done
"""
TOLD = 'printf "%s\\n" "$@" > "told.$SLURM_NODEID"'
RUN = f'exec "{sys.executable}" -m kedro "$@"'


def merged(into: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    for key, value in changes.items():
        below = isinstance(value, dict) and isinstance(into.get(key), dict)
        into[key] = merged(into[key], value) if below else value
    return into


def checked(arguments: list[str]) -> tuple[Any, dict[str, Any]]:
    """Parameters that a ``kedro run`` of these arguments has, checked, and those it was given."""
    options = dict(zip(arguments[1::2], arguments[2::2], strict=True))
    name, values = options["--pipeline"], {}
    for environment in ("base", options["--env"]):
        path = ROOT / "conf" / environment / f"parameters_{name}.yml"
        if path.exists():
            merged(values, yaml.safe_load(path.read_text()))
    given = _split_params(None, None, options["--params"])
    return chosen([name])[name].check(merged(values, given)[name]), given


def batch(
    folder: Path, kedro: str, *arguments: str, scontrol: str | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the batch script in a folder as SLURM would."""
    programs = {"srun": SRUN, "kedro": f"#!/bin/bash\n{kedro}\n"}
    if scontrol is not None:
        programs["scontrol"] = f"#!/bin/bash\n{scontrol}\n"
    (folder / "bin").mkdir(exist_ok=True)
    for name, text in programs.items():
        (folder / "bin" / name).write_text(text)
        (folder / "bin" / name).chmod(0o755)
    return subprocess.run(
        ["bash", str(EXAMPLES / "slurm" / "train.sbatch"), *arguments],
        cwd=folder,
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith("SLURM_")},
            "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "SLURM_JOB_ID": "412345",
            "SLURM_JOB_NODELIST": "node[7-8]",
            **variables,
        },
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else as many are needed as the example has."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)


@pytest.mark.parametrize("named_by", ["scontrol", "FIRST_HOST"])
def test_a_slurm_job_is_parameters_of_a_run(
    tmp_path: Path, without_gpu: None, named_by: str
) -> None:
    job = {"SLURM_JOB_NUM_NODES": "2", "SLURM_GPUS_ON_NODE": "4", "ENVIRONMENT": "cifar10"}
    listed = {"scontrol": '[ "$*" = "show hostnames node[7-8]" ] && printf "node7\\nnode8\\n"'}
    place = listed if named_by == "scontrol" else {"FIRST_HOST": "node7"}
    done = batch(tmp_path, TOLD, "--tags", "pretrain", **job, **place, PARAMS="dual_gating.seed=3")
    assert done.returncode == 0, done.stderr
    assert "dual_gating on 2 machines with 4 workers each, start 0" in done.stdout
    for machine in range(2):
        found, given = checked((tmp_path / f"told.{machine}").read_text().splitlines())
        assert (found.train.nodes, found.train.workers) == (2, 4)
        assert found.train.rendezvous == "node7:22345"
        assert (found.train.resume, found.train.precision, found.seed) == (True, "bf16", 3)
        assert given.get("run") == (f"machine_{machine}" if machine else None)


def test_a_slurm_job_of_one_machine_meets_nobody(tmp_path: Path, without_gpu: None) -> None:
    done = batch(tmp_path, TOLD, SLURM_JOB_NUM_NODES="1", PIPELINE="saliency360", WORKERS="2")
    assert done.returncode == 0, done.stderr
    found, given = checked((tmp_path / "told.0").read_text().splitlines())
    assert (found.train.nodes, found.train.workers, found.train.rendezvous) == (1, 2, None)
    assert "run" not in given
    # What a checkpoint of any number of machines has, so that a job of another resumes it.
    assert (found.train.precision, found.train.memory_format) == ("bf16", "channels_last")


def test_a_named_slurm_job_has_a_named_room_on_each_machine(tmp_path: Path) -> None:
    job = {"SLURM_JOB_NUM_NODES": "2", "FIRST_HOST": "node7", "RUN": "seed2"}
    done = batch(tmp_path, TOLD, **job)
    assert done.returncode == 0, done.stderr
    rooms = []
    for machine in range(2):
        _, given = checked((tmp_path / f"told.{machine}").read_text().splitlines())
        rooms.append(room("base", given["run"], ["base", "cifar10"]))
    assert rooms == ["data/seed2", "data/seed2.machine_1"]


@pytest.mark.parametrize(
    ("arguments", "variables", "said"),
    [
        (("--params", "run=a"), {}, "set the variable PARAMS (and RUN for run=)"),
        (("--tags", "pretrain", "--params=run=a"), {}, "set the variable PARAMS"),
        ((), {"PARAMS": "dual_gating.seed=1,run=a"}, "name the run with the variable RUN"),
        ((), {"PARAMS": "run=a"}, "name the run with the variable RUN"),
    ],
)
def test_a_slurm_job_refuses_what_would_be_lost(
    tmp_path: Path, arguments: tuple[str, ...], variables: dict[str, str], said: str
) -> None:
    done = batch(tmp_path, TOLD, *arguments, SLURM_JOB_NUM_NODES="1", **variables)
    assert done.returncode == 2
    assert said in done.stderr
    assert not list(tmp_path.glob("told.*"))


def test_a_slurm_job_that_knows_no_machine_ends_before_it_starts(tmp_path: Path) -> None:
    done = batch(tmp_path, TOLD, SLURM_JOB_NUM_NODES="2")
    assert done.returncode != 0
    assert "name the first machine of node[7-8]: there is no scontrol here" in done.stderr
    assert not list(tmp_path.glob("told.*"))


@pytest.mark.slow
def test_a_slurm_job_of_two_machines_trains_as_one(project: Project) -> None:
    """Twice: begun, and begun again after a preemption, when nothing is left to train."""
    # A VGG without norms in its encoder, slowly: rounding stays what it is.
    values = TINY_SALIENCY | {"image.height": 48, "image.width": 96, "truth.height": 48}
    values |= {"encoder.architecture": "vgg16", "train.optimiser": "sgd"}
    values |= {"train.memory_format": "channels_last"}
    params = ",".join(f"saliency360.{key}={value}" for key, value in values.items())
    asked = ("--pipeline", "saliency360", "--tags", "pretrain")
    alone = project.kedro("run", *asked, "--params", f"{params},run=alone")
    assert alone.returncode == 0, alone.stdout + alone.stderr
    job = {"SLURM_JOB_NUM_NODES": "2", "PIPELINE": "saliency360", "PRECISION": "fp32"}
    job |= {"PYTHONPATH": str(project.path / "src"), "OMP_NUM_THREADS": "1", "PARAMS": params}
    rooms = [project.path / "data" / name / "06_models" for name in ("", "machine_1", "alone")]
    places = [room / "saliency360" / "encoders" / "contrastive" for room in rooms]
    files = [room / "saliency360.encoders.contrastive" / "training.json" for room in rooms]
    for start in range(2):
        job |= {"SLURM_RESTART_COUNT": str(start), "FIRST_HOST": "localhost"}
        done = batch(project.path, RUN, "--tags", "pretrain", **job)
        assert done.returncode == 0, done.stdout + done.stderr
        networks = [load_bundle(place, PanoramaEncoder) for place in places]
        first, second, single = (parameters_to_vector(one.parameters()) for one in networks)
        untrained = load_bundle(places[0].with_name("random"), PanoramaEncoder)
        moved = (single - parameters_to_vector(untrained.parameters())).norm()
        assert torch.equal(first, second)
        assert (first - single).norm() < 0.01 * moved
        history, same, wanted = (json.loads(file.read_text())["history"] for file in files)
        assert history == same
        for row, expected in zip(history, wanted, strict=True):
            assert row["loss"] == pytest.approx(expected["loss"], rel=1e-3)


@pytest.mark.slow
def test_torchrun_of_several_runs_is_told_what_to_do_instead(project: Project) -> None:
    options = ("--standalone", "--nproc-per-node", "2", "-m", "kedro", "run")
    done = project.kedro(*options, "--pipeline", "saliency360", module="torch.distributed.run")
    assert done.returncode != 0
    assert "torchrun has started this run 2 times (WORLD_SIZE)" in done.stderr
    assert "--params saliency360.train.workers=2" in done.stderr
    assert not (project.path / "data").exists()


def manifest() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((EXAMPLES / "kubernetes" / "job.yaml").read_text()))


def test_the_manifest_is_what_kubernetes_takes() -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    for one in manifest():
        kubernetes_validate.validate(one, "1.31", strict=True)
    job = manifest()[1]
    job["spec"]["template"]["spec"]["containers"][0]["comand"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, "1.31", strict=True)


def test_the_manifest_s_pods_are_the_machines_of_a_run(without_gpu: None) -> None:
    service, job = manifest()
    pods = job["spec"]["template"]["spec"]
    container = pods["containers"][0]
    found, _ = checked(container["command"][1:])
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == found.train.nodes
    assert container["resources"]["limits"]["nvidia.com/gpu"] == found.train.workers
    # A pod's name is that of the job and its index, below the service's.
    name, host = job["metadata"]["name"], service["metadata"]["name"]
    assert found.train.rendezvous.partition(":")[0] == f"{name}-0.{host}"
    assert service["spec"]["selector"] == {"job-name": name}
    assert pods["subdomain"] == host
    assert found.train.resume
    # What outlives a pod lies on the volume, the store of tracked runs with it.
    mounts = {one["mountPath"] for one in container["volumeMounts"]}
    tracked = {one["name"]: one.get("value", "") for one in container["env"]}["MLFLOW_TRACKING_URI"]
    assert str(Path(tracked.removeprefix("sqlite:///")).parent) in mounts
    assert {"/app/data", "/app/mlruns"} <= mounts


def test_the_manifest_runs_the_image_as_its_user_in_its_folder() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    last = lines[max(number for number, line in enumerate(lines) if line.startswith("FROM")) :]
    user, folder = (
        next(line.split()[1] for line in last if line.startswith(word))
        for word in ("USER", "WORKDIR")
    )
    pods = manifest()[1]["spec"]["template"]["spec"]
    assert pods["securityContext"]["runAsUser"] == pods["securityContext"]["fsGroup"] == int(user)
    assert pods["containers"][0]["workingDir"] == folder


def test_the_image_is_made_of_what_its_context_lets_through() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY") and "--from" not in line:
            for name in line.split()[1:-1]:
                assert (ROOT / name).exists(), name
                assert f"!{name}" in ignored, name
