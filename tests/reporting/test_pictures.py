from __future__ import annotations

import base64
import io
import re
import xml.etree.ElementTree as ET

from matplotlib.figure import Figure
from PIL import Image

from ssl_kedro.reporting.pictures import Picture, tip


def drawn(told: str = "VICReg <1> & 2") -> Figure:
    made = Figure(figsize=(5, 2))
    axis = made.subplots()
    (line,) = axis.plot([0, 1], [0, 1], clip_on=True)
    tip(line, told)
    return made


def test_a_figure_stands_in_the_page_as_svg_that_says_what_its_marks_are() -> None:
    picture = Picture(drawn(), 'a "line"')
    root = ET.fromstring(picture.markup(7))
    assert root.attrib["aria-label"] == 'a "line"'
    assert "width" not in root.attrib and "viewBox" in root.attrib
    assert f"--width: {picture.width_px}px" in root.attrib["style"]
    name = "{http://www.w3.org/2000/svg}"
    told = [
        title.text for group in root.iter(f"{name}g") for title in group.findall(f"{name}title")
    ]
    assert told == ["VICReg <1> & 2"]


def test_ids_of_two_figures_differ_and_all_that_are_used_are_there() -> None:
    one, two = (str(Picture(drawn(), "").markup(number)) for number in (1, 2))
    ids = [set(re.findall(r' id="([^"]+)"', text)) for text in (one, two)]
    assert ids[0] and ids[0].isdisjoint(ids[1])
    used = set(re.findall(r'href="#([^"]+)"', one)) | set(re.findall(r"url\(#([^)]+)\)", one))
    assert used and used <= ids[0]


def test_the_same_figure_gives_the_same_text() -> None:
    assert Picture(drawn(), "").markup(1) == Picture(drawn(), "").markup(1)


def test_a_png_has_the_size_of_the_figure() -> None:
    text = str(Picture(drawn(), "a line", "png").markup(1))
    [coded] = re.findall('base64,([^"]+)"', text)
    image = Image.open(io.BytesIO(base64.b64decode(coded)))
    assert image.size == (5 * 130, 2 * 130)
    assert 'alt="a line"' in text
