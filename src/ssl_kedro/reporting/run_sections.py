"""Sections that every pipeline's report ends with: skipped files and the run's manifest."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from ssl_kedro.core.errors import first_few
from ssl_kedro.images.files import counted_kinds
from ssl_kedro.reporting.html import Section, Table
from ssl_kedro.reporting.number_format import DASH, counted

# A folder of thousands of broken files must not make the page unreadable.
_LISTED_FILES = 200
_OPEN_FILES = 10


def passed_over_by(found: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Files of kinds that are not read, by ending, of several sources together."""
    total: Counter[str] = Counter()
    for counts in found:
        total.update(counts)
    return dict(total.most_common())


def skipped_section(manifest: Mapping[str, Any]) -> list[Section]:
    """One section with the files that were not or could not be read, none where all could.

    Args:
        manifest: of the run; ``manifest["data"]["skipped"]`` holds (path, reason) pairs,
            ``["passed_over"]`` numbers by ending.
    """
    data = manifest["data"]
    skipped, passed = data["skipped"], data.get("passed_over")
    told = [f"Files of kinds that are not read: {counted_kinds(passed)}."] if passed else []
    if not skipped:
        return [Section("Files passed over", told)] if told else []
    paragraphs = ["They could not be decoded and took no part.", *told]
    if len(skipped) > _LISTED_FILES:
        paragraphs.append(f"The first {_LISTED_FILES} are listed; the manifest names all.")
    rows = [[str(path), str(reason)] for path, reason in skipped[:_LISTED_FILES]]
    return [
        Section(
            f"{counted(len(skipped))} file(s) skipped",
            paragraphs,
            tables=[Table(("File", "Reason"), rows, left=2, wrap=True)],
            folded=f"Show {len(rows)} files" if len(rows) > _OPEN_FILES else "",
        )
    ]


def manifest_section(manifest: Mapping[str, Any], time_label: str = "Training time") -> Section:
    """What the run was: commit, versions, seed, device, data, time and memory.

    Args:
        manifest: of the run.
        time_label: what its ``training_seconds`` were spent on.
    """
    data, execution = manifest["data"], manifest["execution"]
    versions = ", ".join(f"{name} {v}" for name, v in manifest["versions"].items() if v)
    memory = manifest["peak_memory_mb"]
    computed = [
        execution["device"],
        execution["precision"],
        execution.get("memory_format", "").replace("_", " "),
        "compiled" if execution.get("compiled") else "",
        "CUDA graph" if execution.get("recorded") else "",
    ]
    rows = [
        ["Created", str(manifest["created"])],
        ["Seed", str(manifest["seed"])],
        ["Commit", str(manifest["git_commit"] or DASH)],
        ["Platform", f"{manifest['platform']}, Python {manifest['python']}"],
        ["Processor", _processor(manifest.get("processor"))],
        ["Versions", versions],
        ["Device, precision", ", ".join(filter(None, computed))],
        [time_label, f"{manifest['training_seconds']:,.0f} s"],
        ["Peak memory", DASH if memory is None else f"{memory:,.0f} MB"],
        ["Images", ", ".join(f"{name} {n:,}" for name, n in data["images"].items())],
        ["Fingerprints", ", ".join(f"{n} {v}" for n, v in data["fingerprints"].items())],
        ["Skipped files", counted(len(data["skipped"]))],
        ["Results taken over", _taken_over(manifest["earlier_results"])],
    ]
    return Section(
        "Reproducibility",
        [f"Made on {str(manifest['created'])[:10]} with seed {manifest['seed']}."],
        tables=[Table(("", ""), rows, left=2, wrap=True)],
        folded="Show commit, versions, machine and data",
    )


def _processor(found: Mapping[str, Any] | None) -> str:
    """Name, threads and instructions; a dash for manifests from before."""
    if not found:
        return DASH
    name = found["name"] or "unknown"
    return ", ".join([name, f"{found['threads']} threads", *found["instructions"]])


def _taken_over(earlier: Mapping[str, str]) -> str:
    """What earlier runs have left, by when it was made: "none" where this run made everything."""
    times = sorted(set(earlier.values()))
    names = [[name for name, made in earlier.items() if made == time] for time in times]
    found = [f"{first_few(some)} ({time})" for some, time in zip(names, times, strict=True)]
    return "; ".join(found) or "none: this run made everything"
