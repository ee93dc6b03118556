"""The memory map: same images as in memory, whole or not there, reused."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import ssl_kedro
from ssl_kedro.core.stores import GrowingArray
from ssl_kedro.images import decode_files
from ssl_kedro.images.load import DataConfig, ImageSourceError, load_images

SMALL = {"train/a": 60, "train/b": 60, "test/a": 3, "test/b": 3}
ONE_IMAGE_MB = 3 * 8 * 8 / 2**20


@pytest.fixture
def config(make_folder, tmp_path: Path) -> DataConfig:
    root = make_folder(SMALL)
    (root / "train/a/0005.png").write_bytes(b"")
    return DataConfig(
        source="folder",
        root=str(root),
        size=8,
        memory_limit_mb=ONE_IMAGE_MB,
        cache_dir=str(tmp_path / "cache"),
    )


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Files decoded so far."""
    seen: list[Path] = []
    original = decode_files.decoded_image

    def counted(path: Path, size: int) -> np.ndarray:
        seen.append(path)
        return original(path, size)

    monkeypatch.setattr(decode_files, "decoded_image", counted)
    return seen


def in_memory(config: DataConfig) -> DataConfig:
    return DataConfig(source="folder", root=config.root, size=8, cache_dir=config.cache_dir)


def folders(config: DataConfig) -> list[str]:
    cache = Path(config.cache_dir)
    return sorted(path.name for path in cache.iterdir() if path.is_dir()) if cache.exists() else []


def run_python(program: str) -> subprocess.CompletedProcess[str]:
    source = Path(ssl_kedro.__file__).parents[1]
    program = f"import sys; sys.path.insert(0, {str(source)!r})\n{program}"
    return subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True
    )


def test_memory_map_equals_memory(config: DataConfig) -> None:
    mapped = load_images(config, "train", 0)
    plain = load_images(in_memory(config), "train", 0)
    assert isinstance(mapped.images, np.memmap)
    assert not isinstance(plain.images, np.memmap)
    assert not mapped.images.flags.writeable
    assert mapped.images.flags.c_contiguous
    assert np.array_equal(mapped.images, plain.images)
    assert np.array_equal(mapped.labels, plain.labels)
    assert mapped.class_names == plain.class_names
    assert mapped.skipped == plain.skipped
    assert len(mapped.skipped) == 1
    assert mapped.fingerprint() == plain.fingerprint()
    assert mapped.channel_statistics() == plain.channel_statistics()


def test_limit_decides_between_memory_and_map(config: DataConfig) -> None:
    def kind(images: int) -> type:
        limited = DataConfig(
            source="folder",
            root=config.root,
            size=8,
            memory_limit_mb=images * ONE_IMAGE_MB,
            cache_dir=config.cache_dir,
        )
        return type(load_images(limited, "train", 0).images)

    assert kind(120) is np.ndarray
    assert kind(119) is np.memmap


def test_file_is_a_plain_npy_without_rows_of_skipped_files(config: DataConfig) -> None:
    images = load_images(config, "train", 0).images
    (folder,) = folders(config)
    file = Path(config.cache_dir) / folder / "images.npy"
    loaded = np.load(file)
    assert loaded.shape == (119, 3, 8, 8)
    assert np.array_equal(loaded, images)
    assert file.stat().st_size == 128 + loaded.nbytes


def test_second_load_decodes_nothing(config: DataConfig, decodings: list[Path]) -> None:
    first = load_images(config, "train", 0)
    assert len(decodings) == 120
    second = load_images(config, "train", 0)
    assert len(decodings) == 120
    assert np.array_equal(first.images, second.images)
    assert np.array_equal(first.labels, second.labels)
    assert (first.class_names, first.skipped) == (second.class_names, second.skipped)


def test_changed_file_size_or_list_makes_another_store(
    config: DataConfig, decodings: list[Path]
) -> None:
    before = load_images(config, "train", 0)
    changed = Path(config.root) / "train/b/0001.png"
    os.utime(changed, (1, 1))
    load_images(config, "train", 0)
    assert len(decodings) == 240
    changed.unlink()
    after = load_images(config, "train", 0)
    assert len(decodings) == 240 + 119
    assert len(after) == len(before) - 1


