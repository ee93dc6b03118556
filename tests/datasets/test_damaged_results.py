"""Results that were damaged are named with their file, whatever their reader makes of them."""

import io
import json
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from kedro.io import DatasetError

from ssl_kedro.core.errors import UserError
from ssl_kedro.datasets.base import FileDataset
from ssl_kedro.datasets.files import (
    ArrayMapDataset,
    RecordDataset,
    TensorsDataset,
    WholeFileDataset,
)
from ssl_kedro.hooks.project import mendable_message
from ssl_kedro.images.load import DataConfig, ImageSourceError, load_images
from ssl_kedro.retrieval.extraction import VectorStore
from ssl_kedro.retrieval.shards import ShardedDescriptors, write_shard
from ssl_kedro.saliency.store import PanoramaStore
from ssl_kedro.training.checkpoints import Checkpoint, CheckpointError, CheckpointStore
from ssl_kedro.training.config import Execution

RECORD = "ssl_kedro.training.config.Execution"


DATASETS: dict[str, Callable[[str], tuple[FileDataset[Any], Any]]] = {
    "array": lambda path: (ArrayMapDataset(filepath=path), np.ones((3, 2))),
    "tensors": lambda path: (TensorsDataset(filepath=path), {"a": np.ones(3)}),
    "record": lambda path: (RecordDataset(filepath=path, record=RECORD), Execution("cpu", "fp32")),
    "json": lambda path: (
        WholeFileDataset(filepath=path, dataset={"type": "json.JSONDataset"}),
        {"a": [1, 2]},
    ),
    "table": lambda path: (
        WholeFileDataset(filepath=path, dataset={"type": "pandas.CSVDataset"}),
        pd.DataFrame({"a": [1, 2]}),
    ),
}


def damaged(content: bytes, draw: random.Random) -> bytes:
    """Cut, empty, noise, or a few wrong bytes near the beginning, where headers are."""
    kind = draw.random()
    if kind < 0.3:
        return content[: draw.randrange(len(content))]
    if kind < 0.4:
        return draw.randbytes(200)
    changed = bytearray(content)
    for _ in range(draw.randrange(1, 5)):
        changed[draw.randrange(min(len(changed), 300))] = draw.randrange(256)
    return bytes(changed)


def check(path: Path, read: Callable[[], object], times: int = 60) -> None:
    """Read a file damaged in many ways, and a folder in its place; errors name it."""
    draw, content = random.Random(0), path.read_bytes()
    for _ in range(times):
        path.write_bytes(damaged(content, draw))
        _read(path, read)
    path.unlink()
    path.mkdir()
    _read(path, read)


def _read(path: Path, read: Callable[[], object]) -> None:
    try:
        read()
    except (UserError, DatasetError) as error:
        message = mendable_message(error)
        assert message is not None, repr(error)
        assert path.name in message or path.parent.name in message


@pytest.mark.parametrize("kind", DATASETS)
def test_results_of_nodes(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "found"
    dataset, value = DATASETS[kind](str(path))
    dataset.save(value)
    check(path, dataset.load)


def test_shards_and_archives(tmp_path: Path) -> None:
    shard = write_shard(tmp_path, 0, np.ones((3, 4), np.float32))
    check(shard, lambda: ShardedDescriptors.opened(tmp_path))
    path = tmp_path / "images.npz"
    images, labels = np.zeros((6, 8, 8), np.uint8), np.arange(6) % 2
    np.savez(path, x_train=images, y_train=labels, x_test=images, y_test=labels)
    config = DataConfig(source="npz", root=str(path), size=8)
    check(path, lambda: load_images(config, "train", 0))


@pytest.mark.parametrize("images", [10**12, 10**15])
def test_an_archive_that_claims_petabytes(tmp_path: Path, images: int) -> None:
    header = io.BytesIO()
    shape = {"descr": "|u1", "fortran_order": False, "shape": (images, 1000, 8)}
    np.lib.format.write_array_header_1_0(header, shape)  # type: ignore[arg-type]
    path = tmp_path / "images.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x_train.npy", header.getvalue() + b"few")
    with pytest.raises(ImageSourceError, match=r"images\.npz"):
        load_images(DataConfig(source="npz", root=str(path)), "train", 0)


def test_stores_that_are_damaged_hold_nothing(tmp_path: Path) -> None:
    for store, shape, kind in (
        (VectorStore(tmp_path / "vectors"), (4,), "<f4"),
        (PanoramaStore(tmp_path / "panoramas"), (3, 4, 8), "|u1"),
    ):
        with store.written(shape, kind) as (array, description):
            array.add(np.ones((2, *shape)))
            np.save(array.path.with_name("starts.npy"), np.arange(3))
            lists = {"names": ["a", "b"], "scenes": ["a", "b"], "splits": ["train", "test"]}
            made = {"identity": {}, "skipped": [], "seconds": 1.0, "images": 2, "vectors": 2}
            vectors = made | {"channels": 4}
            panoramas = lists | {"indices": [0, 1], "size": [4, 8], "identity": {}, "skipped": []}
            description |= vectors if kind == "<f4" else panoramas
        assert store.description() is not None
        for path in sorted(store.folder.iterdir()):
            content = path.read_bytes()
            check(path, store.description)
            path.rmdir()
            path.write_bytes(content)
        for wrong in ([], {"size": 3}, {"size": [4, 8], "skipped": [1], "names": 3}, {"names": 7}):
            (store.folder / "description.json").write_text(json.dumps(wrong))
            assert store.description() is None


STATE = {"epoch": 1, "history": [{"epoch": 1.0}], "identity": {}, "seconds": 1.0}


@pytest.mark.parametrize(
    "described",
    [
        *([], None, 3, {}, STATE | {"epoch": "1"}, STATE | {"history": []}),
        *(STATE | {"history": [1]}, STATE | {"identity": None}, STATE | {"seconds": None}),
        *(STATE | {"epoch": 0}, STATE | {"more": 1}, STATE | {"history": 1}),
    ],
)
def test_a_checkpoint_whose_description_is_none(tmp_path: Path, described: object) -> None:
    store = CheckpointStore(tmp_path / "checkpoint.safetensors")
    store.save(Checkpoint({"model.w": torch.ones(3)}, 1, [{"epoch": 1.0}], {}, 1.0))
    data = store.path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"]["checkpoint"] = json.dumps(described)
    text = json.dumps(header).encode()
    store.path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])
    with pytest.raises(CheckpointError, match=r"checkpoint\.safetensors is not a readable"):
        store.load()


def test_a_damaged_checkpoint(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "checkpoint.safetensors")
    store.save(Checkpoint({"model.w": torch.ones(3)}, 1, [{"epoch": 1.0}], {}, 1.0))
    check(store.path, store.load)


def test_what_a_reader_says_itself_stays(tmp_path: Path) -> None:
    class Strict(ArrayMapDataset):
        def read(self, path: Path) -> np.ndarray:
            raise UserError("said before")

    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(Exception) as found:
        Strict(filepath=str(tmp_path / "a")).load()
    assert mendable_message(found.value) == "said before"
