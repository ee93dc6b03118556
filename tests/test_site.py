"""The site, the README and the front documents: what they name is there, and all is named."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

import ssl_kedro
from ssl_kedro.core.errors import UserError

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS / "_ext"))

from api_pages import ROOMS, api_pages  # noqa: E402
from cost_accuracy import PICTURE, TABLE, picture, points  # noqa: E402
from docstrings import escaped, without_limits  # noqa: E402
from error_pages import error_classes, error_pages, told  # noqa: E402
from offline import loads_from_elsewhere  # noqa: E402
from parameter_pages import parameter_rows, yaml_comments  # noqa: E402

PIPELINES = ("dual_gating", "dynamic_channels", "retrieval_eval", "saliency360")


def pages() -> list[Path]:
    written = [path for path in DOCS.rglob("*.md") if "_generated" not in path.parts]
    return [*sorted(ROOT.glob("*.md")), *sorted(written)]


@cache
def anchors(page: Path) -> set[str]:
    """Headings as GitHub names them."""
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    found: set[str] = set()
    for title in re.findall(r"^#{1,6} (.*)$", text, re.MULTILINE):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        found.add(re.sub(r"[^\w\- ]", "", shown.strip().lower()).replace(" ", "-"))
    return found


def test_every_relative_link_leads_somewhere() -> None:
    lost = []
    for page in pages():
        text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", text)):
            if re.match(r"[a-z]+:", target):
                continue
            file, _, anchor = target.partition("#")
            place = (page.parent / file).resolve() if file else page
            if not place.exists() or (anchor and anchor not in anchors(place)):
                lost.append(f"{page.relative_to(ROOT)}: {target}")
    assert lost == []


def classes_in_sources() -> set[str]:
    """Names of all classes below UserError, by reading the sources and importing nothing."""
    bases: dict[str, set[str]] = {}
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                names = {ast.unparse(base).rsplit(".", 1)[-1] for base in node.bases}
                bases.setdefault(node.name, set()).update(names)
    found, grown = {"UserError"}, True
    while grown:
        more = {name for name, above in bases.items() if above & found} - found
        found, grown = found | more, bool(more)
    return found - {"UserError"}


def test_every_error_is_explained_on_the_page() -> None:
    expected = classes_in_sources()
    assert len(expected) > 30
    assert {kind.__name__ for kind in error_classes()} == expected
    page = error_pages()["errors.md"]
    assert set(re.findall(r"^### (\w+)$", page, re.MULTILINE)) == expected
    assert page.count("**Cause.**") == page.count("**Remedy.**") == len(expected)
    assert "errors.md" in (DOCS / "troubleshooting.md").read_text("utf-8")


def test_an_error_without_a_remedy_is_refused() -> None:
    class SilentError(UserError):
        """Something went wrong."""

    with pytest.raises(ValueError, match=r"SilentError: its docstring lacks Cause: or Remedy:"):
        told(SilentError)
    SilentError.__doc__ = (
        "It is full.\n\n    Cause: too\n    little.\n    Remedy: free some.\n\n    Args:\n"
    )
    assert told(SilentError) == ("SilentError", "It is full.", "too little.", "free some.")


def leaves(values: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}"


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_every_parameter_is_on_its_page_with_words_and_limits(pipeline: str) -> None:
    text = (ROOT / f"conf/base/parameters_{pipeline}.yml").read_text("utf-8")
    rows = parameter_rows(pipeline)
    assert all(row.about and row.allowed for row in rows)
    # A row stands for what it names and for all below it.
    patterns = [re.escape(row.path).replace("<name>", r"[^.]+") + r"(\..*)?" for row in rows]
    given = list(leaves(yaml.safe_load(text)[pipeline]))
    assert [key for key in given if not any(re.fullmatch(one, key) for one in patterns)] == []


def test_a_parameter_has_its_value_limits_unit_and_source() -> None:
    rows = {row.path: row for row in parameter_rows("dual_gating")}
    batch = rows["train.batch_size"]
    assert (batch.value, batch.allowed) == ("32", "whole number, at least 2 and at most 65536")
    assert "Thesis: 512; small batches give more steps" in batch.about
    assert rows["data.size"].about.startswith("Height and width of the stored images in pixels.")
    assert rows["train.optimiser"].allowed == "`lars`, `sgd`, `adam`, `adamw`"


def test_comments_belong_to_their_keys() -> None:
    text = (
        "# Of the file.\n"
        "top:\n"
        "  # Above\n"
        "  # in two lines.\n"
        "  one: '#no'  # beside\n"
        "              # and on\n"
        "  two: {a: 1}\n"
        "  three:      # of a section\n"
        "    four: 4\n"
    )
    assert yaml_comments(text) == {
        ("top",): "Of the file.",
        ("top", "one"): "Above in two lines. beside and on",
        ("top", "three"): "of a section",
    }


def test_the_reference_has_the_front_door_and_every_room() -> None:
    made = api_pages()
    for name in ssl_kedro.__all__:
        assert f"ssl.{name}".replace("_", r"\_") in made["api/front_door.rst"] or (
            f"ssl.{name} <" in made["api/front_door.rst"]
        )
    library = {path.parent.name for path in (ROOT / "src/ssl_kedro").glob("*/__init__.py")}
    assert set(ROOMS) == library - {"pipelines", "datasets", "reporting", "hooks"}
    assert ".. automodule:: ssl_kedro.losses.vicreg" in made["api/losses.rst"]


def test_what_loads_from_elsewhere_is_found_and_links_are_not(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(
        '<a href="https://example.org">x</a><link rel="canonical" href="https://example.org">'
        '<img src="a.png"><script src="//cdn.example.org/x.js"></script>'
        '<link href="https://fonts.example.org/f.css" rel="stylesheet">'
    )
    (tmp_path / "style.css").write_text("@import 'https://example.org/a.css'; b{c:url(d.png)}")
    found = loads_from_elsewhere(tmp_path)
    assert len(found) == 3
    assert [line.split(":")[0] for line in found] == ["page.html", "page.html", "style.css"]


def test_signs_of_formulas_and_limits_are_no_markup() -> None:
    assert escaped("|x| and 2 * w, ``|y|``") == r"\|x\| and 2 \* w, ``|y|``"
    assert escaped("  * an entry of *args") == r"  * an entry of \*args"
    signature = "(a: Annotated[tuple[int, ...], Range(above=0)] = (1, 2), b: int = 3)"
    assert without_limits(signature) == "(a: tuple[int, ...] = (1, 2), b: int = 3)"


def test_the_picture_shows_the_measured_numbers() -> None:
    table = TABLE.read_text("utf-8")
    assert PICTURE.read_text("utf-8") == picture(table)
    assert PICTURE.stat().st_size < 200_000
    found = {one.network: one for one in points(table)}
    assert found["nested, 32 %"].linear == pytest.approx((54.4 + 53.3 + 54.0) / 3)
    assert found["dual gating 30 %, gated"].macs == 30.5
    assert "nested, 65 %" not in found  # two seeds


def test_the_readme_gives_the_means_of_the_measured_table() -> None:
    measured = {one.network: one.linear for one in points(TABLE.read_text("utf-8"))}
    twice = [linear for name, linear in measured.items() if name.startswith("VICReg")]
    measured["VICReg, the usual dense network"] = sum(twice) / len(twice)
    shown = 0
    for line in (ROOT / "README.md").read_text("utf-8").splitlines():
        cells = [cell.strip().strip("*") for cell in line.split("|")[1:-1]]
        if len(cells) == 5 and re.fullmatch(r"\d\d\.\d", cells[3]):
            name = cells[0].removesuffix(" (the thesis)")
            assert float(cells[3]) == pytest.approx(measured[name], abs=0.051), name
            difference = cells[4].replace("less ", "")
            assert not difference or difference in TABLE.read_text("utf-8")
            shown += 1
    assert shown == 6


def test_the_front_documents_agree_with_the_package() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == ssl_kedro.__version__
    assert citation["license"] == "MIT"
    assert citation["title"] == "ssl_kedro"
    hosted = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))
    assert {"run": ".ci/run", "env": {"PYTHON": "python"}} in hosted["jobs"]["check"]["steps"]