def test_parts_have_their_own_store(config: DataConfig) -> None:
    assert len(load_images(config, "train", 0)) == 119
    assert len(load_images(config, "eval", 0)) == 6
    assert len(folders(config)) == 2


def test_stricter_limit_applies_to_a_store_that_is_there(config: DataConfig) -> None:
    load_images(config, "train", 0)
    strict = DataConfig(
        source="folder",
        root=config.root,
        size=8,
        memory_limit_mb=ONE_IMAGE_MB,
        cache_dir=config.cache_dir,
        max_skipped=0,
    )
    with pytest.raises(ImageSourceError, match=r"0005\.png"):
        load_images(strict, "train", 0)


@pytest.mark.parametrize(
    "damage",
    ["no json", "no array", "no labels", "cut json", "cut array", "cut labels", "other count"],
)
def test_damaged_store_is_made_again(config: DataConfig, damage: str) -> None:
    whole = np.array(load_images(config, "train", 0).images)
    (name,) = folders(config)
    folder = Path(config.cache_dir) / name
    array, description, labels = (
        folder / name for name in ("images.npy", "store.json", "labels.npy")
    )
    if damage == "no json":
        description.unlink()
    elif damage == "no array":
        array.unlink()
    elif damage == "no labels":
        labels.unlink()
    elif damage == "cut labels":
        labels.write_bytes(labels.read_bytes()[:-1])
    elif damage == "cut json":
        description.write_text(description.read_text()[:50])
    elif damage == "cut array":
        array.write_bytes(array.read_bytes()[:-1])
    else:
        values = json.loads(description.read_text())
        description.write_text(json.dumps({**values, "skipped": []}))
    again = load_images(config, "train", 0)
    assert np.array_equal(again.images, whole)
    assert len(again.skipped) == 1


def kill_at(config: DataConfig, image: int, kept_every_s: float = 0.0) -> None:
    """Store the images in a process that is killed when it comes to that image of class b."""
    done = run_python(f"""
import os, signal
from ssl_kedro.images import decode_files, partial
from ssl_kedro.images.load import DataConfig, load_images
original = decode_files.decoded_image
def deadly(path, size):
    if path.parent.name == "b" and path.name == "{image:04d}.png":
        os.kill(os.getpid(), signal.SIGKILL)
    return original(path, size)
decode_files.decoded_image = deadly
partial._KEPT_EVERY_S = {kept_every_s}
load_images({config!r}, "train", 0)
""")
    assert done.returncode == -9, done.stderr


def contents(config: DataConfig) -> dict[str, bytes]:
    (folder,) = folders(config)
    return {path.name: path.read_bytes() for path in (Path(config.cache_dir) / folder).iterdir()}


def test_killed_process_is_continued_and_the_store_is_the_same_to_the_bit(
    config: DataConfig, decodings: list[Path], tmp_path: Path
) -> None:
    whole = dataclasses.replace(config, cache_dir=str(tmp_path / "whole"))
    load_images(whole, "train", 0)
    assert len(decodings) == 120
    kill_at(config, 50)  # in the second block of 64 files; the first is stored
    (left,) = folders(config)
    assert left.startswith(".")
    assert left.endswith(".part")
    images = load_images(config, "train", 0)
    assert len(decodings) == 120 + 56
    assert contents(config) == contents(whole)
    assert [file.path for file in images.skipped] == ["train/a/0005.png"]
    assert load_images(config, "train", 0).fingerprint() == images.fingerprint()


