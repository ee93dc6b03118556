"""What can be wrong with a source of images."""

from __future__ import annotations

from ssl_kedro.core.errors import InputError


class ImageSourceError(InputError):
    """Images that cannot be used as configured.

    Args:
        key: the parameter at fault, e.g. "root".
        value: what it was set to.
        found: what was found there.
        expected: what is needed.
        remedy: what to do.
    """

    def __init__(self, key: str, value: object, found: str, expected: str, remedy: str) -> None:
        self.key = key
        self.value = value
        super().__init__(f"data.{key} = {value!r}", found, expected, remedy)


class UnreadableImageError(ValueError):
    """One file that cannot be decoded; its text is the reason."""
