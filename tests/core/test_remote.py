"""Copies of data that lie elsewhere: what is brought, what is not again, what is refused."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry

from ssl_kedro.core.config import ConfigError
from ssl_kedro.core.files import StorageError
from ssl_kedro.core.remote import DOWNLOADS, RemoteError, check_scheme, is_remote, local_copy

PLACE = "memory://photos/all"


@pytest.fixture(autouse=True)
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.chdir(tmp_path)
    system = fsspec.filesystem("memory")
    system.pipe({"/photos/all/a.txt": b"one", "/photos/all/deep/er/b.txt": b"two"})
    yield system
    system.rm("/", recursive=True)


@pytest.fixture
def brought(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of all files that are downloaded, as they come."""
    names: list[str] = []
    really = MemoryFileSystem.get_file

    def get_file(system: Any, name: str, *arguments: Any, **options: Any) -> None:
        names.append(name)
        really(system, name, *arguments, **options)

    monkeypatch.setattr(MemoryFileSystem, "get_file", get_file)
    return names


def content(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_folder_comes_as_it_is_and_only_once(brought: list[str]) -> None:
    copy = local_copy(PLACE)
    assert copy.name == "all"
    assert content(copy) == {"a.txt": b"one", "deep/er/b.txt": b"two"}
    assert len(brought) == 2
    assert local_copy(f"{PLACE}/") == copy
    assert len(brought) == 2


def test_what_has_changed_comes_again_and_what_is_gone_goes(
    memory: Any, brought: list[str]
) -> None:
    local_copy(PLACE)
    memory.pipe({"/photos/all/a.txt": b"ONE", "/photos/all/c.txt": b"three"})  # of equal size
    memory.rm("/photos/all/deep/er/b.txt")
    brought.clear()
    assert content(local_copy(PLACE)) == {"a.txt": b"ONE", "c.txt": b"three"}
    assert sorted(brought) == ["/photos/all/a.txt", "/photos/all/c.txt"]


def test_an_interrupted_download_goes_on(
    memory: Any, monkeypatch: pytest.MonkeyPatch, brought: list[str]
) -> None:
    memory.pipe({f"/photos/all/{number:03}.txt": b"x" for number in range(300)})
    counted = memory.get_file

    def interrupted(name: str, *arguments: Any, **options: Any) -> None:
        if len(brought) == 200:
            raise KeyboardInterrupt
        counted(name, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(memory, "get_file", interrupted)
        with pytest.raises(KeyboardInterrupt):
            local_copy(PLACE)
    brought.clear()
    assert len(content(local_copy(PLACE))) == 302
    assert len(brought) == 302 - 128  # the first 128 were whole


@pytest.mark.parametrize("damage", ["cut", "removed"])
def test_a_damaged_copy_is_mended(damage: str, brought: list[str]) -> None:
    copy = local_copy(PLACE)
    if damage == "cut":
        (copy / "a.txt").write_bytes(b"o")
    else:
        (copy / "a.txt").unlink()
    brought.clear()
    assert content(local_copy(PLACE))["a.txt"] == b"one"
    assert brought == ["/photos/all/a.txt"]


@pytest.mark.parametrize("record", ["", "[]", '{"files": 3}', None])
def test_a_lost_record_costs_a_download_and_no_more(record: str | None) -> None:
    copy = local_copy(PLACE)
    path = next(Path(DOWNLOADS).glob("*.json"))
    path.unlink() if record is None else path.write_text(record)
    assert content(local_copy(PLACE)) == {"a.txt": b"one", "deep/er/b.txt": b"two"}
    assert copy.is_dir()


def test_a_file_comes_alone(memory: Any) -> None:
    copy = local_copy(f"{PLACE}/a.txt")
    assert copy.name == "a.txt"
    assert copy.read_bytes() == b"one"
    memory.pipe("/photos/all/a.txt", b"ONE")
    assert local_copy(f"{PLACE}/a.txt").read_bytes() == b"ONE"


def test_paths_of_this_machine_stay(tmp_path: Path) -> None:
    assert local_copy("~/photos") == Path.home() / "photos"
    assert local_copy("photos") == Path("photos")
    assert local_copy(f"file://{tmp_path}/photos") == tmp_path / "photos"
    assert not (tmp_path / "data").exists()
    assert not is_remote(None)
    assert not is_remote("C:/photos")


def test_a_disk_that_fills_up_is_told_as_such(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: str, path: str, **options: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    monkeypatch.setattr(memory, "get_file", full)
    with pytest.raises(StorageError, match=r"data/01_raw/downloads/.*: it needs at least"):
        local_copy(PLACE)


def test_two_at_once_share_one_download(brought: list[str]) -> None:
    with ThreadPoolExecutor(4) as threads:
        copies = list(threads.map(local_copy, [PLACE] * 4))
    assert len({*copies}) == 1
    assert len(brought) == 2


def test_names_of_one_file_may_begin_those_of_another(memory: Any) -> None:
    names = ["b.txt", "b.txt.part", "b.txt.arriving", ".b.txt"]
    memory.pipe({f"/photos/all/{name}": name.encode() for name in names})
    memory.pipe({f"/photos/all.arriving/{name}": b"other" for name in names})
    found = content(local_copy(PLACE))
    assert {name: found[name] for name in names} == {name: name.encode() for name in names}


def test_what_cannot_be_brought_is_said_in_one_sentence(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RemoteError, match=r"memory://nothing: found nothing there; expected files"):
        local_copy("memory://nothing")
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("", (), {"free": 3})())
    with pytest.raises(
        StorageError, match=r"No space left.* needs at least 0\.0 MB, 0\.0 MB are free"
    ):
        local_copy(PLACE)
    monkeypatch.undo()
    memory.store["/photos/all/../../outside"] = memory.store["/photos/all/a.txt"]
    with pytest.raises(RemoteError, match=r"a file called '\.\./\.\./outside'"):
        local_copy(PLACE)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("gs://bucket/photos", "install gcsfs"),
        ("nowhere://bucket/photos", "Protocol not known: nowhere"),
        ("zip://a::gs://bucket/photos.zip", "install gcsfs"),
        ("ftp://me:secret@host/photos", "give it as credentials in the catalog"),
    ],
)
def test_what_cannot_be_reached_is_refused_by_name(place: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as raised:
        check_scheme("data.root", place)
    assert "data.root = " in str(raised.value)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("place", [None, "photos", "s3://bucket/me:you@all", "ftp://me@host/x"])
def test_other_places_are_not_refused(place: str | None) -> None:
    check_scheme("data.root", place)


def test_a_missing_package_for_s3_is_told_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(_registry, "s3", raising=False)
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(ConfigError, match=r"root = 's3://bucket/a'.*pip install 'ssl_kedro\[s3\]'"):
        check_scheme("root", "s3://bucket/a")
