"""Disks that are full, read-only or not ours: one sentence, and what was there stays."""

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import SafetensorError

from ssl_kedro.core import files
from ssl_kedro.core.errors import UserError
from ssl_kedro.core.files import StorageError, replaced_file, replaced_folder
from ssl_kedro.datasets.files import ArrayMapDataset, TensorsDataset, WholeFileDataset
from ssl_kedro.encoders.bundle import load_encoder, save_encoder
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.hooks.project import mendable_message
from ssl_kedro.retrieval.extraction import VectorStore
from ssl_kedro.training.checkpoints import Checkpoint, CheckpointStore, EpochLog

FAULTS = [
    *(OSError(code, os.strerror(code)) for code in (errno.ENOSPC, errno.EROFS, errno.EDQUOT)),
    SafetensorError("I/O error: No space left on device (os error 28)"),
    RuntimeError("write error in index: 0 != 4 (No space left on device)"),
    OSError("875000 requested and 0 written"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_of_the_disk_is_one_sentence(fault: Exception, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 2_000_000)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/old").write_text("old")
    for made, name in ((replaced_file, "file"), (replaced_folder, "folder")):
        with pytest.raises(StorageError) as found, made(tmp_path / name):
            raise fault
        assert str(tmp_path / name) in str(found.value)
        assert "MB are free there" in str(found.value)
        assert isinstance(found.value, UserError)
        assert "\n" not in str(found.value)
    assert "needs at least 2.0 MB" in str(_caught(tmp_path / "file", fault))
    assert (tmp_path / "folder/old").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def _caught(path: Path, fault: Exception) -> StorageError:
    with pytest.raises(StorageError) as found, replaced_file(path):
        raise fault
    return found.value


@pytest.mark.parametrize("fault", [ValueError("of no disk"), UserError("No space left on device")])
def test_other_errors_stay_as_they_are(fault: Exception, tmp_path: Path) -> None:
    with pytest.raises(type(fault)) as found, replaced_file(tmp_path / "file"):
        raise fault
    assert found.value is fault


def test_a_folder_that_cannot_get_its_name_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with replaced_folder(tmp_path / "bundle") as folder:
        (folder / "config.json").write_text("old")
    kept = Path.replace

    def refused(path: Path, target: Path) -> Path:
        if path.suffix == ".tmp":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return kept(path, target)

    monkeypatch.setattr(Path, "replace", refused)
    with pytest.raises(StorageError), replaced_folder(tmp_path / "bundle") as folder:
        (folder / "config.json").write_text("new")
    assert (tmp_path / "bundle/config.json").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_an_epoch_log_on_a_full_disk_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = EpochLog(tmp_path / "epochs.jsonl")
    log.restart([{"epoch": 1}])

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(StorageError, match=r"epochs\.jsonl cannot be written"):
        log.append({"epoch": 2})
    monkeypatch.undo()
    assert json.loads((tmp_path / "epochs.jsonl").read_text()) == {"epoch": 1}


def test_room_is_counted_on_the_disk_that_a_path_will_be_on(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    assert files.free_bytes(tmp_path / "not" / "yet") == pytest.approx(free, rel=0.2)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB, where this user may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this user may not mount a small disk")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def _encoder(width: int) -> GatedResNet18:
    torch.manual_seed(0)
    return GatedResNet18(EncoderConfig(stem="cifar_pad1", width=width)).eval()


def _store(folder: Path, rows: int) -> None:
    with VectorStore(folder).written((1000,), "<f4") as (array, description):
        for _ in range(rows):
            array.add(np.ones((1, 1000), np.float32))
        description.update(rows=rows)


def _checkpoint(folder: Path, numbers: int) -> None:
    state = Checkpoint({"model.w": torch.ones(numbers)}, 1, [{"epoch": 1}], {}, 1.0)
    CheckpointStore(folder / "checkpoint.safetensors").save(state)


# What writes a result of a size, and what of it a small and a large one are.
WRITERS: dict[str, tuple[Callable[[Path, int], None], int, int]] = {
    "checkpoint": (_checkpoint, 1000, 1_000_000),
    "bundle": (lambda folder, width: save_encoder(_encoder(width), folder / "encoder"), 4, 32),
    "vectors": (lambda folder, rows: _store(folder / "vectors", rows), 10, 1000),
    "tensors": (
        lambda folder, n: TensorsDataset(filepath=str(folder / "t")).save({"a": np.ones(n)}),
        *(1000, 1_000_000),
    ),
    "array": (
        lambda folder, n: ArrayMapDataset(filepath=str(folder / "a")).save(np.ones(n)),
        *(1000, 1_000_000),
    ),
    "table": (
        lambda folder, n: WholeFileDataset(
            filepath=str(folder / "t.csv"), dataset={"type": "pandas.CSVDataset"}
        ).save(pd.DataFrame({"a": np.arange(n)})),
        *(1000, 1_000_000),
    ),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_disk_that_fills_up_keeps_the_earlier_result(kind: str, small_disk: Path) -> None:
    write, small, large = WRITERS[kind]
    write(small_disk, small)
    before = {p: p.read_bytes() for p in small_disk.rglob("*") if p.is_file()}
    with pytest.raises(Exception) as found:
        write(small_disk, large)
    message = mendable_message(found.value)
    assert message is not None
    assert str(small_disk) in message
    assert "cannot be written (No space left on device): it needs at least" in message
    assert {p: p.read_bytes() for p in small_disk.rglob("*") if p.is_file()} == before
    if kind == "bundle":
        load_encoder(small_disk / "encoder")
