"""Small pictures in rows on a page; the pictures stand in the page itself."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from PIL import Image

# Up to so long a side, in px, pictures are kept without loss; of larger ones JPEG is enough.
_EXACT, _QUALITY = 48, 75
# Rows that need no more than so many px stand two to a line on a wide screen.
_HALF = 440
_GAP = 6


def image_uri(pixels: np.ndarray, side: int = 96) -> str:
    """An image as text that stands in a page.

    Args:
        pixels: uint8 (3, H, W).
        side: longer side in px, at most; smaller images stay as they are.
    """
    image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    image.thumbnail((side, side))
    buffer = io.BytesIO()
    if max(image.size) <= _EXACT:
        kind = "png"
        image.save(buffer, kind, optimize=True)
    else:
        kind = "jpeg"
        image.save(buffer, kind, quality=_QUALITY, optimize=True)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


@dataclass(frozen=True)
class Thumbnail:
    """One small picture.

    Args:
        uri: from :func:`image_uri`; empty where there is none.
        words: below it.
        description: for those who cannot see it, and what a pointer shows.
        missing: what stands in its place where there is none.
        framed: whether it is set off from the others, as what these belong to.
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
        words = Markup("<small>{}</small>").format(self.words) if self.words else ""
        item = Markup('<li class="{}" title="{}">{}{}</li>')
        return item.format(kinds, self.description, picture, words)


@dataclass(frozen=True)
class Thumbnails:
    """A row of pictures with words about it; it wraps where the screen ends.

    Args:
        words: what they have in common; may be empty.
        pictures: from left to right.
        side: on a wide screen, in px.
    """

    words: str
    pictures: Sequence[Thumbnail]
    side: int = 46

    def __html__(self) -> Markup:
        """The row."""
        wide = " wide" * (len(self.pictures) * (self.side + _GAP) > _HALF)
        heading = Markup("<p>{}</p>").format(self.words) if self.words else ""
        shown = Markup('<div class="row{}" style="--side: {}px">{}<ul>{}</ul></div>')
        return shown.format(wide, self.side, heading, Markup("").join(self.pictures))