@pytest.mark.parametrize("damage", ["torn line", "torn block", "array cut", "array gone", "text"])
def test_whatever_a_kill_leaves_the_store_is_the_same(
    config: DataConfig, tmp_path: Path, damage: str
) -> None:
    whole = dataclasses.replace(config, cache_dir=str(tmp_path / "whole"))
    load_images(whole, "train", 0)
    kill_at(config, 50)
    part = Path(config.cache_dir) / folders(config)[0]
    array, journal = part / "images.npy", part / "journal.jsonl"
    if damage == "torn line":
        journal.write_bytes(journal.read_bytes() + b"[120, 119")
    elif damage == "torn block":
        array.write_bytes(array.read_bytes() + b"x" * 500)
    elif damage == "array cut":
        array.write_bytes(array.read_bytes()[:-1])
    elif damage == "array gone":
        array.unlink()
    else:
        journal.write_text("no json\n")
    load_images(config, "train", 0)
    assert contents(config) == contents(whole)


def test_a_file_changed_in_between_is_noticed(config: DataConfig) -> None:
    kill_at(config, 50)
    Image.new("RGB", (8, 8), (255, 0, 0)).save(Path(config.root) / "train/a/0000.png")
    images = load_images(config, "train", 0)
    assert images.images[0, :, 0, 0].tolist() == [255, 0, 0]
    assert np.array_equal(images.images, load_images(in_memory(config), "train", 0).images)


def test_a_part_that_nobody_finishes_is_removed_after_a_week(config: DataConfig) -> None:
    kill_at(config, 50)
    (left,) = folders(config)
    load_images(config, "eval", 0)
    assert left in folders(config)
    past = time.time() - 8 * 86400
    for path in [*(Path(config.cache_dir) / left).iterdir(), Path(config.cache_dir) / left]:
        os.utime(path, (past, past))
    (Path(config.root) / "test/a/0000.png").unlink()
    load_images(config, "eval", 0)
    assert left not in folders(config)


def test_an_interruption_keeps_what_is_there(
    config: DataConfig, monkeypatch: pytest.MonkeyPatch, decodings: list[Path]
) -> None:
    counted = decode_files.decoded_image

    def failing(path: Path, size: int) -> np.ndarray:
        if path.name == "0050.png" and path.parent.name == "b":
            raise KeyboardInterrupt
        return counted(path, size)

    monkeypatch.setattr(decode_files, "decoded_image", failing)
    with pytest.raises(KeyboardInterrupt):
        load_images(config, "train", 0)
    monkeypatch.setattr(decode_files, "decoded_image", counted)
    seen = len(decodings)
    assert len(load_images(config, "train", 0)) == 119
    assert len(decodings) == seen + 56


def test_an_interruption_between_two_steps_stores_nothing_twice(
    config: DataConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    load_images(whole := dataclasses.replace(config, cache_dir=str(tmp_path / "whole")), "train", 0)
    original = GrowingArray.add

    def interrupted(array: GrowingArray, rows: np.ndarray) -> None:
        original(array, rows)
        if array.rows > 64:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(GrowingArray, "add", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load_images(config, "train", 0)
    load_images(config, "train", 0)
    assert contents(config) == contents(whole)


def test_too_many_unreadable_files_end_it_at_once_and_a_larger_share_goes_on(
    config: DataConfig, decodings: list[Path]
) -> None:
    for index in (6, 7):
        (Path(config.root) / f"train/a/{index:04d}.png").write_bytes(b"")
    with pytest.raises(ImageSourceError, match=r"3 of 120 files.*0007\.png"):
        load_images(config, "train", 0)
    assert len(decodings) == 64
    images = load_images(dataclasses.replace(config, max_skipped=0.1), "train", 0)
    assert len(images) == 117
    assert len(decodings) == 120


def test_two_processes_store_once(config: DataConfig) -> None:
    program = f"""
import time
from ssl_kedro.images import decode_files
from ssl_kedro.images.load import DataConfig, load_images
original = decode_files.decoded_image
calls = []
def slow(path, size):
    calls.append(path)
    time.sleep(0.01)
    return original(path, size)
decode_files.decoded_image = slow
load_images({config!r}, "train", 0)
print(len(calls))
"""
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(run_python, [program, program]))
    assert sorted(int(one.stdout) for one in done) == [0, 120], [one.stderr for one in done]


def test_full_disk_is_noticed_before_decoding(
    config: DataConfig, decodings: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**6, 10**6, 120 * 192 - 1))
    with pytest.raises(ImageSourceError) as caught:
        load_images(config, "train", 0)
    assert f"data.cache_dir = {config.cache_dir!r}" in str(caught.value)
    assert "free space" in str(caught.value)
    assert decodings == []


