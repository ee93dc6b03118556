"""How much of the package one training runs through, from its node to its ``metrics.json``.

A tiny run of ``dual_gating`` in this process, in a copy of the project's configuration. While the
nodes of one model (pretrain, extract, evaluate) and those that gather (runs, metrics) compute,
a tracer notes every function of ``ssl_kedro`` that starts, and every line of it that runs.

Counted: the modules of which at least five lines ran, the lines of these files, and the lines that
ran. Not counted: imports (module and class bodies); modules that only give a property or look up
a name; datasets, and hooks, which listen to a training without being part of it.

    PYTHONPATH=src python benchmarks/hops.py --list
    PYTHONPATH=<another checkout>/src python benchmarks/hops.py
"""

from __future__ import annotations

import argparse
import inspect
import os
import shutil
import sys
import tempfile
import threading
from pathlib import Path
from types import FrameType
from typing import Any

os.environ.setdefault("KEDRO_DISABLE_TELEMETRY", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from kedro.framework.hooks import hook_impl
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

import ssl_kedro

PACKAGE = Path(ssl_kedro.__file__).parent
ROOT = PACKAGE.parents[1]
OURS = f"{PACKAGE}{os.sep}"
HOOKS = f"{OURS}hooks{os.sep}"
FEWEST_LINES = 5
NODES = {
    *(f"{action}_vicreg" for action in ("pretrain", "extract", "evaluate")),
    *("runs", "metrics"),
}
TINY = {
    "data": {"generated": 100, "generated_eval": 40, "size": 16},
    "encoder": {"width": 4},
    "expander": {"hidden": 16, "output": 16},
    "train": {"epochs": 2, "batch_size": 20, "device": "cpu", "precision": "fp32"},
    "probe": {"epochs": 2, "runs": 1},
    "budgets": "0.5",
    "parts": "table_6_1",
    "inference": {"models": ""},
}


class Hops:
    """Notes what runs while nodes compute, as a hook of Kedro."""

    def __init__(self) -> None:
        self.lines: dict[str, set[int]] = {}
        self.nodes: set[str] = set()

    @hook_impl
    def before_node_run(self, node: Any) -> None:
        """Begin to note, where the node belongs to the training."""
        if node.name.rpartition(".")[2] in NODES:
            self.nodes.add(node.name)
            threading.settrace(self._called)
            sys.settrace(self._called)

    @hook_impl
    def after_node_run(self) -> None:
        """Stop, before anything is saved."""
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type]

    def _called(self, frame: FrameType, _: str, __: object) -> Any:
        code = frame.f_code
        ours = code.co_filename.startswith(OURS) and not code.co_filename.startswith(HOOKS)
        if not ours or not code.co_flags & inspect.CO_OPTIMIZED:
            return None  # not of the training, or the body of a module or class
        ran = self.lines.setdefault(code.co_filename, set())

        def line(frame: FrameType, _: str, __: object) -> Any:
            ran.add(frame.f_lineno)
            return line

        return line


def measured() -> Hops:
    """Run the tiny pipeline to its metrics."""
    hops = Hops()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(ROOT / "conf", folder / "conf")
        shutil.copytree(PACKAGE, folder / "src" / PACKAGE.name)
        shutil.copy(ROOT / "pyproject.toml", folder)
        os.chdir(folder)
        bootstrap_project(folder)
        with KedroSession.create(folder, runtime_params={"dual_gating": TINY}) as session:
            session._hook_manager.register(hops)
            session.run(pipeline_name="dual_gating", to_outputs=["dual_gating.metrics"])
        os.chdir(ROOT)
    return hops


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="every module, with its lines")
    listed = parser.parse_args().list
    hops = measured()
    whole = {
        name: len(Path(name).read_text().splitlines())
        for name, ran in hops.lines.items()
        if len(ran) >= FEWEST_LINES
    }
    if listed:
        for name in sorted(whole):
            print(f"{whole[name]:5} {len(hops.lines[name]):5} {name.removeprefix(OURS)}")
    print(f"nodes: {', '.join(sorted(hops.nodes))}")
    print(
        f"{len(whole)} modules with {sum(whole.values())} lines; "
        f"{sum(len(hops.lines[name]) for name in whole)} of them ran"
    )


if __name__ == "__main__":
    main()
