from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from matplotlib.figure import Figure

from ssl_kedro.reporting.glossary import Term
from ssl_kedro.reporting.html import Card, Report, Section, Table, rendered
from ssl_kedro.reporting.number_format import DASH, MINUS, counted, percent, plain, signed, with_std
from ssl_kedro.reporting.pictures import Picture
from ssl_kedro.reporting.style import literal, spread
from ssl_kedro.reporting.thumbnails import Thumbnail, Thumbnails

NOT_A_NUMBER = float("nan")


class Reader(HTMLParser):
    """Collects tags with attributes and the text of cells."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.mismatched: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.mismatched.append(tag)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page() -> str:
    nasty = '<script>alert("1")</script>'
    table = Table(
        ("name", "value", "difference"),
        [[nasty, "1", "+2"], ["b", DASH, f"{MINUS}2"], ["c", "3", "+4"]],
        groups=[("", 1), ("measured", 2)],
        breaks=[1],
        caption=nasty,
        decided={(0, 2), (1, 2)},
    )
    picture = Picture(Figure(figsize=(5, 2)), f"a picture of {nasty}")
    shown = Thumbnail("data:,", nasty, nasty)
    row = Thumbnails(nasty, [shown, Thumbnail("", missing=nasty)])
    sections = [
        Section(nasty, (nasty,), [table], [picture], [row], nasty),
        Section("bare", tables=[Table(("", ""), [["a", "b"]], left=2)], folded="Show one"),
    ]
    lead = [(nasty, nasty)]
    terms = [Term(nasty, nasty), Term("alert", nasty)]
    return rendered(Report(nasty, lead, nasty, [Card(nasty, nasty)], sections, terms))


def test_text_is_escaped_everywhere_and_tags_are_balanced() -> None:
    found = page()
    reader = Reader(found)
    assert "<script" not in found
    assert found.count("&lt;script&gt;") >= 10
    assert reader.open == reader.mismatched == []


def test_nothing_is_loaded_from_elsewhere() -> None:
    reader = Reader(page())
    assert not reader.all("link") and not reader.all("script") and not reader.all("iframe")
    for tag, attributes in reader.tags:
        for name in ("src", "href", "srcset", "data"):
            if name in attributes:
                assert (attributes[name] or "").startswith(("data:", "#")), (tag, name)
    assert not re.findall(r"url\((?!#)", page()) and "@import" not in page()


def test_contents_lead_to_every_section() -> None:
    reader = Reader(page())
    ids = [section["id"] for section in reader.all("section")]
    assert [link["href"] for link in reader.all("a")] == [f"#{name}" for name in ids]
    assert len(set(ids)) == 3


def test_every_picture_has_a_description_and_the_page_a_language() -> None:
    reader = Reader(page())
    nasty = '<script>alert("1")</script>'
    assert [image["alt"] for image in reader.all("img")] == [nasty]
    assert [(d["role"], d["aria-label"]) for d in reader.all("svg")] == [
        ("img", f"a picture of {nasty}")
    ]
    assert reader.all("html") == [{"lang": "en"}]


def test_table_marks_signs_groups_and_breaks() -> None:
    reader = Reader(page())
    assert [cell.get("class") for cell in reader.all("td")[:6]] == [
        None,
        "plus",
        None,
        "minus",
        None,
        None,
    ]
    spans = [head["colspan"] for head in reader.all("th") if "colspan" in head]
    assert spans == ["1", "2"]
    assert [row.get("class") for row in reader.all("tr")[:5]] == [
        "groups",
        None,
        None,
        "break",
        None,
    ]
    # The second table has no column names and so no head.
    assert len(reader.all("thead")) == 1
    assert len(reader.all("details")) == 1


def test_numbers_and_dashes() -> None:
    assert percent(0.7527) == "75.3\N{NO-BREAK SPACE}%"
    assert percent(0.07, 0) == "7\N{NO-BREAK SPACE}%"
    assert plain(-0.05) == f"{MINUS}0.05"
    assert percent(None) == percent(NOT_A_NUMBER) == plain(NOT_A_NUMBER) == DASH
    assert signed(NOT_A_NUMBER) == with_std(NOT_A_NUMBER, NOT_A_NUMBER) == DASH
    assert signed(-1.234) == f"{MINUS}1.23"
    assert signed(1.235, 1) == "+1.2"
    assert signed(-0.001) == signed(0.0) == "0.00"
    assert with_std(75.271, 0.049) == "75.27 ± 0.05"
    assert counted(50000) == "50,000"
    assert counted("lars") == "lars"


def test_names_from_data_are_printed_as_they_are() -> None:
    assert literal("cat") == "cat"
    assert literal("$x$") == r"\$x\$"
    assert len(literal("a" * 300)) == 22


@pytest.mark.parametrize("centred", [False, True])
def test_spread_keeps_order_and_gap(centred: bool) -> None:
    heights = spread([3.0, 1.0, 1.1, 1.2, 9.0], 0.5, centred=centred)
    order = sorted(heights)
    assert [heights[1], heights[2], heights[3], heights[0], heights[4]] == order
    gaps = [high - low for low, high in pairwise(order)]
    assert min(gaps) == pytest.approx(0.5)
    if centred:
        assert sum(heights) == pytest.approx(3 + 1 + 1.1 + 1.2 + 9)
    else:
        assert heights == pytest.approx([3.0, 1.0, 1.5, 2.0, 9.0])
    assert spread([], 1.0, centred=centred) == []


def test_tints_change_places_where_lower_is_better() -> None:
    row, decided = ["a", f"{MINUS}1", f"{MINUS}2"], {(0, 1), (0, 2)}
    table = Table(["m", "cost", "gain"], [row], lower_is_better=[1], decided=decided)
    page = rendered(Report("r", [], sections=[Section("s", tables=[table])]))
    assert f'<td class="plus">{MINUS}1</td><td class="minus">{MINUS}2</td>' in page
