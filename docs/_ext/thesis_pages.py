"""The thesis item by item: the page's tables, from docs/thesis.yml."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

DOCS = Path(__file__).parents[1]
ITEMS = DOCS / "thesis.yml"
STATES = ("as printed", "deviates", "partly", "missing", "not software")
KINDS = (
    *("equation", "table", "figure", "model", "recipe", "data"),
    *("baseline", "ablation", "claim", "question"),
)


@dataclass(frozen=True)
class Item:
    """One thing that the thesis says; fields are those of the file, and its chapter."""

    chapter: str
    id: str
    kind: str
    where: str
    what: str
    state: str
    files: Sequence[str] = ()
    pipeline: str = ""
    env: str = ""
    tags: Sequence[str] = ()
    keys: Sequence[str] = ()
    adr: int = 0
    results: Sequence[str] = ()
    note: str = ""

    @property
    def command(self) -> str:
        """What shows it; "" = nothing does."""
        words = ["kedro run --pipeline", self.pipeline] if self.pipeline else []
        words += ["--env", self.env] if self.env else []
        words += ["--tags", ",".join(self.tags)] if self.tags else []
        return " ".join(words)

    @property
    def decision(self) -> Path | None:
        """Page of its decision.

        Raises:
            ValueError: there is none of that number.
        """
        if not self.adr:
            return None
        found = sorted((DOCS / "adr").glob(f"{self.adr:04d}-*.md"))
        if not found:
            raise ValueError(f"{self.id}: there is no decision {self.adr} in docs/adr")
        return found[0]


def items() -> list[Item]:
    """All items in the order of the file."""
    chapters = yaml.safe_load(ITEMS.read_text("utf-8"))
    return [Item(chapter, **row) for chapter, rows in chapters.items() for row in rows]


def thesis_pages() -> dict[str, str]:
    """File name -> Markdown, to be included."""
    found = items()
    lines = [*_counts(found)]
    for chapter in dict.fromkeys(item.chapter for item in found):
        lines += ["", f"## {chapter}", "", "| item | what | code | shown by | state |"]
        lines.append("|---|---|---|---|---|")
        lines += [_row(item) for item in found if item.chapter == chapter]
    return {"thesis.md": "\n".join([*lines, ""])}


def _counts(found: Iterable[Item]) -> list[str]:
    """How many items of each kind are in which state."""
    counts = Counter((item.kind, item.state) for item in found)
    lines = [f"| | {' | '.join(STATES)} | all |", f"|---|{'---|' * (len(STATES) + 1)}"]
    for kind in (*KINDS, ""):
        of_kind = [
            sum(n for (k, s), n in counts.items() if s == state and kind in ("", k))
            for state in STATES
        ]
        cells = " | ".join(str(count or "") for count in (*of_kind, sum(of_kind)))
        lines.append(f"| {kind or '**all**'} | {cells} |")
    return lines


def _row(item: Item) -> str:
    code = "<br>".join(f"`{name}`" for name in item.files)
    shown = [f"`{item.command}`"] if item.command else []
    shown += [f"`{item.pipeline}.{key}`" for key in item.keys]
    state = f"**{item.state}**"
    if item.decision is not None:
        state += f" ([ADR {item.adr}](adr/{item.decision.name}))"
    told = [state, item.note]
    told += [f"Measured: {', '.join(f'[{n}](results/{n}.md)' for n in item.results)}"] * bool(
        item.results
    )
    cells = (f"{item.kind} {item.where}", item.what, code, "<br>".join(shown))
    return f"| {' | '.join(cells)} | {'. '.join(filter(None, told))} |"
