"""What killed processes leave, and the mode of what is written."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ssl_kedro.core.files import finish_replacing, replaced_file, replaced_folder
from warm import run_module

KILLED = """
import os, signal, sys
from pathlib import Path
from ssl_kedro.core import files
class Killed(type(Path())):
    def replace(self, target):
        found = super().replace(target)
        if self.name == sys.argv[2]:
            os.kill(os.getpid(), signal.SIGKILL)
        return found
with files.replaced_folder(Killed(sys.argv[1]) / "bundle") as folder:
    (folder / "config.json").write_text("new")
"""
# The mask that a process has when it begins.
WRITE = """
import os, sys
from pathlib import Path
os.umask(int(sys.argv[1]))
import torch
from safetensors.torch import save_file
from ssl_kedro.core.files import replaced_file, replaced_folder
with replaced_file(Path("a")) as made:
    save_file({"x": torch.zeros(1)}, made)
with replaced_folder(Path("b")) as made:
    save_file({"x": torch.zeros(1)}, made / "c")
"""


def killed_after(root: Path, name: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(root), name], check=False)
    assert done.returncode < 0


def test_a_folder_that_lost_its_name_gets_its_old_content_back(tmp_path: Path) -> None:
    with replaced_folder(tmp_path / "bundle") as folder:
        (folder / "config.json").write_text("old")
    killed_after(tmp_path, "bundle")  # the old one is renamed, the new one not yet
    assert not (tmp_path / "bundle").exists()
    said = finish_replacing(tmp_path)
    assert (tmp_path / "bundle/config.json").read_text() == "old"
    assert any("content of before was brought back" in line for line in said)
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    assert finish_replacing(tmp_path) == []


def test_what_is_left_of_a_finished_replacement_is_removed(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle/config.json").write_text("new")
    (tmp_path / ".bundle.17.old").mkdir()
    (tmp_path / ".metrics.json.17.tmp").write_text("half")
    (tmp_path / ".kept.by_somebody.tmp").write_text("not ours")
    assert len(finish_replacing(tmp_path)) == 2
    assert (tmp_path / "bundle/config.json").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".kept.by_somebody.tmp", "bundle"]


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_files_have_the_mode_that_new_files_have(tmp_path: Path, umask: int) -> None:
    (tmp_path / "write.py").write_text(WRITE)
    done = run_module("write", str(umask), folder=tmp_path, environment=os.environ)
    assert done.returncode == 0, done.stderr
    for path in (tmp_path / "a", tmp_path / "b/c"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_a_file_made_private_on_purpose_stays_so_elsewhere(tmp_path: Path) -> None:
    """Only what is written through the replacement gets the common mode."""
    path = tmp_path / "x"
    save_file({"x": torch.zeros(1)}, path)
    before = stat.S_IMODE(path.stat().st_mode)
    with replaced_file(tmp_path / "y") as made:
        made.write_text("y")
    assert stat.S_IMODE(path.stat().st_mode) == before
    assert os.access(tmp_path / "y", os.R_OK)
