"""Where the kernel's library is kept, and what it takes to compile it."""

from __future__ import annotations

import functools
import logging
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference.networks import random_encoder
from ssl_kedro.inference.compact import dense_network
from ssl_kedro.inference.engines.base import EngineUnavailableError
from ssl_kedro.inference.engines.probe import fastest_engine
from ssl_kedro.inference.native import build, kernel

# A name that no file system takes.
IMPOSSIBLE = "/tmp/" + 300 * "x"


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    build._outcome.cache_clear()
    yield tmp_path
    build._outcome.cache_clear()


def test_no_compiler_is_one_log_line_and_an_error(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with caplog.at_level(logging.WARNING), pytest.raises(EngineUnavailableError, match="set CXX"):
        build.library_path()
    with pytest.raises(EngineUnavailableError, match="set CXX"):
        build.library_path()
    assert len(caplog.records) == 1


def test_a_compiler_that_fails_leaves_nothing_behind(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = empty_cache / "broken"
    broken.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && exit 0\necho "x.cpp: error: out of ideas" >&2\nexit 1\n'
    )
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    with pytest.raises(EngineUnavailableError, match="out of ideas"):
        build.library_path()
    assert list(empty_cache.rglob("*.so")) == []
    assert list(empty_cache.rglob("*.tmp")) == []


def nobody(uid: int) -> None:
    raise KeyError(uid)


@pytest.mark.parametrize("home", ["none", "unusable", "of another"])
def test_without_a_cache_folder_others_race(
    home: str,
    empty_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    # What an earlier test has loaded counts for nothing here.
    monkeypatch.setattr(kernel, "_library", functools.cache(kernel._library.__wrapped__))
    closed = empty_cache / "closed"
    closed.mkdir()
    if home == "none":
        monkeypatch.delenv("HOME", raising=False)
        monkeypatch.setattr(pwd, "getpwuid", nobody)
    elif home == "unusable":
        monkeypatch.setenv("HOME", IMPOSSIBLE)
    else:
        if os.getuid() == 0:
            pytest.skip("nothing is closed to the administrator")
        closed.chmod(0)
        monkeypatch.setenv("HOME", str(closed))
    with caplog.at_level(logging.WARNING), pytest.raises(EngineUnavailableError) as error:
        build.library_path()
    assert "set XDG_CACHE_HOME" in str(error.value)
    assert "set XDG_CACHE_HOME" in build.why_unavailable()
    network = dense_network(random_encoder())
    _, probe = fastest_engine(network, 1, 16, engines=["native", "eager"], rounds=1, seconds=0)
    assert probe.engine == "eager"
    assert "set XDG_CACHE_HOME" in probe.timings[0].reason
    # Said once, whatever else is logged.
    assert [record.levelname for record in caplog.records].count("WARNING") == 1
    closed.chmod(0o700)


def test_make_goes_on_without_a_kernel() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ssl_kedro.inference.native"],
        env={**os.environ, "XDG_CACHE_HOME": IMPOSSIBLE},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    (line,) = (done.stdout + done.stderr).splitlines()
    assert line.startswith("The native engine is not used: ")
    assert "set XDG_CACHE_HOME" in line


def recording_compiler(folder: Path) -> tuple[Path, Path]:
    """A compiler that writes down its arguments and makes files of a line; and that record."""
    script, record = folder / "compiler", folder / "record"
    script.write_text(
        f'#!/bin/sh\necho "$*" >> {record}\n'
        'while [ "$1" != -o ]; do shift; done\necho "a library" > "$2"\n'
    )
    script.chmod(0o755)
    return script, record


def test_a_library_that_is_there_needs_no_compiler(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, record = recording_compiler(empty_cache)
    monkeypatch.setenv("CXX", str(script))
    made = build.library_path()
    calls = record.read_text().splitlines()
    monkeypatch.setenv("CXX", "no-such-compiler")
    build._outcome.cache_clear()
    assert build.why_unavailable() == ""
    assert build.library_path() == made
    assert record.read_text().splitlines() == calls
    # Other flags make another library.
    monkeypatch.setattr(build, "_FLAGS", (*build._FLAGS, "-march=native"))
    build._outcome.cache_clear()
    with pytest.raises(EngineUnavailableError, match="no-such-compiler"):
        build.library_path()


def test_a_damaged_or_open_library_is_made_again(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CXX", str(recording_compiler(empty_cache)[0]))
    made = build.library_path()
    whole = made.read_bytes()
    for damaged in (whole[: len(whole) // 2], bytes(len(whole))):
        made.write_bytes(damaged)
        assert not build._is_there(made)
    made.write_bytes(whole)
    assert build._is_there(made)
    made.chmod(0o666)
    build._outcome.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert build.library_path() == made
    assert [record.message for record in caplog.records if "made again" in record.message]
    assert len(made.read_bytes()) == len(whole)
    assert not made.stat().st_mode & 0o022
    assert made.parent.stat().st_mode & 0o777 == 0o700
    build._outcome.cache_clear()
    caplog.clear()
    build.library_path()
    assert caplog.records == []


def test_a_library_in_the_folder_of_somebody_else_is_not_run(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", str(recording_compiler(empty_cache)[0]))
    build.library_path()
    build._outcome.cache_clear()
    other = os.getuid() + 1
    monkeypatch.setattr(build.os, "getuid", lambda: other)
    with pytest.raises(EngineUnavailableError, match="belongs to another user"):
        build.library_path()


def test_the_compiler_may_be_a_command_with_arguments(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, record = recording_compiler(empty_cache)
    launcher = shutil.which("env")
    assert launcher is not None
    monkeypatch.setenv("CXX", f"env '{script}'")
    plain = build.library_path()
    assert plain.exists()
    assert record.read_text().count("tiles_portable.o") == 2  # compiled, linked
    monkeypatch.setenv("CXX", f"'{script}' -m64")
    build._outcome.cache_clear()
    assert build.library_path() != plain
    assert record.read_text().splitlines()[-1].startswith("-m64 -shared")
    monkeypatch.setenv("CXX", "g++ '")
    build._outcome.cache_clear()
    with pytest.raises(EngineUnavailableError, match="is not a command"):
        build.library_path()
