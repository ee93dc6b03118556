"""What the thesis publishes, as data: its figures as printed, and recipes beside those of a run."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import pandas as pd

from ssl_kedro.reporting.html import Section, Table
from ssl_kedro.reporting.number_format import DASH, counted

TABLES = (
    *("3.1", "3.2", "3.3", "3.4", "4.1", "4.2", "4.3", "4.4"),
    *("5.1", "6.1", "6.2", "6.3", "6.4", "6.5", "6.6"),
)


def published_table(table: str) -> pd.DataFrame:
    """One table of the thesis, in long form; accuracies and reductions in percent.

    The frame's ``attrs`` hold "title" and "note": what the transcription had to decide and
    where the print contradicts itself.

    Args:
        table: "3.1" to "3.4", "4.1" to "4.4", "5.1" or "6.1" to "6.6".

    Raises:
        ValueError: there is no such table.
    """
    if table not in TABLES:
        raise ValueError(f"table {table!r} is not published here; known: {', '.join(TABLES)}")
    content = _content(f"table_{table.replace('.', '_')}")
    frame = pd.DataFrame(content["rows"], columns=content["columns"])
    frame.attrs |= {"title": content["title"], "note": content["note"]}
    return frame


def published_overhead() -> tuple[float, float]:
    """What gates add in the thesis (6.3.1): shares of parameters and of MACs, fractions."""
    content = _content("overhead_6")
    return content["parameters_percent"] / 100, content["macs_percent"] / 100


@dataclass(frozen=True)
class Setting:
    """One setting as published and as run; a published None: the thesis does not state it."""

    name: str
    published: Any
    run: Any

    @property
    def same(self) -> bool:
        """Whether both are equal, numbers but for rounding."""
        if isinstance(self.run, float) and isinstance(self.published, int | float):
            return math.isclose(self.run, self.published)
        return bool(self.run == self.published)


def published_recipe(chapter: str, dataset: str = "") -> dict[str, tuple[str, Any]]:
    """Name and value of every setting that a chapter of the thesis states, by its key.

    Args:
        chapter: "5" or "6", or another file ``published/recipe_<chapter>.json``.
        dataset: of the thesis, where settings depend on it.
    """
    content = _content(f"recipe_{chapter}")
    found = published_recipe(content["extends"], dataset) if "extends" in content else {}
    for key, name, value in content["settings"]:
        found[key] = (name, value.get(dataset) if isinstance(value, dict) else value)
    return found


def published_protocol() -> dict[str, Any]:
    """Data of chapter 4 by their names in its tables: sources, and numbers of panoramas.

    "train" and "test" count panoramas, "scenes" tested videos and single panoramas together;
    "pretraining" panoramas without labels; "trained_on" is what all decoders learn from.
    """
    return _content("protocol_4")


def published_in(chapter: str) -> str:
    """Where the thesis states a recipe, "Thesis, 6.3.1"."""
    return str(_content(f"recipe_{chapter}")["where"])


def published_heading(chapter: str, dataset: str) -> str:
    """What stands above published figures, "Published (CIFAR-10, width 64, 500 epochs)"."""
    recipe = published_recipe(chapter, dataset)
    width, epochs = recipe["encoder.width"][1], recipe["train.epochs"][1]
    return f"Published ({dataset}, width {width}, {epochs} epochs)"


def compared(published: Mapping[str, tuple[str, Any]], run: Mapping[str, Any]) -> list[Setting]:
    """Settings that both have, in the order of the published recipe.

    Args:
        published: from :func:`published_recipe`.
        run: values by the same keys.
    """
    return [
        Setting(name, value, run[key]) for key, (name, value) in published.items() if key in run
    ]


def values_of(source: object, keys: Sequence[str]) -> dict[str, Any]:
    """Values at dotted paths of attributes, "train.epochs"; what there is not is left out."""
    found = {}
    for key in keys:
        value: Any = source
        for part in key.split("."):
            value = getattr(value, part, None)
        if value is not None:
            found[key] = value
    return found


def changes(settings: Sequence[Setting]) -> str:
    """Settings that differ, with the published value behind: "epochs 10 (250); tau 0.1 (0.07)"."""
    return "; ".join(
        f"{setting.name} {_words(setting.run)} ({_words(setting.published)})"
        for setting in settings
        if not setting.same
    )


def recipe_section(settings: Sequence[Setting], where: str, recipe: str) -> Section:
    """Table of what differs, and a sentence with what does not.

    Args:
        settings: from :func:`compared`.
        where: in the thesis they stand.
        recipe: which one ran, in words.
    """
    rows = [[s.name, _text(s.run), _text(s.published)] for s in settings if not s.same]
    same = ", ".join(f"{s.name[0].lower()}{s.name[1:]} {_text(s.run)}" for s in settings if s.same)
    paragraphs = [recipe]
    paragraphs += ["A run with another set-up is another measurement than the thesis'."] * bool(
        rows
    )
    paragraphs += [f"As in the thesis: {same}."] * bool(same)
    tables = [Table(("", "This run", where), rows, left=3, wrap=True)] if rows else []
    folded = f"Show {len(rows)} settings that differ"
    return Section("What differs from the published set-up", paragraphs, tables, folded=folded)


@cache
def _content(name: str) -> dict[str, Any]:
    path = files(__package__) / "published" / f"{name}.json"
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _text(value: Any) -> str:
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else counted(value)


def _words(value: Any) -> str:
    return _text(value).replace("_", " ")
