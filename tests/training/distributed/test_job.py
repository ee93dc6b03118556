from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_kedro.core.rows import rows_between
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.methods.plan import method_classes
from ssl_kedro.training.checkpoints import CheckpointStore
from ssl_kedro.training.distributed.job import read_job, write_job
from training.distributed.trainings import images, panorama_training, panoramas, training


@pytest.mark.parametrize("name", sorted(method_classes()))
def test_every_training_comes_back_as_it_was_written(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    teacher = None
    if name in {"seed", "simreg"}:
        teacher = GatedResNet18(EncoderConfig(width=4), branches=("dense",), image_size=16)
    written = training(name, teacher=teacher, workers=2)
    start = GatedResNet18(EncoderConfig(width=4), branches=("dense",), image_size=16)
    setup = dataclasses.replace(written.method.setup, start=start, view_size=8)
    method = dataclasses.replace(written.method, setup=setup)
    written = dataclasses.replace(written, method=method)
    write_job(tmp_path, written, images(), None, threads=1)
    found = read_job(tmp_path).training
    for field in ("views", "recipe", "execution", "seed", "label", "identity"):
        assert getattr(found, field) == getattr(written, field), field
    assert found.method.config == written.method.config
    assert type(found.method.config.options) is type(written.method.config.options)
    assert found.method.setup.config == written.method.setup.config
    assert found.method.setup.view_size == 8
    assert (found.method.name, found.method.budget) == (name, written.method.budget)
    built = found.method.build().state_dict()
    for key, value in written.method.build().state_dict().items():
        assert torch.equal(built[key], value), key
    if teacher is not None:
        assert found.method.setup.teacher is not None
        for key, value in teacher.state_dict().items():
            assert torch.equal(found.method.setup.teacher.state_dict()[key], value), key
    suffixes = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert suffixes <= {".json", ".npy", ".safetensors"}


def test_a_training_on_panoramas_comes_back_as_it_was_written(tmp_path: Path) -> None:
    written = panorama_training(workers=2)
    write_job(tmp_path, written, panoramas(), None, threads=1)
    found = read_job(tmp_path)
    assert found.training == written
    built = found.training.method.build().state_dict()
    for key, value in written.method.build().state_dict().items():
        torch.testing.assert_close(built[key], value, rtol=0, atol=0, equal_nan=True, msg=key)
    assert np.array_equal(found.images, panoramas())


def test_an_array_is_copied_and_a_whole_memory_map_is_referred_to(tmp_path: Path) -> None:
    pixels = images()
    np.save(tmp_path / "map.npy", pixels)
    mapped = np.load(tmp_path / "map.npy", mmap_mode="r")
    for index, (given, resident, copied) in enumerate(
        [
            (pixels, True, True),
            (mapped, False, False),
            (mapped[10:30], False, True),
            (rows_between(mapped, 10, 30), False, False),
        ]
    ):
        folder = tmp_path / str(index)
        folder.mkdir()
        write_job(folder, training(), given, None, threads=1)
        found = read_job(folder)
        assert np.array_equal(found.images, given)
        # A map is read in another order within a batch than an array, also by the workers.
        assert isinstance(found.images, np.memmap) != resident
        assert (folder / "images.npy").exists() == copied


def test_a_checkpoint_from_before_is_stale_unless_it_is_to_be_resumed(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "old" / "checkpoint.safetensors")
    store.path.parent.mkdir()
    store.path.write_bytes(b"of an earlier run")
    for resume in (False, True):
        write_job(tmp_path, training(resume=resume), images(), store, threads=1)
        job = read_job(tmp_path)
        assert job.checkpoints.path == store.path
        assert (job.stale == store.path.stat().st_mtime_ns) == (not resume)
    write_job(tmp_path, training(), images(), None, threads=1)
    assert json.loads((tmp_path / "job.json").read_text())["checkpoint"].startswith(str(tmp_path))
