"""What can be wrong with a source of images."""

from __future__ import annotations

from collections.abc import Sequence

from ssl_kedro.core.config import ConfigError
from ssl_kedro.core.errors import SettingError


class ImageSourceError(SettingError):
    """Images that cannot be used as configured."""

    section = "data"


class UnreadableImageError(ValueError):
    """One file that cannot be decoded; its text is the reason."""


def check_skipped(
    skipped: Sequence[Sequence[str]], count: int, allowed: float, label: str, parameter: str
) -> None:
    """Refuse to go on once too many images were unreadable.

    Args:
        skipped: name and reason of each unreadable image so far.
        count: all images.
        allowed: share of them that may be unreadable; below 0 = not even none.
        label: of the collection, for the message.
        parameter: that sets the share, for the message.

    Raises:
        ConfigError: naming the first few.
    """
    if len(skipped) <= allowed * count:
        return
    named = "; ".join(f"{name} ({reason})" for name, reason in skipped[:5])
    raise ConfigError(
        "max_skipped",
        allowed,
        f"at most {max(allowed, 0):.2%} of the {count} images of {label} to be unreadable, found "
        f"{len(skipped)} so far: {named}. Repair or remove these files, or raise {parameter} to "
        f"go on without them",
    )
