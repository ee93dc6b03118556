"""Whole trainings through launched workers: equal, restarted, interrupted, diverged."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ssl_kedro.training.checkpoints import CheckpointError, CheckpointStore, EpochLog
from ssl_kedro.training.config import Execution
from ssl_kedro.training.distributed import launch, shared
from ssl_kedro.training.distributed.job import write_job
from ssl_kedro.training.distributed.launch import WorkerError
from ssl_kedro.training.divergence import TrainingDiverged
from ssl_kedro.training.loop import train_encoder, train_planned
from training.distributed.trainings import (
    PANORAMAS,
    images,
    panorama_training,
    panoramas,
    training,
)
from warm import run_module, warm_process

# Runs a training of trainings.py as a program of its own, which tests can interrupt.
PROGRAM = """
import json, sys
from pathlib import Path
from safetensors.torch import save_file
from ssl_kedro.hooks.interruption import exit_on_sigterm
from ssl_kedro.training.checkpoints import CheckpointStore
from ssl_kedro.training.distributed import launch, shared
from ssl_kedro.training.loop import train_planned
from ssl_kedro.training.checkpoints import EpochLog
from training.distributed.trainings import planned

folder, changes = Path(sys.argv[1]), json.loads(sys.argv[2])
then = changes.pop("then", None)
exit_on_sigterm()
result = train_planned(
    *planned(**changes),
    EpochLog(folder / "epochs.jsonl"),
    CheckpointStore(folder / "checkpoint.safetensors"),
)
save_file(result.method.state_dict(), folder / "weights.safetensors")
(folder / "history.json").write_text(json.dumps(result.history))
if then is not None:
    result = train_planned(*planned(**changes | {"name": then}))
    save_file(result.method.state_dict(), folder / "then.safetensors")
"""
STARTED: list[subprocess.Popen[str]] = []
CUDA = Execution("cuda", "fp32")
TESTS = Path(__file__).parents[2]
WORKER = "ssl_kedro.training.distributed.worker"
needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="looks for workers in /proc")


def program(folder: Path, **changes: object) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    (folder / "tmp").mkdir(exist_ok=True)
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent / "src")])
    started = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), json.dumps(changes)],
        env={
            **os.environ,
            "PYTHONPATH": paths,
            "OMP_NUM_THREADS": "1",
            "TMPDIR": str(folder / "tmp"),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    STARTED.append(started)
    return started


@pytest.fixture(autouse=True)
def nothing_left_running() -> Iterator[None]:
    """Programs of a test that failed; their workers end with them."""
    yield
    while STARTED:
        STARTED.pop().kill()


def workers_of(process: subprocess.Popen[str], count: int = 2) -> list[int]:
    """Process numbers of the workers, once all are there."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"the program ended early: {process.communicate()[0]}")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        found = [int(child) for child in children if WORKER in command(int(child))]
        if len(found) == count:
            return found
        time.sleep(0.05)
    raise AssertionError("no workers came")


def command(number: int) -> str:
    """Command line of a process; empty of one that is gone or only waits to be taken note of."""
    try:
        return Path(f"/proc/{number}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 90
    while not path.exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, f"{path} was not written"
        time.sleep(0.05)


def all_gone(workers: list[int]) -> bool:
    deadline = time.monotonic() + 20
    while any(WORKER in command(number) for number in workers):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def distance(one: torch.nn.Module, other: torch.nn.Module) -> float:
    """Between all weights and statistics of two networks of one shape."""
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return float(torch.stack([(a - b).double().norm() for a, b in pairs]).norm())


def without_timing(history: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if k != "images_per_second"} for row in history]


def test_two_workers_give_the_numbers_of_one(tmp_path: Path) -> None:
    # Slow steps and no gates: rounding in float32, which differs between one process and two as
    # between either and float64, then grows little. test_equality.py compares in float64.
    recipe = {"lr": 0.001}
    alone = train_encoder(training(**recipe), images())
    rows: list[float] = []
    log = EpochLog(tmp_path / "epochs.jsonl")
    log.subscribe(lambda row: rows.append(row["epoch"]))
    store = another_runs_checkpoint(tmp_path)  # without resume of no account
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    environment = dict(os.environ)
    found = train_encoder(training(workers=2, **recipe), images(), log, store)
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert dict(os.environ) == environment
    start = training().method.build()
    moved = distance(alone.method, start)
    assert moved > 0.03
    assert distance(alone.method, found.method) < 1e-3 * moved
    for row, wanted in zip(found.history, alone.history, strict=True):
        for name in wanted.keys() - {"images_per_second"}:
            assert row[name] == pytest.approx(wanted[name], rel=1e-3, abs=1e-4), name
    # One log, one checkpoint, with ordinary keys.
    assert rows == [1, 2, 3]
    written = [json.loads(line) for line in (tmp_path / "epochs.jsonl").read_text().splitlines()]
    assert written == found.history
    kept = store.load()
    assert kept is not None
    assert kept.history == found.history
    names = {name.removeprefix("model.") for name in kept.tensors if name.startswith("model.")}
    assert names == set(alone.method.state_dict())
    # A training of one process goes on from it, and is at its end.
    again = train_encoder(training(resume=True, **recipe), images(), None, store)
    for key, value in found.method.state_dict().items():
        assert torch.equal(again.method.state_dict()[key], value), key


