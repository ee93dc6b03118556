"""What every dataset of ours can do: other file systems, versions, whole files or none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from kedro.io import DataCatalog, DatasetError

from ssl_kedro.datasets.files import ArrayMapDataset, RecordDataset, TensorsDataset
from ssl_kedro.datasets.handles import CheckpointDataset
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.hooks.project import mendable_message

ARRAY = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture
def memory() -> Iterator[Any]:
    """fsspec's file system in memory: it knows no path of this machine."""
    system = fsspec.filesystem("memory")
    yield system
    system.rm("/", recursive=True)


def entry(kind: str, path: str, **more: object) -> dict[str, Any]:
    return {"type": f"ssl_kedro.datasets.files.{kind}", "filepath": path, **more}


def test_files_lie_where_fsspec_finds_them(memory: Any) -> None:
    catalog = DataCatalog.from_config(
        {
            "array": entry("ArrayMapDataset", "memory:///room/array.npy"),
            "record": entry("RecordDataset", "memory:///room/record.json", record="builtins.dict"),
            "tensors": entry("TensorsDataset", "memory:///room/tensors.safetensors"),
        }
    )
    assert not catalog.exists("array")
    catalog.save("array", ARRAY)
    catalog.save("record", {"a": 1})
    catalog.save("tensors", {"a": ARRAY})
    assert sorted(memory.ls("/room", detail=False)) == [
        "/room/array.npy",
        "/room/record.json",
        "/room/tensors.safetensors",
    ]
    assert catalog.exists("array")
    assert np.array_equal(catalog.load("array"), ARRAY)
    assert catalog.load("record") == {"a": 1}
    assert np.array_equal(catalog.load("tensors")["a"], ARRAY)


def test_folders_lie_where_fsspec_finds_them(memory: Any) -> None:
    catalog = DataCatalog.from_config({"e": entry("EncoderBundleDataset", "memory:///room/e")})
    encoder = GatedResNet18(EncoderConfig(width=4), image_size=16).eval()
    catalog.save("e", encoder)
    assert memory.isfile("/room/e/config.json")
    images = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(catalog.load("e").gated(images), encoder.gated(images))


@pytest.mark.parametrize("protocol", ["memory://", "local"])
def test_versions_are_kept_side_by_side(protocol: str, tmp_path: Path, memory: Any) -> None:
    place = str(tmp_path) if protocol == "local" else "memory:///room"

    def catalog(save_version: str, load: str | None = None) -> DataCatalog:
        config = {"array": entry("ArrayMapDataset", f"{place}/array.npy", versioned=True)}
        wanted = None if load is None else {"array": load}
        return DataCatalog.from_config(config, load_versions=wanted, save_version=save_version)

    for number in (1, 2):
        catalog(f"2026-01-0{number}T00.00.00.000Z").save("array", ARRAY * number)
    later = catalog("2026-01-03T00.00.00.000Z")
    assert np.array_equal(later.load("array"), ARRAY * 2)
    first = catalog("2026-01-03T00.00.00.000Z", load="2026-01-01T00.00.00.000Z")
    assert np.array_equal(first.load("array"), ARRAY)


def test_a_save_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    dataset = ArrayMapDataset(filepath=str(tmp_path / "array.npy"))
    dataset.save(ARRAY)
    with pytest.raises(DatasetError):
        dataset.save(np.array([object()]))  # no pickle
    assert np.array_equal(dataset.load(), ARRAY)
    assert [path.name for path in tmp_path.iterdir()] == ["array.npy"]


def test_a_record_that_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    dataset = RecordDataset(record="builtins.dict", filepath=str(tmp_path / "record.json"))
    dataset.save({"a": 1})
    with pytest.raises(DatasetError):
        dataset.save({"b": object()})
    assert dataset.load() == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


def test_a_path_that_is_not_set_is_refused_when_it_is_needed() -> None:
    dataset = TensorsDataset(filepath=None)
    assert not dataset.exists()
    for attempt in (dataset.load, lambda: dataset.save({"a": ARRAY})):
        with pytest.raises(DatasetError, match="safetensors file, found none: set its parameter"):
            attempt()


def test_a_handle_is_a_path_of_this_machine() -> None:
    said = "a node writes there while it runs; expected a path of this machine, found the protocol"
    with pytest.raises(DatasetError, match=said) as raised:
        CheckpointDataset(filepath="memory:///room/checkpoint")
    assert (mendable_message(raised.value) or "").startswith("memory:///room/checkpoint: a node")
