from __future__ import annotations

import contextlib
import io
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_kedro.core.pickles import (
    Allowed,
    InertObject,
    InertUnpickler,
    RefusedPickleError,
    unpickled,
)
from ssl_kedro.retrieval.ground_truth.model import GroundTruthError, read_from
from ssl_kedro.retrieval.ground_truth.read import _plain_pickle, read_ground_truth

PATH = Path("gnd.pkl")


def plain(data: bytes) -> object:
    with read_from(PATH):
        return _plain_pickle(data)


GOOD: dict[str, Any] = {
    "gnd": [{"easy": [0], "hard": [1], "junk": [], "bbx": [0.0, 1.0, 2.0, 3.0]}],
    "imlist": ["a", "b"],
    "qimlist": ["q"],
}


class Calls:
    """Pickles as the call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


class HasState:
    """Pickles with NEWOBJ and BUILD."""

    def __init__(self) -> None:
        self.value = 1


def programs(mark: Path) -> dict[str, bytes]:
    """Pickles that would create a file, by every way of calling something."""
    command = f"touch {mark}"
    touch, quoted = command.encode(), repr(command).encode()
    chain = Calls(getattr, Calls(__import__, "os"), "system")
    short = b"\x8c" + bytes([len(touch)]) + touch
    return {
        "system": pickle.dumps(Calls(os.system, command)),
        "system, protocol 0": pickle.dumps(Calls(os.system, command), protocol=0),
        "eval": pickle.dumps(Calls(eval, f"open({str(mark)!r}, 'w')")),
        "a chain": pickle.dumps([chain, Calls(eval, f"open({str(mark)!r}, 'w')")]),
        "nested in a good table": pickle.dumps(GOOD | {"imlist": ["a", Calls(os.system, command)]}),
        "beside a good table": pickle.dumps([GOOD, Calls(os.system, command)], protocol=2),
        "as a key": pickle.dumps({Calls(os.system, command): GOOD}),
        "GLOBAL, REDUCE": b"\x80\x02cos\nsystem\n(S" + quoted + b"\ntR.",
        "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93" + short + b"\x85R.",
        "INST": b"(S" + quoted + b"\nios\nsystem\n.",
        "OBJ": b"(cos\nsystem\nS" + quoted + b"\no.",
        "NEWOBJ": b"\x80\x02cos\nsystem\nS" + quoted + b"\n\x85\x81.",
        "NEWOBJ_EX": b"\x80\x04\x8c\x02os\x8c\x06system\x93" + short + b"\x85}\x92.",
        "BUILD": pickle.dumps(HasState()),
        "BUILD alone": b"\x80\x02]}X\x01\x00\x00\x00aK\x01sb.",
        "a persistent id": b"\x80\x02X\x01\x00\x00\x00aQ.",
        "a persistent id, text": b"Pos.system\n.",
        "an extension code": b"\x80\x02\x82\x01.",
        "a long extension code": b"\x80\x02\x84\x01\x00\x00\x00.",
        "an outside buffer": b"\x80\x05\x97.",
        "a set": pickle.dumps({1, 2}),
        "a NumPy array": pickle.dumps(GOOD | {"imlist": np.arange(3)}),
        "an end, then a program": pickle.dumps(Calls(os.system, command))[:-1] + b"0N.",
    }


NAMES = list(programs(PATH))


@pytest.mark.parametrize("name", NAMES)
def test_programs_are_refused_and_do_not_run(name: str, tmp_path: Path) -> None:
    mark = tmp_path / "it ran".replace(" ", "_")
    (tmp_path / "gnd").write_bytes(programs(mark)[name])
    with pytest.raises(GroundTruthError, match="expected only lists, dictionaries, strings"):
        read_ground_truth(tmp_path / "gnd")
    assert not mark.exists()


def test_these_programs_would_run(tmp_path: Path) -> None:
    """The others in the table are refused by pickle itself, or need no call."""
    for number, name in enumerate(["system", "eval", "nested in a good table", "INST", "OBJ"]):
        mark = tmp_path / str(number)
        pickle.loads(programs(mark)[name])
        assert mark.exists(), name


@pytest.mark.parametrize("name", NAMES)
def test_the_unpickler_alone_runs_nothing_either(name: str, tmp_path: Path) -> None:
    """The second belt: without the look at the instructions before."""
    mark = tmp_path / "it_ran"
    unpickler = InertUnpickler(io.BytesIO(programs(mark)[name]))
    if name == "a set":
        assert unpickler.load() == {1, 2}
        return
    with pytest.raises((RefusedPickleError, pickle.UnpicklingError, ValueError, AttributeError)):
        unpickler.load()
    assert not mark.exists()


def test_what_is_refused_is_named() -> None:
    with pytest.raises(GroundTruthError, match=r"instruction STACK_GLOBAL at byte \d+"):
        plain(pickle.dumps(os.system))
    with pytest.raises(GroundTruthError, match=r"gnd.pkl: .*instruction GLOBAL 'posix system'"):
        plain(pickle.dumps(os.system, protocol=2))
    with pytest.raises(RefusedPickleError, match=r"asks for posix\.system"):
        InertUnpickler(io.BytesIO(pickle.dumps(os.system))).load()


@pytest.mark.parametrize("name", NAMES)
def test_foreign_names_are_stand_ins_that_run_nothing(name: str, tmp_path: Path) -> None:
    mark = tmp_path / "it_ran"
    allowed = Allowed(foreign=True)
    with contextlib.suppress(RefusedPickleError, pickle.UnpicklingError, AttributeError, TypeError):
        unpickled(io.BytesIO(programs(mark)[name]), allowed)
    assert not mark.exists()


def test_each_name_means_what_its_reader_says_and_others_are_refused(tmp_path: Path) -> None:
    file = io.BytesIO(pickle.dumps([Calls(os.system, "a"), 3], protocol=2) + b"behind it")
    made = Allowed(names={"posix.system": lambda: str.upper, "nt.system": lambda: str.upper})
    assert unpickled(file, made) == ["A", 3]
    assert file.read() == b"behind it"
    (stand_in,) = unpickled(io.BytesIO(pickle.dumps([HasState()])), Allowed(foreign=True))
    assert isinstance(stand_in, InertObject)
    assert stand_in.name.endswith("test_pickles.HasState")
    with pytest.raises(RefusedPickleError, match=r"asks for .*HasState"):
        unpickled(io.BytesIO(pickle.dumps(HasState())), made)


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02]r\xff\xff\xff\x7f.",  # LONG_BINPUT: a memo of 2**31 entries
        b"]p2147483647\n.",
        b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b"abc.",
        b"\x80\x04\x95" + struct.pack("<Q", 2**60) + b"].",
        b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"1.",
    ],
)
def test_claims_of_memory_are_refused(data: bytes) -> None:
    with pytest.raises(GroundTruthError):
        plain(data)


def test_a_list_repeated_millions_of_times_is_refused(tmp_path: Path) -> None:
    shared = list(range(10_000))
    table = {"gnd": [{"ok": shared, "junk": []}] * 10_000, "imlist": ["a"] * 10_000}
    (tmp_path / "gnd").write_bytes(pickle.dumps(table | {"qidx": [0] * 10_000}))
    assert (tmp_path / "gnd").stat().st_size < 200_000
    with pytest.raises(GroundTruthError, match="found 100000000 judged images; expected at most"):
        read_ground_truth(tmp_path / "gnd")


def test_lists_within_themselves_are_refused(tmp_path: Path) -> None:
    endless: list[Any] = []
    endless.append(endless)
    for key, value in (("imlist", endless), ("qimlist", endless), ("gnd", endless)):
        (tmp_path / "gnd").write_bytes(pickle.dumps(GOOD | {key: value}))
        with pytest.raises(GroundTruthError, match="that is no list of"):
            read_ground_truth(tmp_path / "gnd")


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner)
    ),
    max_leaves=20,
)


@given(value=PLAIN, protocol=st.integers(0, 5))
@settings(max_examples=150, deadline=None)
def test_plain_data_comes_back(value: Any, protocol: int) -> None:
    assert plain(pickle.dumps(value, protocol=protocol)) == value


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_damage_is_an_error_with_the_file_s_name(data: st.DataObject) -> None:
    content = bytearray(pickle.dumps(GOOD, protocol=data.draw(st.integers(0, 5))))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(1, len(content)))
    try:
        plain(bytes(content[:end]))
    except GroundTruthError as error:
        assert str(error).startswith("gnd.pkl: found a ")
