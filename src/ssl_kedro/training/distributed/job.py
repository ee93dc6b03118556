"""A training written down, so that other processes can do their part of it.

A job is a private folder: ``job.json``, a teacher as an encoder bundle, the images as ``.npy`` or
the path of the memory map that holds them already. Nothing in it is a pickle. First weights are not
in it: they follow from the seed, and the first process sends its own to the others.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ssl_kedro.core.rows import ForOthers
from ssl_kedro.training.checkpoints import CheckpointStore
from ssl_kedro.training.planned import TRAININGS, PlannedTraining

_JOB, _IMAGES = "job.json", "images.npy"


@dataclass(frozen=True)
class Job:
    """What a worker finds in a job's folder.

    Args:
        training: what to do.
        images: uint8 (N, 3, H, W), a memory map where the training had one, else an array.
        checkpoints: where the first process keeps the state.
        stale: modification time in ns of a checkpoint that lay there before the job and is not to
            be resumed.
        threads: of each process.
    """

    training: PlannedTraining[Any]
    images: np.ndarray
    checkpoints: CheckpointStore
    stale: int | None
    threads: int


def write_job(
    folder: Path,
    training: PlannedTraining[Any],
    images: np.ndarray,
    checkpoints: CheckpointStore | None,
    threads: int,
) -> None:
    """Write a job down; without a checkpoint store it keeps its state in its own folder."""
    store = checkpoints or CheckpointStore(folder / "checkpoint.safetensors")
    stale = None
    if store.path.exists() and not training.recipe.resume:
        stale = store.path.stat().st_mtime_ns
    mapped = ForOthers.of(images)
    if mapped.path is None:
        np.save(folder / _IMAGES, images, allow_pickle=False)
    written = {
        "kind": type(training).__name__,
        "training": training.written(folder),
        "images": mapped.path and [str(mapped.path), mapped.offset, mapped.shape, mapped.kind],
        "resident": not isinstance(images, np.memmap),
        "checkpoint": str(store.path.absolute()),
        "stale": stale,
        "threads": threads,
    }
    (folder / _JOB).write_text(json.dumps(written), encoding="utf-8")


def read_job(folder: Path) -> Job:
    """The job that :func:`write_job` wrote; its images are mapped, not read."""
    found = json.loads((folder / _JOB).read_text(encoding="utf-8"))
    training = TRAININGS[found["kind"]].read(found["training"], folder)
    if found["images"]:
        path, offset, shape, kind = found["images"]
        images = ForOthers(None, Path(path), offset, tuple(shape), kind).opened()
    else:
        # An array is one that processes of one machine share; private pages, should one be written
        # to.
        mode: Literal["c", "r"] = "c" if found["resident"] else "r"
        images = np.load(folder / _IMAGES, mmap_mode=mode, allow_pickle=False)
    if found["resident"]:
        images = np.asarray(images)
    store = CheckpointStore(Path(found["checkpoint"]))
    return Job(training, images, store, found["stale"], found["threads"])
