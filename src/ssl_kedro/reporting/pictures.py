"""Figures of a page, whose marks say what they are."""

import base64
import io
import re
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.figure import Figure

_TIP = "tip "


def tip(artist: Artist, text: str) -> None:
    """What a page says of a mark of a figure where somebody points at it."""
    artist.set_gid(_TIP + text)


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
        return min(round(0.62 * self.width_px), 800)

    def markup(self, number: int) -> Markup:
        """The picture as it stands in the page; its number keeps its ids apart from others'."""
        buffer = io.BytesIO()
        # Without a salt the ids inside an SVG are random, and without this the date is in it:
        # the same results should give the same page.
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        metadata = nothing if self.format == "svg" else {}
        with rc_context({"svg.hashsalt": "ssl_kedro"}):
            self.figure.savefig(buffer, format=self.format, dpi=130, metadata=metadata)
        style = f"--width: {self.width_px}px; --least: {self.least_width_px}px"
        if self.format == "png":
            source = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
            image = '<img style="{}" src="{}" alt="{}">'
            return Markup(image).format(style, source, self.description)
        text = buffer.getvalue().decode()
        text = text[text.index("<svg") :]
        text = re.sub(rf'<g id="{_TIP}([^"]*)">', r'<g class="tip"><title>\1</title>', text)
        text = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>p{number}-", text)
        drawn = Markup('<svg role="img" aria-label="{}" style="{}" ').format(
            self.description, style
        )
        return drawn + Markup(re.sub(r' width="[^"]*"| height="[^"]*"', "", text[5:], count=2))
