"""Results and images on a real S3 server, on loopback."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import s3fs
import torch
from kedro.io import DataCatalog, DatasetError
from moto.core.authorization import enable_iam_authentication
from moto.server import ThreadedMotoServer
from PIL import Image

from ssl_kedro.core import remote
from ssl_kedro.datasets.files import ArrayMapDataset
from ssl_kedro.datasets.sources import ImageSourceDataset
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.hooks.project import mendable_message

ARRAY = np.arange(6, dtype=np.float32).reshape(2, 3)
FILES = "ssl_kedro.datasets.files"
CREDENTIALS = {"key": "me", "secret": "mine"}
# A server that is not there is asked once.
AT_ONCE = {"config_kwargs": {"retries": {"max_attempts": 0}, "connect_timeout": 2}}


logging.getLogger("werkzeug").setLevel(logging.WARNING)


def served() -> ThreadedMotoServer:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    return server


def address(server: ThreadedMotoServer) -> str:
    return "http://{}:{}".format(*server.get_host_and_port())


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = served()
    yield address(server)
    server.stop()


@pytest.fixture
def s3(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An empty bucket called "bucket"."""
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nothing")
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    system = s3fs.S3FileSystem(endpoint_url=endpoint, **CREDENTIALS)
    system.mkdir("bucket")
    yield system
    system.rm("bucket", recursive=True)


@pytest.fixture
def where(endpoint: str) -> dict[str, Any]:
    return {"credentials": dict(CREDENTIALS), "fs_args": {"endpoint_url": endpoint, **AT_ONCE}}


def entries(where: dict[str, Any], **more: object) -> dict[str, dict[str, Any]]:
    kinds: dict[str, dict[str, Any]] = {
        "array.npy": {"type": f"{FILES}.ArrayMapDataset"},
        "record.json": {"type": f"{FILES}.RecordDataset", "record": "builtins.dict"},
        "tensors.safetensors": {"type": f"{FILES}.TensorsDataset"},
        "table.csv": {
            "type": f"{FILES}.WholeFileDataset",
            "dataset": {"type": "pandas.CSVDataset", "save_args": {"index": False}},
        },
        "encoder": {"type": f"{FILES}.EncoderBundleDataset"},
    }
    return {
        name: {**kind, "filepath": f"s3://bucket/room/{name}", **where, **more}
        for name, kind in kinds.items()
    }


def encoder(seed: int) -> GatedResNet18:
    torch.manual_seed(seed)
    return GatedResNet18(EncoderConfig(width=4), image_size=16).eval()


def values(number: int) -> dict[str, Any]:
    return {
        "array.npy": ARRAY * number,
        "record.json": {"a": number},
        "tensors.safetensors": {"a": ARRAY * number},
        "table.csv": pd.DataFrame({"a": [number]}),
        "encoder": encoder(number),
    }


def plain(name: str, value: Any) -> Any:
    if name == "encoder":
        return value.dense(torch.ones(1, 3, 16, 16)).tolist()
    if name == "table.csv":
        return value.to_dict()
    return {k: v.tolist() for k, v in value.items()} if name.startswith("t") else np.asarray(value)


def check(catalog: DataCatalog, number: int) -> None:
    for name, value in values(number).items():
        with torch.no_grad():
            assert np.array_equal(plain(name, catalog.load(name)), plain(name, value)), name


def test_every_kind_of_result_is_kept_there_and_replaced(s3: Any, where: dict[str, Any]) -> None:
    catalog = DataCatalog.from_config(entries(where))
    for number in (1, 2):
        for name, value in values(number).items():
            assert catalog.exists(name) is (number == 2)
            catalog.save(name, value)
        check(catalog, number)
    assert "2" in str(catalog.get("table.csv").preview())  # what Kedro-Viz shows
    s3.invalidate_cache()
    found = {path.removeprefix("bucket/room/") for path in s3.find("bucket")}
    assert found == {
        *("array.npy", "record.json", "tensors.safetensors", "table.csv"),
        *("encoder/config.json", "encoder/weights.safetensors"),
    }


def test_versions_of_every_kind_of_result_can_be_loaded(s3: Any, where: dict[str, Any]) -> None:
    versions = {number: f"2026-01-0{number}T00.00.00.000Z" for number in (1, 2)}
    config = entries(where, versioned=True)
    for number, version in versions.items():
        catalog = DataCatalog.from_config(config, save_version=version)
        for name, value in values(number).items():
            catalog.save(name, value)
    check(DataCatalog.from_config(config), 2)
    check(DataCatalog.from_config(config, load_versions=dict.fromkeys(config, versions[1])), 1)


def images(s3: Any, count: int) -> None:
    for number in range(count):
        for split, shade in (("train", 10), ("test", 20)):
            path = f"bucket/photos/{split}/{'ab'[number % 2]}/{number}.png"
            with s3.open(path, "wb") as file:
                Image.new("RGB", (16, 16), (shade + number,) * 3).save(file, "PNG")


def source(where: dict[str, Any], split: str = "train") -> ImageSourceDataset:
    data = {"source": "folder", "root": "s3://bucket/photos", "size": 16}
    return ImageSourceDataset(split=split, data=data, **where)  # type: ignore[arg-type]


