"""A report as somebody reads it."""

from __future__ import annotations

import re
from html import unescape


def text_of(page: str) -> str:
    """The page's words: without tags, figures and style sheet."""
    without = re.sub(r"<(svg|style)\b.*?</\1>", "", page, flags=re.DOTALL)
    return unescape(re.sub(r"<[^>]+>", "", without))
