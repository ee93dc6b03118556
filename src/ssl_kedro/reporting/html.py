"""A self-contained HTML report: sections of text, tables and figures in one file."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib import rc_context
from matplotlib.figure import Figure

from ssl_kedro.reporting.thumbnails import Thumbnails


@dataclass(frozen=True)
class Picture:
    """A figure with the sentence that describes it to those who cannot see it."""

    figure: Figure
    description: str
    format: Literal["svg", "png"] = "svg"

    @property
    def width_px(self) -> int:
        """Width on the page at which the figure's text has the size of small print."""
        return round(110 * self.figure.get_figwidth())

    @property
    def least_width_px(self) -> int:
        """Narrower than this its text could not be read: a small screen scrolls instead."""
        return min(round(0.72 * self.width_px), 800)

    @property
    def data_uri(self) -> str:
        """The picture as text that stands in the page itself."""
        buffer = io.BytesIO()
        # Without a salt the ids inside an SVG are random, and without this the date is in it:
        # the same results should give the same page.
        metadata = {"Date": None} if self.format == "svg" else {}
        with rc_context({"svg.hashsalt": "ssl_kedro"}):
            self.figure.savefig(buffer, format=self.format, dpi=130, metadata=metadata)
        kind = "image/svg+xml" if self.format == "svg" else "image/png"
        return f"data:{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


@dataclass(frozen=True)
class Table:
    """Rows of text under column names.

    A cell of a number column that starts with "+" or a minus sign is tinted; the sign itself
    says the same.

    Args:
        columns: names; the first column names its row.
        rows: texts, one a column.
        left: the first so many columns are words, the others numbers.
        wrap: long words may break over lines.
        groups: (name, number of columns) above the column names, adding up to all of them.
        breaks: rows above which a line separates one group of rows from the next.
        caption: below the table.
        lower_is_better: indices of columns whose tints change places.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1
    wrap: bool = False
    groups: Sequence[tuple[str, int]] = ()
    breaks: Sequence[int] = ()
    caption: str = ""
    lower_is_better: Sequence[int] = ()


@dataclass(frozen=True)
class Section:
    """A heading with paragraphs, then tables, pictures, rows of small pictures, a list of terms.

    Args:
        folded: what to press to see all after the paragraphs; empty where all is shown.
    """

    title: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    thumbnails: Sequence[Thumbnails] = ()
    terms: Sequence[tuple[str, str]] = ()
    folded: str = ""


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
        origin: which run this is, in a few words under the title.
        cards: key figures.
        sections: in order.
    """

    title: str
    lead: str
    origin: str = ""
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
