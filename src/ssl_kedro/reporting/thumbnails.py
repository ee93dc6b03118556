"""Small pictures in rows on a page, as JPEG in the page itself."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape
from PIL import Image

# Of JPEG: enough for pictures so small.
_QUALITY = 75


def jpeg_uri(pixels: np.ndarray, side: int) -> str:
    """An image as text that stands in a page.

    Args:
        pixels: uint8 (3, H, W).
        side: longer side in px, at most; smaller images stay as they are.
    """
    image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    image.thumbnail((side, side))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


@dataclass(frozen=True)
class Thumbnail:
    """One small picture.

    Args:
        uri: from :func:`jpeg_uri`; empty where there is none.
        words: below it.
        description: for those who cannot see it, and what a pointer shows.
        missing: what stands in its place where there is none.
        framed: whether it is set off from the others, as what these were looked for by.
        last: whether a gap follows it.
        mark: what it turned out to be, "correct", "wrong" or "junk": each has its own line around
            it; say so in the words too.
    """

    uri: str
    words: str = ""
    description: str = ""
    missing: str = ""
    framed: bool = False
    last: bool = False
    mark: str = ""

    def __html__(self) -> Markup:
        """One item of a list."""
        picture = Markup('<img src="{}" alt="{}" loading="lazy">').format(
            self.uri, self.description or self.words
        )
        if not self.uri:
            picture = Markup('<span class="missing">{}</span>').format(self.missing)
        last = self.last or self.framed
        kinds = " ".join(filter(None, ["framed" * self.framed, "last" * last, self.mark]))
        return Markup('<li class="{}" title="{}">{}<small>{}</small></li>').format(
            kinds, self.description, picture, self.words
        )


@dataclass(frozen=True)
class Thumbnails:
    """A row of pictures under a line of words; it wraps where the screen ends.

    Args:
        words: above it; may be empty.
        pictures: from left to right.
        side: on the page, in px.
    """

    words: str
    pictures: Sequence[Thumbnail]
    side: int = 64

    def __html__(self) -> Markup:
        """The row."""
        items = Markup("").join(self.pictures)
        heading = Markup('<p class="of-row">{}</p>').format(self.words) if self.words else ""
        shown = Markup('{}<ul class="thumbs" style="--side: {}px">{}</ul>')
        return shown.format(escape(heading), self.side, items)
