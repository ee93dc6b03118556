"""A self-contained HTML report: sections of text, tables and figures in one file."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """A figure with the sentence that describes it to those who cannot see it."""

    figure: Figure
    description: str
    format: Literal["svg", "png"] = "svg"

    @property
    def data_uri(self) -> str:
        """The picture as text that stands in the page itself."""
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format=self.format, dpi=130)
        kind = "image/svg+xml" if self.format == "svg" else "image/png"
        return f"data:{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


@dataclass(frozen=True)
class Table:
    """Rows of text under column names; columns named in ``left`` are words, not numbers."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """A heading with paragraphs, then tables, then pictures, then a list of terms."""

    title: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    terms: Sequence[tuple[str, str]] = ()
    folded: bool = False


@dataclass(frozen=True)
class Card:
    """One key figure."""

    value: str
    label: str


@dataclass(frozen=True)
class Report:
    """A whole report.

    Args:
        title: of the page.
        lead: the result in one sentence.
        cards: key figures.
        sections: in order.
    """

    title: str
    lead: str
    cards: Sequence[Card] = ()
    sections: Sequence[Section] = field(default_factory=tuple)


def rendered(report: Report) -> str:
    """The page; text from data is escaped, and nothing is loaded from elsewhere."""
    environment = Environment(
        loader=PackageLoader(__package__ or "ssl_kedro.reporting", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(report=report)