def test_images_are_brought_once(
    s3: Any, where: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    images(s3, 4)
    for marker in ("photos/", "photos/train/a/", "photos/train/none/"):  # as S3's own pages make
        s3.call_s3("put_object", Bucket="bucket", Key=marker, Body=b"")
    found = source(where).load()
    assert found.class_names == ("a", "b")
    assert sorted(found.images[:, 0, 0, 0].tolist()) == [10, 11, 12, 13]
    brought = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}
    assert len(brought) == 8
    images(s3, 5)
    assert sorted(source(where, "eval").load().images[:, 0, 0, 0].tolist()) == [20, 21, 22, 23, 24]


def test_images_come_again_only_where_they_have_changed(
    s3: Any, where: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    images(s3, 2)
    source(where).load()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}
    changed = "photos/train/a/0.png"
    s3.copy("bucket/photos/train/b/1.png", f"bucket/{changed}")
    source(where).load()
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}
    assert [path.as_posix()[-len(changed) :] for path in after if after[path] != before[path]] == [
        changed
    ]


def test_wrong_credentials_are_said_in_one_sentence(
    s3: Any, where: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    images(s3, 1)
    catalog = DataCatalog.from_config(entries(where))
    catalog.save("record.json", {"a": 1})
    with enable_iam_authentication():  # otherwise it takes any
        for attempt in (
            lambda: catalog.load("record.json"),
            lambda: catalog.save("record.json", {"a": 2}),
            source(where).load,
        ):
            s3fs.S3FileSystem.clear_instance_cache()
            with pytest.raises(DatasetError) as raised:
                attempt()
            message = mendable_message(raised.value) or ""
            assert "PermissionError: The AWS Access Key Id you provided does not exist" in message
            assert message.startswith("s3://bucket/")
            assert message.endswith("check address, credentials and network, and run again.")
            assert "\n" not in message
            assert CREDENTIALS["secret"] not in message
    assert catalog.load("record.json") == {"a": 1}


@pytest.mark.parametrize("name", ["array.npy", "encoder"])
def test_a_server_that_goes_away_leaves_the_earlier_result(
    s3: Any, where: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaving = served()
    mine = {**where, "fs_args": {"endpoint_url": address(leaving), **AT_ONCE}}
    config = {name: entries(mine)[name]}
    catalog = DataCatalog.from_config(config)
    catalog.save(name, values(1)[name])
    system = catalog.get(name)._fs
    sent: list[object] = []
    really = system._put_file

    async def put_file(*arguments: Any, **options: Any) -> None:
        if len(sent) == (name == "encoder"):  # the first of its two files has arrived
            leaving.stop()
        sent.append(arguments)
        await really(*arguments, **options)

    monkeypatch.setattr(system, "_put_file", put_file)
    with pytest.raises(DatasetError) as raised:
        catalog.save(name, values(2)[name])
    message = mendable_message(raised.value) or ""
    assert "Could not connect to the endpoint URL" in message or "EndpointConnection" in message
    assert message.startswith(f"s3://bucket/room/{name}: found ")
    s3.invalidate_cache()
    earlier = DataCatalog.from_config({name: entries(where)[name]}).load(name)
    with torch.no_grad():
        assert np.array_equal(plain(name, earlier), plain(name, values(1)[name]))


def test_a_server_that_goes_away_leaves_the_images_that_have_come(
    s3: Any, where: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(remote, "_BATCH", 4)
    images(s3, 4)
    leaving = served()
    mine = {**where, "fs_args": {"endpoint_url": address(leaving), **AT_ONCE}}
    really = remote.url_to_fs

    def url_to_fs(*arguments: Any, **options: Any) -> Any:
        system, root = really(*arguments, **options)
        get = system.get

        def stopping(*arguments: Any, **options: Any) -> None:
            get(*arguments, **options)
            leaving.stop()

        monkeypatch.setattr(system, "get", stopping)
        return system, root

    with monkeypatch.context() as patch:
        patch.setattr(remote, "url_to_fs", url_to_fs)
        with pytest.raises(DatasetError) as raised:
            source(mine).load()
    assert (mendable_message(raised.value) or "").startswith("s3://bucket/photos: found ")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}
    assert len(before) == 4
    assert len(source(where).load().images) == 4
    assert before.items() <= {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.png")}.items()


def test_files_can_be_read_from_a_web_server(
    s3: Any, endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "array.npy", ARRAY)
    s3.put(str(tmp_path / "array.npy"), "bucket/array.npy", ACL="public-read")
    dataset = ArrayMapDataset(filepath=f"{endpoint}/bucket/array.npy")
    assert dataset.exists()
    assert np.array_equal(dataset.load(), ARRAY)
    copy = remote.local_copy(f"{endpoint}/bucket/array.npy")
    assert np.array_equal(np.load(copy), ARRAY)
    with pytest.raises(DatasetError) as raised:
        ArrayMapDataset(filepath=f"{endpoint}/bucket/none.npy").load()
    assert f"{endpoint}/bucket/none.npy: found nothing there" in (
        mendable_message(raised.value) or ""
    )


def test_where_a_result_comes_from_is_kept_with_it(s3: Any, where: dict[str, Any]) -> None:
    catalog = DataCatalog.from_config(entries(where))
    for name in ("record.json", "encoder"):
        dataset = catalog.get(name)
        with pytest.raises(FileNotFoundError):
            dataset.read_beside()
        for number in (1, 2):
            dataset.save(values(number)[name])
            dataset.write_beside(b"here")
            assert dataset.read_beside() == b"here"
        dataset.forget_beside()
        with pytest.raises(FileNotFoundError):
            dataset.read_beside()
    assert DataCatalog.from_config(entries(where)).load("record.json") == {"a": 2}
