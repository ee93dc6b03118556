"""A self-contained HTML report: sections of text, pictures and tables in one file."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from jinja2 import Environment, PackageLoader, StrictUndefined

from ssl_kedro.reporting.glossary import ENCODERS, Marker, Term
from ssl_kedro.reporting.pictures import Picture
from ssl_kedro.reporting.thumbnails import Thumbnails


@dataclass(frozen=True)
class Table:
    """Rows of text under column names.

    A difference is tinted where more than chance decides it; its sign says the same.

    Args:
        columns: names; the first column names its row.
        rows: texts, one a column.
        left: the first so many columns are words, the others numbers.
        wrap: long words may break over lines.
        groups: (name, number of columns) above the column names, adding up to all of them.
        breaks: rows above which a line separates one group of rows from the next.
        caption: below the table.
        lower_is_better: indices of columns whose tints change places.
        decided: (row, column) of differences whose interval does not hold 0.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1
    wrap: bool = False
    groups: Sequence[tuple[str, int]] = ()
    breaks: Sequence[int] = ()
    caption: str = ""
    lower_is_better: Sequence[int] = ()
    decided: Collection[tuple[int, int]] = ()


@dataclass(frozen=True)
class Section:
    """A heading with paragraphs, then code, pictures, rows of small images, then tables.

    Args:
        folded: what to press to see the tables; empty where they are shown.
    """

    title: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    thumbnails: Sequence[Thumbnails] = ()
    code: str = ""
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
        lead: what a reader needs first, as (what the sentence is about, sentence).
        origin: which run this is, in a few words under the title.
        cards: key figures.
        sections: in order.
        terms: that the page may use.
    """

    title: str
    lead: Sequence[tuple[str, str]]
    origin: str = ""
    cards: Sequence[Card] = ()
    sections: Sequence[Section] = field(default_factory=tuple)
    terms: Sequence[Term] = ENCODERS


def rendered(report: Report) -> str:
    """The page; text from data is escaped, and nothing is loaded from elsewhere."""
    environment = Environment(
        loader=PackageLoader(__package__ or "ssl_kedro.reporting", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    words = Marker(report.terms)
    return environment.get_template("report.html").render(report=report, words=words)
