"""A run that is interrupted says what is kept and how to go on; the next one says so too."""

import logging
import os
import signal
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline, node

from ssl_kedro.core.files import StorageError
from ssl_kedro.hooks.interruption import (
    checkpoints,
    command_line,
    continuing,
    interrupted,
    resume_keys,
)
from ssl_kedro.hooks.rooms import RoomHook
from ssl_kedro.pipelines import effective_parameters
from ssl_kedro.training.checkpoints import CheckpointStore

PIPELINE = Pipeline([node(lambda: 1, None, "dual_gating.budget_30.encoder", name="train")])
PARAMETERS = {
    "dual_gating": {"train": {"resume": False, "epochs": 3}},
    "saliency360": {"train": {"resume": True}, "decoder_train": {"resume": False}},
    "run": "night",
}
RUN, CATALOG = {"pipeline_names": ["dual_gating"]}, DataCatalog()
# A run that has come to its second epoch and is interrupted there, as `kedro run` would be.
WAITING = f"""
import sys, time
sys.path[:0] = {[str(Path(__file__).parent)]!r}
from test_interruption import CATALOG, PIPELINE, RUN, begun, trained
hook = begun(sys.argv[1])
hook.before_pipeline_run(run_params=RUN, pipeline=PIPELINE, catalog=CATALOG)
trained(sys.argv[1])
print("training", flush=True)
time.sleep(60)
"""


def begun(project: Path | str, **given: str) -> RoomHook:
    effective_parameters.bind(lambda: PARAMETERS)
    hook = RoomHook()
    loader = SimpleNamespace(room=lambda: "data", runtime_params=given)
    hook.after_context_created(SimpleNamespace(project_path=project, config_loader=loader))
    return hook


def trained(project: Path | str, model: str = "budget_30") -> Path:
    path = Path(project) / f"data/06_models/dual_gating.{model}/checkpoint.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"state")
    return path


def test_parameters_that_would_continue_a_run() -> None:
    assert resume_keys(PARAMETERS, {"dual_gating"}) == ["dual_gating.train.resume"]
    both = resume_keys(PARAMETERS, {"saliency360", "dual_gating", "retrieval_eval"})
    assert both == ["dual_gating.train.resume", "saliency360.decoder_train.resume"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("kedro run", "kedro run --params a.resume=true,b.resume=true"),
        ("kedro run --params x=1 --env e", "kedro run --params x=1,a.resume=true,b.resume=true "),
        ("kedro run --params=x=1", "kedro run --params=x=1,a.resume=true,b.resume=true"),
    ],
)
def test_the_command_that_continues_is_the_one_that_was_given(given: str, expected: str) -> None:
    found = continuing(given.split(), ["a.resume", "b.resume"])
    assert found.startswith(expected)
    assert continuing(given.split(), []) == given


def test_the_program_is_called_as_it_was() -> None:
    assert command_line(["/usr/bin/kedro", "run"]) == ["kedro", "run"]
    assert command_line(["/lib/kedro/__main__.py", "run"]) == ["python", "-m", "kedro", "run"]


def test_only_checkpoints_of_the_run_count(tmp_path: Path) -> None:
    old, new = trained(tmp_path), trained(tmp_path, "budget_50")
    other = tmp_path / "data/06_models/saliency360.contrastive/checkpoint.safetensors"
    other.parent.mkdir()
    other.write_bytes(b"state")
    os.utime(old, (1000, 1000))
    since = new.stat().st_mtime - 10
    assert checkpoints(tmp_path / "data", {"dual_gating"}, since) == ["dual_gating.budget_50"]


