"""The list of the thesis' items: what it names is in the code, and each item is told once."""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "src/ssl_kedro"
sys.path.insert(0, str(ROOT / "docs/_ext"))

from parameter_pages import parameter_rows  # noqa: E402
from thesis_pages import KINDS, STATES, Item, items, thesis_pages  # noqa: E402

from ssl_kedro.pipelines.entrance import entrances  # noqa: E402
from ssl_kedro.reporting.published import TABLES  # noqa: E402

ITEMS = items()


@cache
def base(pipeline: str) -> dict[str, Any]:
    text = (ROOT / f"conf/base/parameters_{pipeline}.yml").read_text("utf-8")
    text = text.replace("${room:}", "data")
    return yaml.safe_load(text)[pipeline]  # type: ignore[no-any-return]


@cache
def tags(pipeline: str) -> set[str]:
    """Of all nodes, and those whose nodes are there when they are asked for."""
    entrance = entrances()[pipeline]
    graph = entrance.create_pipeline(base(pipeline))
    model = entrance.check(base(pipeline))
    return {*model.further_tags, *(tag for node in graph.nodes for tag in node.tags)}


@cache
def keys(pipeline: str) -> list[str]:
    """Patterns of what is a parameter, or a section of some."""
    named = [re.escape(row.path).replace("<name>", r"[^.]+") for row in parameter_rows(pipeline)]
    sections = [name.rpartition(r"\.")[0] for name in named]
    return [*named, *filter(None, sections)]


def in_base(pipeline: str, key: str) -> bool:
    found: Any = base(pipeline)
    for part in key.split("."):
        if not isinstance(found, dict) or part not in found:
            return False
        found = found[part]
    return True


def defined(name: str) -> bool:
    """Whether a path below the package is there, or a dotted name is defined in its module."""
    if "/" in name or name.endswith(".py"):
        return (SOURCES / name).exists()
    module, _, last = name.rpartition(".")
    file = SOURCES / f"{module.replace('.', '/')}.py"
    if not file.is_file():
        return False
    found: set[str] = set()
    for node in ast.parse(file.read_text("utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found.update(target.id for target in targets if isinstance(target, ast.Name))
    return last in found


def test_a_name_that_is_not_in_the_code_is_found_out() -> None:
    assert defined("losses.vicreg.vicreg_loss") and defined("losses/vicreg.py")
    assert defined("pipelines/dual_gating") and defined(
        "pipelines.retrieval_eval.report.tables.RANKINGS"
    )
    assert not defined("losses.vicreg.no_loss") and not defined("losses/no_such.py")
    assert not in_base("dual_gating", "train.no_such") and in_base("dual_gating", "train.epochs")
    assert "no_such" not in tags("dual_gating")
    with pytest.raises(ValueError, match="7-x: there is no decision 9999"):
        assert Item("7", "7-x", "claim", "", "", "deviates", adr=9999).decision


def test_the_list_is_of_one_form() -> None:
    assert [name for name, count in Counter(item.id for item in ITEMS).items() if count > 1] == []
    for item in ITEMS:
        assert item.state in STATES and item.kind in KINDS, item.id
        assert item.id.startswith(f"{item.chapter.split()[0]}-") and item.what, item.id
        assert not item.what.endswith(".") and not item.note.endswith("."), item.id


def test_a_state_says_what_it_must() -> None:
    for item in ITEMS:
        if item.state == "deviates":
            assert item.adr and item.note, item.id
        if item.state in ("partly", "missing"):
            assert item.note, item.id
        if item.state in ("as printed", "deviates"):
            assert item.files and item.pipeline, item.id
        if item.state == "not software":
            assert not (item.files or item.command), item.id


def test_every_named_thing_is_there() -> None:
    lost = []
    for item in ITEMS:
        lost += [(item.id, name) for name in item.files if not defined(name)]
        lost += [(item.id, n) for n in item.results if not (ROOT / f"docs/results/{n}.md").exists()]
        assert item.decision is None or item.decision.exists()
        if not item.pipeline:
            assert not (item.env or item.tags or item.keys), item.id
            continue
        if item.env and not (ROOT / f"conf/{item.env}/parameters_{item.pipeline}.yml").exists():
            lost.append((item.id, item.env))
        lost += [(item.id, tag) for tag in item.tags if tag not in tags(item.pipeline)]
        lost += [
            (item.id, key)
            for key in item.keys
            if not in_base(item.pipeline, key)
            and not any(re.fullmatch(pattern, key) for pattern in keys(item.pipeline))
        ]
    assert lost == []


def test_every_published_table_and_numbered_equation_is_listed() -> None:
    tables = {item.where.removeprefix("Table ") for item in ITEMS if item.kind == "table"}
    assert tables == {*TABLES}
    numbers = {n for item in ITEMS if item.kind == "equation" for n in item.where.split(", ")}
    printed = {2: 7, 3: 1, 4: 4, 5: 4, 6: 3}
    assert {
        f"{chapter}.{n}" for chapter, last in printed.items() for n in range(1, last + 1)
    } <= numbers


def test_the_page_counts_and_shows_every_item() -> None:
    page = thesis_pages()["thesis.md"]
    assert page.count("\n## ") == len({item.chapter for item in ITEMS})
    everything = next(line for line in page.splitlines() if line.startswith("| **all**"))
    counts = [int(cell) for cell in re.findall(r"\d+", everything)]
    assert counts == [*(sum(i.state == state for i in ITEMS) for state in STATES), len(ITEMS)]
    rows = [line for line in page.splitlines() if "| **" in line and not line.startswith("| **")]
    assert len(rows) == len(ITEMS)
    assert all(line.count(" | ") == 4 for line in rows)
    for target in re.findall(r"\]\(([^)]+)\)", page):
        assert (ROOT / "docs" / target).exists(), target
