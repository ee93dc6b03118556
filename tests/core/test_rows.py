"""Rows read from a map's file equal those of the map, and leave none of its pages resident."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ssl_kedro
from ssl_kedro.core import rows as module
from ssl_kedro.core.rows import ForOthers, rows_between, rows_of


@pytest.fixture
def mapped(tmp_path: Path) -> np.ndarray:
    values = np.random.default_rng(0).integers(0, 256, (50, 3, 4, 4), dtype=np.uint8)
    np.save(tmp_path / "a.npy", values)
    found: np.ndarray = np.load(tmp_path / "a.npy", mmap_mode="r")
    return found


@pytest.mark.parametrize(
    "rows", [[], [0], [49], [3, 4, 5], [5, 4, 3], [7, 7, 7], [0, 2, 3, 4, 9, 49], list(range(50))]
)
def test_rows_equal_those_of_the_map(
    mapped: np.ndarray, rows: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = np.array(mapped)[np.array(rows, np.int64)]
    for array in (mapped, np.array(mapped), mapped[:, :, :2], mapped[::-1], mapped[0:50]):
        expected = np.array(array)[np.array(rows, np.int64)]
        assert np.array_equal(rows_of(array, np.array(rows, np.int64)), expected)
    if rows:
        reads: list[object] = []
        original = module._fill
        monkeypatch.setattr(module, "_fill", lambda *of: (reads.append(of), original(*of)))
        assert np.array_equal(rows_of(mapped, np.array(rows)), wanted)
        assert reads


def test_a_part_of_a_map_is_not_taken_for_the_whole(mapped: np.ndarray) -> None:
    part = mapped[10:20]
    assert np.array_equal(rows_of(part, np.array([0, 9])), np.array(mapped)[[10, 19]])


def test_a_map_whose_file_is_gone_still_gives_its_rows(mapped: np.ndarray) -> None:
    expected = np.array(mapped)[[1, 2]]
    Path(str(mapped.filename)).unlink()  # type: ignore[attr-defined]
    assert np.array_equal(rows_of(mapped, np.array([1, 2])), expected)


def test_an_array_reaches_others_by_its_file_where_it_has_one(mapped: np.ndarray) -> None:
    for array, lies in ((mapped, True), (rows_between(mapped, 5, 9), True), (mapped[5:9], False)):
        sent = ForOthers.of(array)
        assert (sent.path is not None) == lies
        assert np.array_equal(sent.opened(), array)
    Path(str(mapped.filename)).unlink()  # type: ignore[attr-defined]
    assert np.array_equal(ForOthers.of(mapped).opened(), mapped)


def test_a_file_that_was_cut_is_an_error(mapped: np.ndarray) -> None:
    path = Path(str(mapped.filename))  # type: ignore[attr-defined]
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(OSError, match="shorter"):
        rows_of(mapped, np.array([40]))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_no_page_stays_resident(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((20_000, 4096), np.uint8))
    program = f"""
import sys
sys.path.insert(0, {str(Path(ssl_kedro.__file__).parents[1])!r})
import numpy as np
from pathlib import Path
from ssl_kedro.core.rows import rows_of
def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssFile"))
mapped = np.load({str(tmp_path / "a.npy")!r}, mmap_mode="r")
begin = resident()
for start in range(0, 20_000, 200):
    rows_of(mapped, np.arange(start, start + 200))
print(resident() - begin)
for start in range(0, 20_000, 200):
    np.asarray(mapped[np.arange(start, start + 200)])
print(resident() - begin)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    read, looked_at = map(int, done.stdout.split())
    assert read < 2_000  # kB
    assert looked_at > 70_000
