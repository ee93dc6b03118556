from __future__ import annotations

import base64
import struct
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from matplotlib.figure import Figure

from ssl_kedro.reporting.html import Card, Picture, Report, Section, Table, rendered
from ssl_kedro.reporting.number_format import DASH, MINUS, counted, percent, plain, signed, with_std
from ssl_kedro.reporting.style import literal, spread

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

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.mismatched.append(tag)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page() -> str:
    nasty = '<script>alert("1")</script>'
    table = Table(
        ("name", "value", "difference"),
        [[nasty, "1", "+2"], ["b", DASH, f"{MINUS}2"], ["c", "3", "4"]],
        groups=[("", 1), ("measured", 2)],
        breaks=[1],
        caption=nasty,
    )
    picture = Picture(Figure(figsize=(5, 2)), f"a picture of {nasty}")
    sections = [
        Section(nasty, (nasty,), [table], [picture], [(nasty, nasty)]),
        Section("bare", tables=[Table(("", ""), [["a", "b"]], left=2)], folded="Show one"),
    ]
    return rendered(Report(nasty, nasty, nasty, [Card(nasty, nasty)], sections))


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
                assert (attributes[name] or "").startswith("data:"), (tag, name)
    assert "url(" not in page() and "@import" not in page()


def test_every_picture_has_a_description_and_the_page_a_language() -> None:
    reader = Reader(page())
    assert [image["alt"] for image in reader.all("img")] == [
        'a picture of <script>alert("1")</script>'
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


def test_pictures_are_what_they_say() -> None:
    svg = Picture(Figure(figsize=(5, 2)), "")
    kind, _, body = svg.data_uri.partition(";base64,")
    assert kind == "data:image/svg+xml"
    assert b"<svg" in base64.b64decode(body)
    kind, _, body = Picture(Figure(figsize=(5, 2)), "", "png").data_uri.partition(";base64,")
    assert kind == "data:image/png"
    width, height = struct.unpack(">II", base64.b64decode(body)[16:24])
    assert (width, height) == (5 * 130, 2 * 130)
    assert svg.width_px == 550
    assert svg.least_width_px == 396


def test_numbers_and_dashes() -> None:
    assert percent(0.7527) == "75.3\N{NO-BREAK SPACE}%"
    assert percent(0.07, 0) == "7\N{NO-BREAK SPACE}%"
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
    table = Table(["m", "cost", "gain"], [["a", f"{MINUS}1", f"{MINUS}2"]], lower_is_better=[1])
    page = rendered(Report("r", "", sections=[Section("s", tables=[table])]))
    assert f'<td class="plus">{MINUS}1</td><td class="minus">{MINUS}2</td>' in page
