"""Tiny runs of the four pipelines, each in a project folder of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from conftest import ROOT, TINY, TINY_SALIENCY

Changes = Mapping[str, object]

FACADES = {"instances": 5, "views": 5, "distractors": 12, "size": 48}
GATED = {"inference.models": "", "train.epochs": 2}
# Whole runs of every pipeline in seconds; what they measure means nothing.
PIPELINES: dict[str, dict[str, object]] = {
    "dual_gating": TINY | GATED,
    "dynamic_channels": {
        key: TINY[key]
        for key in TINY
        if key.split(".")[0] in ("data", "encoder", "expander", "train", "budgets")
    }
    | GATED,
    "retrieval_eval": {
        f"datasets.{name}.facades.{key}": value
        for name in ("facades", "other_facades")
        for key, value in FACADES.items()
    }
    | {
        "encoders.random.width": 4,
        "encoders.pixels.side": 8,
        "image.size": 48,
        "whitening.dimensions": 16,
        "whitening.sweep": "4;16",
    },
    "saliency360": TINY_SALIENCY | {"train.memory_format": "contiguous"},
}


@dataclass(frozen=True)
class Done:
    """How a run ended.

    Args:
        code: exit status; below 0 = the signal that ended it; None = it was still going on.
        output: all that it printed.
        seconds: that it took.
    """

    code: int | None
    output: str
    seconds: float


@dataclass(frozen=True)
class Place:
    """A project folder: configuration of its own, the code of this checkout, no data at first.

    Args:
        path: of the folder; what runs print goes to a file beside it.
    """

    path: Path

    @classmethod
    def made(cls, path: Path, *, tracked: bool = True) -> Place:
        """A new project in a folder that does not exist yet."""
        shutil.copytree(ROOT / "conf", path / "conf", ignore=shutil.ignore_patterns("local"))
        shutil.copy(ROOT / "pyproject.toml", path)
        (path / "src").mkdir()  # Kedro wants one; the code comes by PYTHONPATH
        (path / "conf/local").mkdir()
        if not tracked:
            settings = path / "conf/base/mlflow.yml"
            settings.write_text(settings.read_text().replace("enabled: true", "enabled: false"))
        return cls(path)

    def copied(self, path: Path) -> Place:
        """The same project with all that it holds, elsewhere; the folder may exist."""
        shutil.copytree(self.path, path, symlinks=True, dirs_exist_ok=True)
        return Place(path)

    def started(
        self, arguments: list[str], environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Kedro in a process group of its own; what it prints goes to a file."""
        with self._printed.open("wb") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "kedro", *arguments],
                cwd=self.path,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=surroundings() | dict(environment or {}),
            )

    def run(
        self,
        arguments: list[str],
        limit_s: float = 300,
        environment: Mapping[str, str] | None = None,
    ) -> Done:
        """Kedro until its end, or until SIGKILL after so many seconds."""
        return self.ended(self.started(arguments, environment), limit_s)

    def ended(self, process: subprocess.Popen[bytes], limit_s: float = 300) -> Done:
        """How a run ends that is given so many seconds from now."""
        began = time.perf_counter()
        code: int | None
        try:
            code = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            killed(process)
            code = None
        return Done(code, self.printed(), time.perf_counter() - began)

    @property
    def _printed(self) -> Path:
        return self.path.with_suffix(".txt")

    def printed(self) -> str:
        """What the latest run printed, as text."""
        return self._printed.read_text(errors="replace")


def surroundings() -> dict[str, str]:
    """Environment variables of the runs: this checkout's code, one thread, wide lines."""
    known = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW")}
    return known | {
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")]),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "400",
        "KEDRO_DISABLE_TELEMETRY": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def killed(process: subprocess.Popen[bytes]) -> None:
    """End a process group at once."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def asked(
    pipeline: str, changes: Changes | None = None, *options: str, run: Changes | None = None
) -> list[str]:
    """Arguments of ``kedro`` for a tiny run with changes.

    Args:
        pipeline: its name.
        changes: parameters below the pipeline's key.
        options: further ones.
        run: parameters beside it.
    """
    values = {f"{pipeline}.{k}": v for k, v in {**PIPELINES[pipeline], **(changes or {})}.items()}
    text = ",".join(f"{key}={value}" for key, value in {**values, **(run or {})}.items())
    return ["run", "--pipeline", pipeline, "--params", text, *options]
