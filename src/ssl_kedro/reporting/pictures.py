"""Pictures of a page: figures whose marks say what they are, and rows of small images."""

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from PIL import Image

_TIP = "tip "
# Longest side of a small image in px, and up to which one is kept without loss.
_LARGEST, _EXACT = 96, 48


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
        style = f"max-width: {self.width_px}px; min-width: {self.least_width_px}px"
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


@dataclass(frozen=True)
class Strip:
    """A row of small images.

    Args:
        words: what they have in common.
        images: uint8 (3, H, W) each.
        captions: a word under each; none where there are none.
    """

    words: str
    images: Sequence[np.ndarray]
    captions: Sequence[str] = ()

    @property
    def shown(self) -> list[tuple[str, str]]:
        """Source and caption of each image."""
        captions = self.captions or [""] * len(self.images)
        return list(zip(map(small_image, self.images), captions, strict=True))


def small_image(image: np.ndarray) -> str:
    """An image (3, H, W) as text that stands in the page itself, shrunk where it is large."""
    made = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
    made.thumbnail((_LARGEST, _LARGEST))
    exact = max(made.size) <= _EXACT
    buffer = io.BytesIO()
    made.save(
        buffer, "PNG" if exact else "JPEG", **({"optimize": True} if exact else {"quality": 80})
    )
    kind = "png" if exact else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