def test_disk_that_fills_while_writing(config: DataConfig) -> None:
    # A limit on the size of files fails a write just as a full disk does.
    done = run_python(f"""
import resource
from ssl_kedro.images.load import ImageSourceError
from ssl_kedro.images.load import DataConfig, load_images
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    load_images({config!r}, "train", 0)
except ImageSourceError as error:
    print(error)
""")
    assert "data.cache_dir" in done.stdout, done.stderr
    assert "File too large" in done.stdout
    assert "free space" in done.stdout
    assert folders(config) == []


def test_a_source_out_of_reach_is_named_and_what_is_stored_stays(
    config: DataConfig, monkeypatch: pytest.MonkeyPatch, decodings: list[Path]
) -> None:
    counted = decode_files.decoded_image

    def failing(path: Path, size: int) -> np.ndarray:
        if path.name == "0050.png" and path.parent.name == "b":
            raise ConnectionResetError(104, "Connection reset by peer")
        return counted(path, size)

    for given in (config, in_memory(config)):
        with monkeypatch.context() as patched:
            patched.setattr(decode_files, "decoded_image", failing)
            with pytest.raises(ImageSourceError, match=r"data\.root.*reset by peer.*run again"):
                load_images(given, "train", 0)
    (left,) = folders(config)
    assert left.endswith(".part")
    seen = len(decodings)
    assert len(load_images(config, "train", 0)) == 119
    assert len(decodings) == seen + 56


def test_a_kill_before_the_store_has_its_name_loses_nothing(
    config: DataConfig, monkeypatch: pytest.MonkeyPatch, decodings: list[Path]
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            load_images(config, "train", 0)
    assert len(decodings) == 120
    assert len(load_images(config, "train", 0)) == 119
    assert len(decodings) == 120


def test_a_kill_after_the_store_has_its_name_leaves_it_whole(
    config: DataConfig, monkeypatch: pytest.MonkeyPatch, decodings: list[Path]
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            load_images(config, "train", 0)
    assert len(load_images(config, "train", 0)) == 119
    assert len(decodings) == 120


def test_what_others_keep_in_the_cache_folder_is_let_alone(
    config: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Path(config.cache_dir)
    (cache / ".gone.part").mkdir(parents=True)
    (cache / ".x.tmp").write_text("of another program")
    os.utime(cache / ".x.tmp", (1, 1))
    original = Path.iterdir

    def renamed(path: Path) -> Any:
        if path.name == ".gone.part":
            path.rename(path.with_name("whole"))
        return original(path)

    monkeypatch.setattr(Path, "iterdir", renamed)
    assert len(load_images(config, "train", 0)) == 119
    assert (cache / ".x.tmp").exists()
    assert (cache / "whole").exists()


def test_cache_dir_that_is_a_file(config: DataConfig) -> None:
    Path(config.cache_dir).write_text("in the way")
    with pytest.raises(ImageSourceError, match=r"data\.cache_dir.*another folder"):
        load_images(config, "train", 0)


def test_imagenet100_is_always_mapped(config: DataConfig) -> None:
    large = DataConfig(source="imagenet100", root=config.root, size=8, cache_dir=config.cache_dir)
    images = load_images(large, "train", 0)
    assert isinstance(images.images, np.memmap)
    assert images.source == "imagenet100"


def test_generated_images_are_mapped_too(tmp_path: Path) -> None:
    options = {"generated": 50, "size": 16}
    plain = load_images(DataConfig(**options), "train", 0)
    small = DataConfig(**options, memory_limit_mb=0.01, cache_dir=str(tmp_path / "cache"))
    mapped = load_images(small, "train", 0)
    assert isinstance(mapped.images, np.memmap)
    assert np.array_equal(mapped.images, plain.images)
    assert not np.array_equal(load_images(small, "train", 1).images, plain.images)
