"""Processor time that rooms, origins and tracking add to a run.

It is counted where it is spent, in the hooks, and so does not drown in the noise of two whole runs;
what is left out is the one hook that no run can do without::

    python benchmarks/bookkeeping.py --repeats 5
    python benchmarks/bookkeeping.py --params dual_gating.train.epochs=2
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
# Tracking hears of epochs without a hook.
RUN = """
import atexit, functools, os, sys
from kedro.framework.cli.cli import main
import ssl_kedro.settings as settings
from ssl_kedro.hooks.project import ProjectHook

def now():
    return sum(os.times()[:4])

def counted(of, method):
    @functools.wraps(method)
    def call(*arguments, **options):
        start = now()
        try:
            return method(*arguments, **options)
        finally:
            spent[of] += now() - start
    return call

kinds = [type(hook) for hook in settings.HOOKS if not isinstance(hook, ProjectHook)]
spent = {kind.__name__: 0.0 for kind in kinds}
for kind in kinds:
    for name, method in list(vars(kind).items()):
        if hasattr(method, "kedro_impl") or name == "_log_row":
            setattr(kind, name, counted(kind.__name__, method))
atexit.register(lambda: print(f"COUNTED {now()} {spent}", file=sys.stderr))
main()
"""


def counted_run(arguments: list[str], folder: Path) -> tuple[float, dict[str, float]]:
    """Processor seconds of a run with all that it starts, and those spent in each hook."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "KEDRO_DISABLE_TELEMETRY": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    told = [line for line in done.stderr.splitlines() if line.startswith("COUNTED ")]
    if done.returncode or not told:
        raise SystemExit(done.stdout + done.stderr)
    _, whole, hooks = told[0].split(" ", 2)
    pairs = (pair.split(": ") for pair in hooks.strip("{}").split(", "))
    return float(whole), {name.strip("'"): float(seconds) for name, seconds in pairs}


def main() -> None:
    """Runs one after the other, and their medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pipeline", default="dual_gating")
    parser.add_argument("--params", help="as for kedro run")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    arguments = ["run", "--pipeline", given.pipeline]
    arguments += ["--params", given.params] if given.params else []
    shares = []
    with TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("conf", "src"):
            shutil.copytree(ROOT / part, folder / part)
        shutil.copy(ROOT / "pyproject.toml", folder)
        os.environ["PYTHONPATH"] = str(folder / "src")
        for repeat in range(given.repeats):
            whole, hooks = counted_run(arguments, folder)
            shares.append(sum(hooks.values()) / (whole - sum(hooks.values())))
            each = ", ".join(f"{name} {seconds:.2f}" for name, seconds in hooks.items())
            print(f"{repeat + 1}: {whole:.1f} s, of them {each}: {shares[-1]:+.1%}", flush=True)
            shutil.rmtree(folder / "data")
    print(f"median {median(shares):+.1%}")


if __name__ == "__main__":
    main()
