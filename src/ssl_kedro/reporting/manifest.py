"""What a run was: versions, commit, data, seed, device, time and memory."""

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = (
    "ssl_kedro",
    "torch",
    "torchvision",
    "numpy",
    "scikit-learn",
    "kedro",
    "kedro-datasets",
    "mlflow",
)


def run_manifest(
    *,
    seed: int,
    data: dict[str, Any],
    execution: dict[str, Any],
    parameters: dict[str, Any],
    training_seconds: float,
    origins: Mapping[str, str],
) -> dict[str, Any]:
    """Everything needed to tell two runs apart, and to repeat one.

    Args:
        seed: the run's seed.
        data: summary of the images with their fingerprints.
        execution: device and precision.
        parameters: effective parameters.
        training_seconds: summed over all models.
        origins: when results were made that an earlier run left, by catalog name.
    """
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": seed,
        "git_commit": git_commit(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "versions": {name: _version(name) for name in _PACKAGES},
        "execution": execution,
        "training_seconds": round(training_seconds, 1),
        "peak_memory_mb": peak_memory_mb(),
        "data": data,
        "earlier_results": dict(origins),
        "parameters": parameters,
    }


# Instructions that decide which engine and precision is fast, by Linux' names.
_INSTRUCTIONS = (
    *("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "avx_vnni", "amx_bf16", "amx_int8"),
    *("asimddp", "bf16", "i8mm"),
)
_PROCESSOR = Path("/proc/cpuinfo")


def processor() -> dict[str, Any]:
    """Name of the processor, how many threads it runs, and what it has for low precisions.

    Times mean nothing without it. Systems other than Linux tell the name alone.
    """
    name, flags = platform.processor(), set[str]()
    if _PROCESSOR.exists():
        text = _PROCESSOR.read_text(encoding="utf-8", errors="replace")
        lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        told = {key.strip(): value.strip() for key, value in lines.items()}
        name = told.get("model name", name)
        flags = set(told.get("flags", told.get("Features", "")).split())
    found = [instruction for instruction in _INSTRUCTIONS if instruction in flags]
    return {"name": name, "threads": os.cpu_count(), "instructions": found}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def git_commit() -> str | None:
    """Commit of the project folder, with "+changes" where files differ from it."""
    here = Path(__file__).resolve().parent
    try:
        commit = _git(here, "rev-parse", "HEAD")
        changed = _git(here, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}+changes" if changed else commit


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=10
    ).stdout.strip()


def peak_memory_mb() -> float | None:
    """Largest resident size of this process so far, in MB; None where it is not known."""
    if sys.platform == "win32":
        return None
    import resource  # noqa: PLC0415  does not exist on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1e6 if sys.platform == "darwin" else 1e3), 1)
