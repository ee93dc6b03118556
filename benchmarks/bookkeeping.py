"""Processor time that rooms, origins and tracking add to a run.

The same command in turn with all hooks and with none but the one that no run can do without; the
median of whole processes, children included::

    python benchmarks/bookkeeping.py --repeats 5
    python benchmarks/bookkeeping.py --params dual_gating.train.epochs=2
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
WITHOUT = """
import ssl_kedro.settings as settings
from ssl_kedro.hooks.project import ProjectHook
settings.HOOKS = tuple(hook for hook in settings.HOOKS if isinstance(hook, ProjectHook))
"""
RUN = """
from kedro.framework.cli.cli import main
main()
"""


def processor_seconds(folder: Path, program: str, arguments: list[str]) -> float:
    """User and system time of a run in a folder, and of all that it starts."""
    with (folder / "log").open("w") as log:
        process = os.posix_spawn(
            sys.executable,
            [sys.executable, "-c", program, *arguments],
            {**os.environ, "OMP_NUM_THREADS": "1", "KEDRO_DISABLE_TELEMETRY": "1"},
            file_actions=[(os.POSIX_SPAWN_DUP2, log.fileno(), fd) for fd in (1, 2)],
        )
        _, status, used = os.wait4(process, 0)
    if status:
        raise SystemExit((folder / "log").read_text())
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Runs in turn, and their medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pipeline", default="dual_gating")
    parser.add_argument("--params", help="as for kedro run")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    arguments = ["run", "--pipeline", given.pipeline]
    arguments += ["--params", given.params] if given.params else []
    found: dict[str, list[float]] = {"with": [], "without": []}
    with TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("conf", "src"):
            shutil.copytree(ROOT / part, folder / part)
        shutil.copy(ROOT / "pyproject.toml", folder)
        os.chdir(folder)
        os.environ["PYTHONPATH"] = str(folder / "src")
        for repeat in range(given.repeats):
            for kind, seconds in found.items():
                program = (WITHOUT if kind == "without" else "") + RUN
                seconds.append(processor_seconds(folder, program, arguments))
                print(f"{repeat + 1} {kind}: {seconds[-1]:.1f} s", flush=True)
                shutil.rmtree(folder / "data")
    usual, bare = median(found["with"]), median(found["without"])
    print(f"median {usual:.1f} s with, {bare:.1f} s without: {usual / bare - 1:+.1%}")


if __name__ == "__main__":
    main()