@pytest.mark.slow
def test_two_workers_pretrain_on_panoramas_as_one_and_go_on_from_its_checkpoint(
    tmp_path: Path,
) -> None:
    """Negatives, bank and normaliser are one for the batch, also behind a checkpoint."""
    recipe = {"lr": 0.001, "checkpoint_every": 1}
    store = CheckpointStore(tmp_path / "checkpoint.safetensors")
    after_one = CheckpointStore(tmp_path / "after_one.safetensors")
    log = EpochLog(tmp_path / "epochs.jsonl")
    # The row of an epoch is logged before its checkpoint is written.
    log.subscribe(
        lambda row: shutil.copy(store.path, after_one.path) if row["epoch"] == 2 else None
    )
    alone = train_planned(panorama_training(**recipe), panoramas(), log, store)
    start = panorama_training().method.build()
    start.bank.log_normaliser.zero_()  # not a number before the first batch
    moved = distance(alone.method, start)
    assert moved > 0.03
    assert alone.history[-1]["loss"] != pytest.approx(alone.history[0]["loss"], rel=1e-2)
    for checkpoints in (None, after_one):
        shared = panorama_training(**recipe, workers=2, resume=True)
        found = train_planned(shared, panoramas(), None, checkpoints)
        assert distance(alone.method, found.method) < 1e-3 * moved
        for row, wanted in zip(found.history, alone.history, strict=True):
            for name in wanted.keys() - {"images_per_second"}:
                assert row[name] == pytest.approx(wanted[name], rel=1e-3, abs=1e-4), name


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_two_devices_give_the_numbers_of_one() -> None:
    recipe = {"lr": 0.001, "device": "cuda"}
    alone = train_encoder(replace(training(**recipe), execution=CUDA), images())
    found = train_encoder(replace(training(workers=2, **recipe), execution=CUDA), images())
    moved = distance(alone.method, training().method.build())
    assert distance(alone.method, found.method) < 1e-2 * moved
    for row, wanted in zip(found.history, alone.history, strict=True):
        assert row["loss"] == pytest.approx(wanted["loss"], rel=1e-3)


@pytest.mark.slow
def test_divergence_ends_all_workers_with_the_message_of_one_process(tmp_path: Path) -> None:
    recipe = {"lr": 1000}
    with pytest.raises(TrainingDiverged) as alone:
        train_encoder(training(**recipe), images())
    began = time.monotonic()
    with pytest.raises(TrainingDiverged) as together:
        train_encoder(training(workers=2, **recipe), images())
    assert str(together.value).split(": loss")[0] == str(alone.value).split(": loss")[0]
    assert "train.lr" in str(together.value)
    assert time.monotonic() - began < 60  # no restart would have ended otherwise


@pytest.mark.slow
def test_checkpoint_of_another_run_is_refused_by_the_launcher(tmp_path: Path) -> None:
    """Without resume it is of no account: test_two_workers_give_the_numbers_of_one begins so."""
    store = another_runs_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="name: checkpoint 'simsiam', now 'vicreg'"):
        train_encoder(training("vicreg", workers=2, resume=True), images(), None, store)


def another_runs_checkpoint(folder: Path) -> CheckpointStore:
    store = CheckpointStore(folder / "checkpoint.safetensors")
    train_encoder(training("simsiam", epochs=1), images(), None, store)
    return store


@pytest.mark.slow
def test_a_fault_of_the_first_worker_alone_reaches_the_launcher(tmp_path: Path) -> None:
    """A checkpoint that cannot be written: the other worker waits for a step that never comes."""
    (tmp_path / "file").write_text("")
    store = CheckpointStore(tmp_path / "file" / "checkpoint.safetensors")
    with pytest.raises(OSError, match="file"):
        train_encoder(training(workers=2), images(), None, store)


def test_a_process_with_a_fault_of_its_own_ends_as_failed_and_all_end_with_it_afterwards(
    tmp_path: Path,
) -> None:
    """Else the launcher would wait for the others, which wait for this one."""
    (tmp_path / "file").write_text("")
    folder = tmp_path / "job"
    folder.mkdir()
    store = CheckpointStore(tmp_path / "file" / "checkpoint.safetensors")
    write_job(folder, training(epochs=1), images(), store, threads=1)
    codes = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        place = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
        worker = run_module(
            *(WORKER, str(folder), str(warm_process())),
            folder=tmp_path,
            environment={
                **os.environ,
                **place,
                "MASTER_PORT": port,
                "GLOO_SOCKET_IFNAME": "lo",
                "PYTHONPATH": str(TESTS.parent / "src"),
            },
        )
        codes.append(worker.returncode)
        assert json.loads((folder / "failure.json").read_text())["kind"] == "OSError", worker.stderr
    assert codes == [1, 0]


