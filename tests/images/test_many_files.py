"""What a file costs in memory while a folder is listed and stored, and a shard indexed.

Measured is what Python and NumPy allocate at the peak, for few and many files: the growth for each
file is what a million of them multiply. Strings alone would be some 90 bytes, with the tuples and
texts of earlier versions it was 700.
"""

from __future__ import annotations

import io
import os
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssl_kedro.core.names import Names, states
from ssl_kedro.images import decode_files
from ssl_kedro.images.load import DataConfig, load_images
from ssl_kedro.images.tar_index import tar_index

FEW, MANY, CLASSES = 2_000, 10_000, 40
ODD = [os.fsdecode(b"bro\xffken.png"), "ü \U0001f600.png", "", "a" * 300, "\udc80", "plain"]


def peak_of(call: Callable[[], object]) -> int:
    """Bytes allocated at the peak of a call."""
    call()  # what the first use imports stays for good
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def hard_links(root: Path, count: int) -> Path:
    """As many names of one image, in class folders."""
    root.mkdir()
    Image.new("RGB", (8, 8)).save(root.with_suffix(".png"))
    for index in range(count):
        folder = root / f"class_{index % CLASSES:02d}"
        folder.mkdir(exist_ok=True)
        os.link(root.with_suffix(".png"), folder / f"{index:08d}.png")
    return root


def test_bytes_a_file_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    black = np.zeros((3, 8, 8), np.uint8)
    monkeypatch.setattr(decode_files, "decoded_image", lambda path, size: black)

    def peak(count: int) -> int:
        root = hard_links(tmp_path / str(count), count)

        def load() -> None:
            config = DataConfig(
                source="folder",
                root=str(root),
                size=8,
                workers=1,
                memory_limit_mb=0.01,
                cache_dir=str(tmp_path / f"cache {len(list(tmp_path.iterdir()))}"),
            )
            assert isinstance(load_images(config, "train", 0).images, np.memmap)

        return peak_of(load)

    assert (peak(MANY) - peak(FEW)) / (MANY - FEW) < 200


def test_bytes_a_sample_of_a_shard(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        name = f"{count}.tar"
        with tarfile.open(tmp_path / name, "w") as tar:
            for index in range(count):
                for ending, data in (("jpg", b"image"), ("cls", b"7")):
                    member = tarfile.TarInfo(f"{index:08d}.{ending}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
        found = tar_index(tmp_path, (name,), None, None, int)
        assert (len(found.names), found.texts) == (count, ("7",))
        return peak_of(lambda: tar_index(tmp_path, (name,), None, None, int))

    assert (peak(5_000) - peak(1_000)) / 4_000 < 150


def test_names_are_those_that_were_given() -> None:
    names = Names.of(iter(ODD * 3))
    assert list(names) == ODD * 3
    assert [names[index] for index in range(len(names))] == ODD * 3
    assert (names[-1], names[1:4]) == ("plain", ODD[1:4])
    for rows in ([], [0], [5, 0, 3, 3], list(range(len(names)))):
        chosen = names.chosen(np.array(rows, np.int64))
        assert list(chosen) == [(ODD * 3)[row] for row in rows]
    many = Names.of(str(number) for number in range(50_000))
    rows = np.random.default_rng(0).permutation(50_000)
    assert list(many.chosen(rows)) == [str(row) for row in rows]


def test_digest_tells_names_apart() -> None:
    different = [["ab", "c"], ["a", "bc"], ["abc"], ["abc", ""], ["", "abc"], []]
    assert len({Names.of(names).digest() for names in different}) == len(different)
    assert Names.of(ODD).digest() == Names.of(ODD).chosen(np.arange(len(ODD))).digest()


def test_states_are_sizes_and_times(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"123")
    os.utime(tmp_path / "a", ns=(5, 7))
    (tmp_path / "b").symlink_to(tmp_path / "nothing")
    assert states(tmp_path, Names.of(["a", "b"]), int).tolist() == [[3, 7], [-1, -1]]