def test_without_checkpoints_the_same_command_starts_again() -> None:
    said = interrupted(Path("data"), [], "kedro run")
    assert said == (
        "Interrupted. Kept: results of finished nodes in data/. Start again with: kedro run"
    )


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_an_interrupted_run_says_how_to_go_on(sent: signal.Signals, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert "training\n" in iter(process.stdout.readline, "")
    process.send_signal(sent)
    _, said = process.communicate(timeout=60)
    assert said.count("Interrupted. Kept: results of finished nodes in data/") == 1
    assert "and the checkpoints of dual_gating.budget_30. Continue with: kedro run" in said
    assert said.strip().endswith("--params dual_gating.train.resume=true")


@pytest.mark.parametrize("ended", [RoomHook._release, RoomHook.on_pipeline_error])
def test_the_next_run_says_that_checkpoints_are_there(
    ended: Callable[[RoomHook], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hook = begun(tmp_path)
    hook.before_pipeline_run(run_params=RUN, pipeline=PIPELINE, catalog=CATALOG)
    trained(tmp_path)
    ended(hook)  # as at the end of an interpreter that was interrupted, or after an error
    with caplog.at_level(logging.WARNING):
        hook.before_pipeline_run(run_params=RUN, pipeline=PIPELINE, catalog=CATALOG)
    (said,) = [record.getMessage() for record in caplog.records]
    assert "did not end; it has left checkpoints of dual_gating.budget_30" in said
    assert "add --params dual_gating.train.resume=true to continue" in said
    caplog.clear()
    hook.after_pipeline_run(run_params=RUN)
    hook.before_pipeline_run(
        run_params=RUN, pipeline=PIPELINE, catalog=CATALOG
    )  # the one before has ended
    assert not caplog.records
    hook.on_pipeline_error()


TRAINED = Pipeline(
    [
        node(lambda _, model=model: model, f"{name}.checkpoint", f"{name}.encoder", name=name)
        for model in ("a", "b")
        for name in [f"dual_gating.{model}"]
    ]
)


@pytest.mark.parametrize("resumes", [False, True])
def test_checkpoints_of_a_finished_run_are_forgotten_where_all_begins_anew(
    resumes: bool, tmp_path: Path
) -> None:
    """A resume after an interruption would come upon those that were not yet replaced."""
    old, other = trained(tmp_path, "a"), trained(tmp_path, "b")
    names = {f"dual_gating.{model}.checkpoint": path for model, path in (("a", old), ("b", other))}
    catalog = DataCatalog({n: MemoryDataset(CheckpointStore(p)) for n, p in names.items()})
    hook = begun(tmp_path)
    effective_parameters.bind(lambda: {"dual_gating": {"train": {"resume": resumes}}})
    one = TRAINED.only_nodes("dual_gating.a")
    hook.before_pipeline_run(run_params=RUN, pipeline=one, catalog=catalog)
    assert old.exists()  # the run may still be refused
    hook.before_node_run()
    assert (old.exists(), other.exists()) == (resumes, True)
    old.write_bytes(b"of this run")
    hook.before_node_run()
    hook._release()
    hook.before_pipeline_run(run_params=RUN, pipeline=one, catalog=catalog)  # after an interruption
    hook.before_node_run()
    assert old.exists()
    hook.on_pipeline_error()


def test_a_run_interrupted_in_this_interpreter_does_not_keep_the_room(tmp_path: Path) -> None:
    hook = begun(tmp_path)
    hook.before_pipeline_run(run_params=RUN, pipeline=PIPELINE, catalog=CATALOG)
    hook.before_pipeline_run(run_params=RUN, pipeline=PIPELINE, catalog=CATALOG)  # no RoomError
    hook.after_pipeline_run(run_params=RUN)
    assert not (tmp_path / "data/.running.json").exists()


@pytest.mark.parametrize("given", [{}, {"mlflow_run_id": "of another"}], ids=["own", "joined"])
def test_a_room_without_room_is_refused_at_the_start(
    given: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook, usage = begun(tmp_path, **given), namedtuple("usage", "total used free")
    left = trained(tmp_path)
    left.write_bytes(b"x" * 60_000_000)
    for free, needed in ((10_000_000, "60.0"), (59_000_000, "60.0")):
        monkeypatch.setattr("shutil.disk_usage", lambda _, free=free: usage(1, 1, free))
        with pytest.raises(StorageError) as found:
            hook.before_pipeline_run(run_params=RUN, pipeline=PIPELINE, catalog=CATALOG)
        assert f"needs at least {needed} MB, {free / 1e6} MB are free" in str(found.value)
    left.write_bytes(b"x")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(1, 1, 49_000_000))
    with pytest.raises(StorageError, match=r"needs at least 50\.0 MB, 49\.0 MB are free"):
        hook.before_pipeline_run(run_params=RUN, pipeline=PIPELINE, catalog=CATALOG)
    monkeypatch.undo()
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(StorageError, match="read-only"):
        hook.before_pipeline_run(run_params=RUN, pipeline=PIPELINE, catalog=CATALOG)
    monkeypatch.undo()
    hook.before_pipeline_run(
        run_params=RUN, pipeline=PIPELINE, catalog=CATALOG
    )  # the room is free again
    hook.after_pipeline_run(run_params=RUN)


def test_a_read_only_disk_is_told_before_a_lock_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("pathlib.Path.mkdir", refused)
    with pytest.raises(StorageError, match=r"data cannot be written \(Read-only file system\)"):
        begun(tmp_path).before_pipeline_run(run_params=RUN, pipeline=PIPELINE, catalog=CATALOG)