def test_devices_are_left_before_workers_need_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def launched(*_: object) -> None:
        done.append("launched")
        raise WorkerError("enough")

    monkeypatch.setattr(shared, "launch", launched)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: done.append("emptied"))
    with pytest.raises(WorkerError, match="enough"):
        train_encoder(training(workers=2), images())
    assert done == ["emptied", "launched"]


def test_workers_that_cannot_start_are_an_error_with_their_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(launch, "MAX_RESTARTS", 1)
    monkeypatch.setattr(launch, "_WORKER", "no_such_worker")
    with pytest.raises(launch.WorkerError, match="exit code 1 after 1 restarts") as error:
        train_encoder(training(workers=2), images())
    assert "Its last words" in str(error.value)
    assert "No module named no_such_worker" in str(error.value)


@pytest.mark.slow
@needs_proc
@pytest.mark.parametrize("name", ["dual_gating", PANORAMAS])
def test_a_killed_worker_costs_no_number(tmp_path: Path, name: str) -> None:
    """Every second epoch has a checkpoint; SIGKILL hits after some of them."""
    recipe = {"name": name, "epochs": 12, "checkpoint_every": 2, "workers": 2}
    whole = program(tmp_path / "whole", **recipe)
    text, _ = whole.communicate(timeout=200)
    assert whole.returncode == 0, text
    killed = program(tmp_path / "killed", **recipe)
    wait_for(tmp_path / "killed" / "checkpoint.safetensors", killed)
    victims = workers_of(killed)
    os.kill(victims[1], signal.SIGKILL)
    assert all_gone(victims)  # the other one was ended as well
    workers_of(killed)  # and both came back
    text, _ = killed.communicate(timeout=200)
    assert killed.returncode == 0, text
    expected = load_file(tmp_path / "whole" / "weights.safetensors")
    found = load_file(tmp_path / "killed" / "weights.safetensors")
    for key, value in expected.items():
        assert torch.equal(found[key], value), key
    histories = [
        json.loads((tmp_path / name / "history.json").read_text()) for name in ("whole", "killed")
    ]
    assert without_timing(histories[0]) == without_timing(histories[1])
    log = (tmp_path / "killed" / "epochs.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in log] == list(range(1, 13))
    assert not list((tmp_path / "killed" / "tmp").glob("ssl_kedro-*"))


@pytest.mark.slow
@needs_proc
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_launcher(tmp_path: Path, number: signal.Signals) -> None:
    process = program(tmp_path, epochs=10_000, workers=2)
    wait_for(tmp_path / "checkpoint.safetensors", process)
    workers = workers_of(process)
    process.send_signal(number)
    text, _ = process.communicate(timeout=60)
    expected = {signal.SIGINT: {-2, 1, 130}, signal.SIGTERM: {143}, signal.SIGKILL: {-9}}
    assert process.returncode in expected[number], text
    if number == signal.SIGINT:
        assert "KeyboardInterrupt" in text
    assert all_gone(workers)
    if number != signal.SIGKILL:  # which leaves no time to tidy up
        assert not list((tmp_path / "tmp").glob("ssl_kedro-*"))
    kept = CheckpointStore(tmp_path / "checkpoint.safetensors").load()
    assert kept is not None
    assert kept.epoch >= 1


@pytest.mark.slow
def test_two_machines_of_one_worker_are_one_machine_of_two(tmp_path: Path) -> None:
    """Two launches with an address on this machine: one log and checkpoint, the same result."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    # A second training meets at the same address.
    recipe = {"name": "dual_gating", "nodes": 2, "rendezvous": address, "then": "vicreg"}
    recipe["memory_format"] = "channels_last"
    machines = [program(tmp_path / name, **recipe) for name in "ab"]
    for machine in machines:
        text, _ = machine.communicate(timeout=200)
        assert machine.returncode == 0, text
    states = [load_file(tmp_path / name / "weights.safetensors") for name in "ab"]
    together = train_encoder(training("dual_gating", workers=2), images())
    for key, value in together.method.state_dict().items():
        assert torch.equal(states[0][key], states[1][key]), key
        assert torch.equal(states[0][key], value), key
    second = [load_file(tmp_path / name / "then.safetensors") for name in "ab"]
    assert all(torch.equal(second[0][key], value) for key, value in second[1].items())
    logs = [(tmp_path / name / "epochs.jsonl").read_text() for name in "ab"]
    assert logs[0] == logs[1]
    assert sum((tmp_path / name / "checkpoint.safetensors").exists() for name in "ab") == 1
