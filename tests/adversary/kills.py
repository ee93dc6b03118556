"""SIGKILL at random moments of first runs and of runs in a room with earlier results."""

from __future__ import annotations

import functools
import random
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from adversary import results
from adversary.battery import Case, WrongError
from adversary.projects import PIPELINES, Done, Place, asked, killed

ROW = "kills"
COUNT = 50
_BEFORE, SEED = {"seed": 1}, {"seed": 2}
_RESUMES = ("dual_gating", "dynamic_channels", "saliency360")


@dataclass(frozen=True)
class Reference:
    """Uninterrupted runs of a pipeline.

    Args:
        before: a project with the results of another seed.
        metrics: of the run that is to be killed.
        seconds: that it takes.
        warnings: that it prints.
    """

    before: Place
    metrics: dict[str, object]
    seconds: float
    warnings: int


@functools.cache
def reference(pipeline: str) -> Reference:
    """Made when a case first asks for it."""
    folder = Path(_folder().name)
    before = Place.made(folder / f"{pipeline}_before")
    _succeeds(before, asked(pipeline, _BEFORE))
    after = before.copied(folder / f"{pipeline}_after")
    done = _succeeds(after, asked(pipeline, SEED))
    metrics = results.metrics(after.path, pipeline)
    return Reference(before, metrics, done.seconds, done.output.count("WARNING"))


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="adversary-references-")


def _succeeds(place: Place, arguments: list[str]) -> Done:
    done = place.run(arguments)
    if done.code != 0:
        raise WrongError(f"an uninterrupted run ended with {done.code}:\n{done.output[-2000:]}")
    return done


def cases(seed: int) -> Iterator[Case]:
    """50 kills; pipelines, first runs and later ones, resumes and re-runs take turns."""
    generator = random.Random(f"{seed} {ROW}")
    for number in range(COUNT):
        pipeline = list(PIPELINES)[number % len(PIPELINES)]
        first, resume = bool(number // 4 % 2), bool(number // 8 % 2) and pipeline in _RESUMES
        moment = generator.random()
        name = f"{ROW} {number:02d} {pipeline} at {moment:.3f} of"
        name += " a first run" if first else " a run beside earlier results"
        name += ", resumed" if resume else ", run again"
        yield Case(ROW, name, partial(_attempt, pipeline, moment, first, resume))


def _attempt(pipeline: str, moment: float, first: bool, resume: bool, folder: Path) -> str:
    known = reference(pipeline)
    place = Place.made(folder / "p") if first else known.before.copied(folder / "p")
    before = results.files(place.path / "data")
    began = time.time()
    process = place.started(asked(pipeline, SEED))
    time.sleep(moment * known.seconds)
    killed(process)
    check_kept(place.path / "data", before)
    if fault := results.database_fault(place.path / "mlflow.db"):
        raise WrongError(fault)
    # As the next run says itself: without a checkpoint there is nothing to resume.
    checkpoints = (place.path / "data").rglob("checkpoint.*")
    resume = resume and any(path.stat().st_mtime >= began for path in checkpoints)
    changes = {**SEED, "train.resume": "true"} if resume else SEED
    if resume and pipeline == "saliency360":
        changes = {**changes, "decoder_train.resume": "true"}
    done = place.run(asked(pipeline, changes))
    if done.code != 0:
        raise WrongError(f"the run after the kill ended with {done.code}\n{done.output[-1500:]}")
    check_after(place, pipeline, known)
    if "WARNING" in done.output and "tracked" in done.output:
        raise WrongError(f"the run after the kill was not tracked\n{done.output[-3000:]}")
    return f"whole, and equal afterwards, {'resumed' if resume else 'run again'}"


def check_kept(data: Path, before: Iterable[str]) -> None:
    """Of earlier results nothing lost, nothing half written.

    Checkpoints of a finished run are none: a run that begins anew forgets them.
    """
    if faults := results.damaged(data):
        raise WrongError("half written: " + "; ".join(faults))
    results_of = (name for name in before if "checkpoint." not in name)
    lost = [name for name in results_of if not (data / name).exists()]
    # A folder between its two names is brought back by the next run.
    if lost := [name for name in lost if not list((data / name).parent.parent.glob(".*.old"))]:
        raise WrongError("lost: " + "; ".join(lost))


def check_after(place: Place, pipeline: str, known: Reference) -> None:
    """What lies in a room after a run that went well.

    Raises:
        WrongError: something is damaged, left over, or other than the uninterrupted run's.
    """
    data = place.path / "data"
    if faults := results.damaged(data):
        raise WrongError("half written after a run that went well: " + "; ".join(faults))
    if found := results.leftovers(data):
        raise WrongError("left over: " + "; ".join(found))
    if found := results.differences(results.metrics(place.path, pipeline), known.metrics):
        raise WrongError("other metrics: " + "; ".join(found[:5]))
