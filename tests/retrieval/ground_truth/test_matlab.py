"""MATLAB 5 files through a process of their own, and files that it does not survive."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_kedro.retrieval.ground_truth import matlab, matlab_process
from ssl_kedro.retrieval.ground_truth.matlab import is_version_5
from ssl_kedro.retrieval.ground_truth.model import GroundTruthError
from ssl_kedro.retrieval.ground_truth.read import read_ground_truth

NUMBERS = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]
HEADER = b"MATLAB 5.0 MAT-file".ljust(124)


def written(content: dict[str, Any], **options: Any) -> bytes:
    file = io.BytesIO()
    scipy.io.savemat(file, content, **options)
    return file.getvalue()


def values_of(data: bytes, wanted: Collection[str]) -> dict[str, Any]:
    """What the process answers, without starting one."""
    return matlab_process.variables(data, sorted(wanted))


def element(kind: int, content: bytes, order: str = "<", size: int | None = None) -> bytes:
    size = len(content) if size is None else size
    return struct.pack(order + "II", kind, size) + content + bytes(-len(content) % 8)


def array(array_class: int, shape: tuple[int, ...], name: str, content: bytes, order: str) -> bytes:
    flags = element(6, struct.pack(order + "II", array_class, 0), order)
    dimensions = element(5, struct.pack(f"{order}{len(shape)}i", *shape), order)
    return element(14, flags + dimensions + element(1, name.encode(), order) + content, order)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", NUMBERS)
@pytest.mark.parametrize("count", [0, 1, 3, 300])
def test_numbers_of_every_kind(kind: str, count: int, compressed: bool) -> None:
    values = np.arange(count).astype(kind)
    data = written({"x": values, "other": np.ones(5)}, do_compression=compressed)
    found = values_of(data, {"x"})
    assert list(found) == ["x"]
    assert np.array_equal(np.asarray(found["x"]), values)


TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=255), min_size=1, max_size=9)


@given(names=st.lists(TEXT, min_size=1, max_size=6), compressed=st.booleans())
@settings(max_examples=60, deadline=None)
def test_text_in_cells_and_rows(names: list[str], compressed: bool) -> None:
    cells = np.empty((1, len(names)), dtype=object)
    cells[0, :] = names
    rows = [name.encode("ascii", "replace").decode() for name in names]
    data = written({"cells": cells, "rows": rows, "one": names[0]}, do_compression=compressed)
    found = values_of(data, {"cells", "rows", "one"})
    assert found["cells"] == names
    assert found["one"] == names[0]
    assert found["rows"] == (rows if len(rows) > 1 else rows[0])


@pytest.mark.parametrize("order", ["<", ">"])
def test_either_byte_order_by_hand(order: str) -> None:
    """SciPy writes the machine's order only."""
    numbers = array(6, (1, 3), "x", element(4, struct.pack(order + "3H", 1, 2, 300), order), order)
    # Two bytes in the tag itself, as MATLAB writes what is short.
    short = struct.pack(order + "I", (2 << 16) | 4) + struct.pack(order + "H", 77) + b"\0\0"
    little = array(9, (1, 1), "y", short, order)
    letters = "añ".encode("utf-16-le" if order == "<" else "utf-16-be")
    text = array(4, (1, 2), "z", element(4, letters, order), order)
    deflated = zlib.compress(text)
    end = b"\x00\x01IM" if order == "<" else b"\x01\x00MI"
    data = HEADER + end + numbers + little
    data += struct.pack(order + "II", 15, len(deflated)) + deflated
    assert is_version_5(data)
    found = values_of(data, {"x", "y", "z"})
    assert [np.asarray(found[name]).tolist() for name in "xy"] == [[1, 2, 300], [77]]
    assert found["z"] == "añ"
    peer = scipy.io.loadmat(io.BytesIO(data))
    assert peer["x"].tolist() == [[1, 2, 300]] and peer["y"].tolist() == [[77]]


@pytest.mark.parametrize("name", ["gnd_instre.mat", "gnd_holidays.mat"])
def test_published_files_agree_with_scipy(name: str, ground_truth_folder: Path) -> None:
    path = next(ground_truth_folder.rglob(name))
    peer, found = scipy.io.loadmat(path), read_ground_truth(path)
    assert list(found.database) == [str(cell[0]) for cell in peer["imlist"].ravel()]
    if "qimlist" in peer:
        assert list(found.queries) == [str(cell[0]) for cell in peer["qimlist"].ravel()]
    else:
        assert (found.query_in_database == peer["qidx"].ravel().astype(int) - 1).all()
    for field in peer["gnd"].dtype.names:
        theirs = [values.ravel().astype(np.float64) for values in peer["gnd"][field].ravel()]
        if field == "bbx":
            assert found.boxes is not None and np.array_equal(found.boxes, np.array(theirs))
            continue
        for ours, values in zip(found.judgements.lists[field], theirs, strict=True):
            assert np.array_equal(ours, values - 1)


