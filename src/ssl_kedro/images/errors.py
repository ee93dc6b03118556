"""What can be wrong with a source of images."""

from __future__ import annotations

from ssl_kedro.core.errors import SettingError


class ImageSourceError(SettingError):
    """Images that cannot be used as configured."""

    section = "data"


class UnreadableImageError(ValueError):
    """One file that cannot be decoded; its text is the reason."""
