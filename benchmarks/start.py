"""What it takes to start: commands in the project against an empty folder, and the first node.

Every figure is the median of whole processes. ``--before`` names a checkout of earlier code, which
is measured in turn with this one::

    python benchmarks/start.py --before ../earlier
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
# Kedro says so right before the first node is given its inputs.
FIRST_NODE = re.compile(r"synchronous mode")
VERSION = """
import re, sys
from pathlib import Path
from kedro.framework.cli.cli import main
sys.argv = ["kedro", "--version"]
try:
    main()
finally:
    print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1], flush=True)
"""
IMPORT = """
import sys, time
start = time.perf_counter()
import ssl_kedro
print(time.perf_counter() - start, "torch" in sys.modules)
"""


def started(folder: Path, source: Path, *arguments: str) -> subprocess.Popen[str]:
    """Python in a folder with the code of a checkout."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": str(source),
            "OMP_NUM_THREADS": "1",
            "KEDRO_DISABLE_TELEMETRY": "1",
        },
    )


def version(folder: Path, source: Path) -> tuple[float, float]:
    """Seconds and MB of ``kedro --version``."""
    start = time.perf_counter()
    output, _ = started(folder, source, "-c", VERSION).communicate()
    return time.perf_counter() - start, int(output.split()[-1]) / 1024


def first_node(folder: Path, source: Path, pipeline: str) -> float:
    """Seconds from the start of ``kedro run`` to the first node; the run is ended there."""
    start = time.perf_counter()
    run = started(folder, source, "-m", "kedro", "run", "--pipeline", pipeline)
    assert run.stdout is not None
    lines: list[str] = []
    for line in run.stdout:
        lines.append(line)
        if FIRST_NODE.search(line):
            break
    else:
        raise SystemExit(f"{pipeline} ended before its first node:\n{''.join(lines)}")
    seconds = time.perf_counter() - start
    run.kill()
    run.wait()
    return seconds


def front_door(source: Path, folder: Path) -> tuple[float, bool]:
    """Seconds of ``import ssl_kedro``, and whether it loads PyTorch."""
    output, _ = started(folder, source, "-c", IMPORT).communicate()
    seconds, torch = output.split()[-2:]
    return float(seconds), torch == "True"


def main() -> None:
    """Print the figures, this code's beside those of earlier code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--pipeline", default="dual_gating")
    parser.add_argument("--before", type=Path, help="a checkout of earlier code")
    options = parser.parse_args()
    trees = {"now": ROOT} | ({"before": options.before.resolve()} if options.before else {})
    with TemporaryDirectory() as name:
        empty = Path(name)
        outside, inside, nodes, doors = [], {}, {}, {}
        for _ in range(options.repeats):
            outside.append(version(empty, empty))
            for label, tree in trees.items():
                source = tree / "src"
                inside.setdefault(label, []).append(version(tree, source))
                nodes.setdefault(label, []).append(first_node(tree, source, options.pipeline))
                doors.setdefault(label, []).append(front_door(source, empty))
    alone = median(seconds for seconds, _ in outside)
    print(
        f"kedro --version in an empty folder: {alone:.2f} s, {median(m for _, m in outside):.0f} MB"
    )
    for label in trees:
        seconds = median(s for s, _ in inside[label])
        megabytes = median(m for _, m in inside[label])
        print(
            f"{label}: kedro --version {seconds:.2f} s ({seconds / alone:.1f}x), {megabytes:.0f} MB"
        )
        print(f"{label}: first node of {options.pipeline} after {median(nodes[label]):.2f} s")
        door = median(s for s, _ in doors[label])
        print(f"{label}: import ssl_kedro {door:.3f} s, PyTorch loaded: {doors[label][0][1]}")
    if "before" in trees:
        share = median(nodes["now"]) / median(nodes["before"])
        print(f"the first node takes {share:.2f} of the time before")


if __name__ == "__main__":
    main()