LITTLE = HEADER + b"\x00\x01IM"
UNREADABLE = "a MATLAB file that cannot be read"
EMPTY = "found the variables 'gnd'; expected a table with gnd"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (array(1, (2**30, 2**30), "gnd", b"", "<"), UNREADABLE),
        (array(4, (2**30, 1), "gnd", element(1, b"ab"), "<"), UNREADABLE),
        (array(6, (-1, 1), "gnd", element(9, b""), "<"), EMPTY),
        (array(6, (1, 1), "gnd", element(99, b""), "<"), UNREADABLE),
        (array(4, (1, 1), "gnd", element(9, b"a"), "<"), UNREADABLE),
        (
            array(2, (1, 1), "gnd", element(5, b"\0" * 4) + element(1, b"ok"), "<"),
            UNREADABLE,
        ),
        (element(14, b"", size=2**31), UNREADABLE),
        (b"abc", UNREADABLE),
        (element(15, b"not deflated at all"), UNREADABLE),
        (element(15, zlib.compress(b"a" * 99)[:-6]), UNREADABLE),
        (element(15, zlib.compress(bytes(2**29 + 9), 1)), UNREADABLE),
    ],
)
def test_false_claims_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "gnd").write_bytes(LITTLE + content)
    with pytest.raises(GroundTruthError, match=message):
        read_ground_truth(tmp_path / "gnd")


def test_endless_nesting_is_refused(tmp_path: Path) -> None:
    content = b""
    for _ in range(3000):
        content = array(1, (1, 1), "", content, "<")
    content = array(1, (1, 1), "gnd", content, "<")
    (tmp_path / "gnd").write_bytes(LITTLE + content)
    with pytest.raises(GroundTruthError, match=UNREADABLE):
        read_ground_truth(tmp_path / "gnd")


def small_file() -> bytearray:
    cells = np.empty((1, 2), dtype=object)
    cells[0, :] = ["one", "three"]
    gnd = np.array([(1.0, "a"), (2.0, "b")], dtype=[("ok", object), ("bbx", object)])
    return bytearray(written({"imlist": cells, "gnd": gnd, "qidx": np.arange(3)}))


@pytest.mark.parametrize(("place", "value"), [(424, 184), (489, 210)])
def test_a_file_that_ends_the_interpreter_ends_a_process_alone(
    place: int, value: int, tmp_path: Path
) -> None:
    """Found by flipping bytes: SciPy 1.17 dies of a segmentation fault on both."""
    content = small_file()
    content[place] = value
    (tmp_path / "gnd").write_bytes(content)
    with pytest.raises(GroundTruthError, match=UNREADABLE):
        read_ground_truth(tmp_path / "gnd")


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import time; time.sleep(60)", "not within 0.5 seconds"),
        ("import os; os.abort()", "the process that read it ended with code -6"),
        ("print('no JSON')", UNREADABLE),
        ("print('[]')", UNREADABLE),
    ],
)
def test_a_process_that_hangs_dies_or_babbles_is_an_error(
    program: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matlab, "_READER", (sys.executable, "-c", program))
    monkeypatch.setattr(matlab_process, "MOST_SECONDS", 0.5)
    (tmp_path / "gnd").write_bytes(small_file())
    with pytest.raises(GroundTruthError, match=message):
        read_ground_truth(tmp_path / "gnd")


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited where resource is")
def test_a_file_that_inflates_to_gigabytes_is_refused_in_little_memory(tmp_path: Path) -> None:
    """A variable that is wanted: megabytes that claim, and hold, more than may be used."""
    size = matlab_process.MOST_MEMORY_BYTES - 2**24
    deflater = zlib.compressobj(1)
    flags = element(6, struct.pack("<II", 9, 0)) + element(5, struct.pack("<2i", 1, size))
    head = flags + element(1, b"gnd") + struct.pack("<II", 2, size)
    start = struct.pack("<II", 14, len(head) + size)
    parts = [deflater.compress(start + head)]
    parts += [deflater.compress(bytes(2**24)) for _ in range(size // 2**24)]
    deflated = b"".join([*parts, deflater.flush()])
    (tmp_path / "gnd").write_bytes(LITTLE + element(15, deflated))
    with pytest.raises(GroundTruthError, match=UNREADABLE):
        read_ground_truth(tmp_path / "gnd")


DAMAGE = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=5)


@given(places=DAMAGE)
@settings(max_examples=15, deadline=None)  # a process for each
def test_damage_is_an_error_with_the_file_s_name_at_most(
    tmp_path_factory: pytest.TempPathFactory, places: list[tuple[int, int]]
) -> None:
    check_damaged(tmp_path_factory.mktemp("damaged"), places)


@pytest.mark.slow
@given(places=DAMAGE)
@settings(max_examples=60, deadline=None)
def test_much_damage_is_an_error_with_the_file_s_name_at_most(
    tmp_path_factory: pytest.TempPathFactory, places: list[tuple[int, int]]
) -> None:
    check_damaged(tmp_path_factory.mktemp("damaged"), places)


def check_damaged(folder: Path, places: list[tuple[int, int]]) -> None:
    content = small_file()
    for place, value in places:
        content[128 + place % (len(content) - 128)] = value
    path = folder / "gnd.mat"
    path.write_bytes(content)
    try:
        read_ground_truth(path)
    except GroundTruthError as error:
        assert error.path == path
