from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

from ssl_kedro.core.memory import loading
from warm import run_module

# Layer after layer as a network runs; the kernel counts the pages that it has to hand out.
SCRIPT = """
import resource, sys
import torch
if sys.argv[1] == "keep":
    from ssl_kedro.core.memory import keep_freed_memory
    if not keep_freed_memory():
        sys.exit("not set")
torch.set_num_threads(1)
convolution = torch.nn.Conv2d(8, 8, 3, padding=1)
x = torch.zeros(4, 8, 512, 512)
with torch.inference_mode():
    def passes(count):
        for _ in range(count):
            y = x
            for _ in range(3):
                y = torch.relu(convolution(y)) + y
    passes(1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    passes(3)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode: str, folder: Path) -> int:
    (folder / "passes.py").write_text(SCRIPT)
    done = run_module("passes", mode, folder=folder, environment=os.environ)
    if "not set" in done.stderr:
        pytest.skip("the C library is not glibc")
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a setting of glibc")
def test_freed_memory_is_used_again_without_asking_the_kernel(tmp_path: Path) -> None:
    assert faults("keep", tmp_path) < 0.2 * faults("default", tmp_path)


def test_what_modules_make_is_not_searched_for_garbage_while_they_load_and_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frozen = gc.get_freeze_count()
    with loading():
        assert not gc.isenabled()
        monkeypatch.setitem(sys.modules, "newly_loaded", ModuleType("newly_loaded"))
    try:
        assert gc.isenabled()
        assert gc.get_freeze_count() > frozen + 1000
    finally:
        gc.unfreeze()


def test_without_new_modules_garbage_in_cycles_stays_in_sight() -> None:
    """A later session in a notebook: what an earlier one left behind has to go."""
    frozen = gc.get_freeze_count()
    with pytest.raises(ZeroDivisionError), loading():
        _ = 1 / 0
    assert gc.isenabled()
    assert gc.get_freeze_count() == frozen


def test_a_collector_that_was_switched_off_stays_off() -> None:
    gc.disable()
    try:
        with loading():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
