"""Odd and broken images in the folders that the pipelines and ``predict`` read."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from adversary import limited
from adversary.battery import Case, WrongError
from adversary.kills import reference
from adversary.kinds import PASSED, REFUSED, SIZE, SKIPPED, USED, Kind, kinds, picture
from adversary.parameters import tail
from adversary.projects import Done, Place, asked

ROW = "images"
_GOOD = 8  # images beside the odd one, in each class


@dataclass(frozen=True)
class Found:
    """What a run says of the images that it found: how many it used, and whom it left out."""

    used: int
    skipped: list[str]


@dataclass(frozen=True)
class Target:
    """A source that reads a folder.

    Args:
        folders: that hold images, below the root; the odd one lies in the first.
        fate: which of a kind's fates is the one here.
        arguments: of the run, from the root.
        found: what it says.
    """

    folders: tuple[str, ...]
    fate: int
    arguments: Callable[[Path], list[str]]
    found: Callable[[Path], Found]


def _gated(pipeline: str) -> Target:
    def arguments(root: Path) -> list[str]:
        changes = {"data.source": "folder", "data.root": root, "data.max_skipped": 0.5}
        changes |= {"train.batch_size": 2, "data.size": 16}
        return asked(pipeline, changes, "--to-nodes", f"{pipeline}.summarise_data")

    def found(project: Path) -> Found:
        data = _read(project, f"03_primary/{pipeline}/data_summary.json")
        return Found(data["images"]["train"] + data["images"]["eval"], _names(data["skipped"]))

    return Target(("a", "b"), 0, arguments, found)


def _retrieval() -> Target:
    def arguments(root: Path) -> list[str]:
        changes = {"datasets.mine.source": "folder", "datasets.mine.root": root, "evaluate": "mine"}
        changes |= {"use": "pixels", "whitening.learn_on": "itself", "extract.max_skipped": 0.5}
        node = "retrieval_eval.mine.pixels.extract_pixels_mine"
        return asked("retrieval_eval", changes, "--to-nodes", node)

    def found(project: Path) -> Found:
        (path,) = (project / "data").rglob("extraction.json")
        database = json.loads(path.read_text())["database"]
        skipped = _names(database["skipped"])
        return Found(database["images"] - len(skipped), skipped)

    return Target(("a", "b"), 0, arguments, found)


def _panoramas() -> Target:
    def arguments(root: Path) -> list[str]:
        changes = {"data.source": "folder", "data.root": root, "dataset": "own", "max_skipped": 0.5}
        return asked("saliency360", changes, "--to-nodes", "saliency360.store_own")

    def found(project: Path) -> Found:
        (path,) = (project / "data").rglob("panoramas.json")
        stored = json.loads(path.read_text())
        return Found(len(stored["names"]), _names(stored["skipped"]))

    return Target(("images",), 1, arguments, found)


def _prediction() -> Target:
    def arguments(root: Path) -> list[str]:
        changes = {"seed": 1, "predict.input": root, "predict.output": root.parent / "predicted"}
        return asked("saliency360", changes, "--tags", "predict")

    def found(project: Path) -> Found:
        with (project.parent / "predicted/predictions.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        skipped = [row["input"] for row in rows if row["skipped"]]
        return Found(len(rows) - len(skipped), skipped)

    return Target(("",), 2, arguments, found)


TARGETS = {
    "dual_gating": _gated("dual_gating"),
    "dynamic_channels": _gated("dynamic_channels"),
    "retrieval_eval": _retrieval(),
    "saliency360": _panoramas(),
    "predict": _prediction(),
}


def cases(_: int) -> Iterator[Case]:
    """Every kind in every source; nothing is drawn."""
    for kind in kinds():
        for name, target in TARGETS.items():
            fate = kind.fates[target.fate]
            label = f"{ROW} {name}, {kind.name}, to be {fate}"
            yield Case(ROW, label, partial(_attempt, target, name, kind, fate))


def _attempt(target: Target, name: str, kind: Kind, fate: str, folder: Path) -> str:
    root = folder / "given"
    for place in target.folders:
        (root / place).mkdir(parents=True)
        for number in range(_GOOD):
            (root / place / f"{number}.png").write_bytes(picture())
    kind.put(root / target.folders[0])
    if name == "saliency360":
        _add_maps(root, kind, fate)
    if name == "predict":
        place = reference("saliency360").before.copied(folder / "project")
    else:
        place = Place.made(folder / "project", tracked=False)
    done = limited.run(place, target.arguments(root))
    return checked(done, fate, _GOOD * len(target.folders), kind, lambda: target.found(place.path))


def _add_maps(root: Path, kind: Kind, fate: str) -> None:
    """A saliency map for each panorama, as the folder source wants it."""
    (root / "saliency").mkdir()
    odd = [] if fate == PASSED else [Path(kind.file).stem]
    for stem in [*map(str, range(_GOOD)), *odd]:
        np.save(root / "saliency" / f"{stem}.npy", np.ones(SIZE[::-1], np.float32))


def checked(done: Done, fate: str, good: int, kind: Kind, found: Callable[[], Found]) -> str:
    """The fate that a file had.

    Raises:
        WrongError: it is another than the stated one.
    """
    if done.code is None:
        raise WrongError("it hangs\n" + tail(done))
    if "Traceback" in done.output:
        raise WrongError("a traceback\n" + tail(done))
    message = done.output.rpartition("Error: ")[2] if done.code else ""
    if done.code:
        if fate != REFUSED or "odd" not in message:
            raise WrongError(f"the run ended with {done.code}\n{tail(done)}")
        return "refused: " + " ".join(message.split())[:100]
    told = found()
    expected = {USED: (good + 1, 0), SKIPPED: (good, 1), PASSED: (good, 0)}.get(fate)
    if (told.used, len(told.skipped)) != expected or not all("odd" in s for s in told.skipped):
        raise WrongError(f"used {told.used} of {good} good ones and it, skipped {told.skipped}")
    if fate == PASSED and "folder" not in kind.name and not _kind_told(done, kind):
        raise WrongError("passed over without a word of its kind in the log\n" + tail(done))
    return fate


def _kind_told(done: Done, kind: Kind) -> bool:
    told = done.output.partition("Passed over in")[2].partition("\n")[0]
    return (Path(kind.file).suffix or "without an ending") in told


def _read(project: Path, name: str) -> Any:
    return json.loads((project / "data" / name).read_text())


def _names(skipped: list[list[str]]) -> list[str]:
    return [name for name, _ in skipped]
