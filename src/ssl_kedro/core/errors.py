"""Errors that whoever runs the program can mend: what was found, what was expected, what to do."""

import difflib
import re
from collections.abc import Collection, Iterable
from typing import ClassVar

# Bytes that are no UTF-8, as Python decodes names of files.
_NO_TEXT = re.compile("[\udc80-\udcff]")


class UserError(Exception):
    """An error whose text tells its reader how to mend it; ``kedro run`` prints nothing else.

    Each room derives its own kinds from this class and from the built-in one that callers of
    the Python API would catch (``ValueError``, ``RuntimeError``).
    """

    def __str__(self) -> str:
        return shown(super().__str__())


class InputError(UserError, ValueError):
    """Something that was given and cannot be used.

    Cause: the kinds below say what it was: a parameter, a file, a folder or an address.
    Remedy: the message ends with what to do.

    Args:
        where: the parameter, file or folder at fault.
        found: what was found there.
        expected: what is needed.
        remedy: what to do, as the end of the sentence "To solve it, ...".
    """

    def __init__(self, where: object, found: str, expected: str, remedy: str) -> None:
        self.found = found
        self.expected = expected
        self.remedy = remedy
        super().__init__(f"{where}: found {found}; expected {expected}. To solve it, {remedy}.")


class SettingError(InputError):
    """A parameter whose value cannot be used; kinds say in which section of a run's it stands.

    Cause: the value is allowed, but what it names is missing or does not fit.
    Remedy: the message names the key, such as ``data.root``, and what is expected there.

    Args:
        key: the parameter at fault, e.g. "root".
        value: what it was set to.
        found: what was found there.
        expected: what is needed.
        remedy: what to do.
    """

    section: ClassVar[str]

    def __init__(self, key: str, value: object, found: str, expected: str, remedy: str) -> None:
        self._key = f"{self.section}.{key}"
        super().__init__(f"{self._key} = {value!r}", found, expected, remedy)

    def stand_in(self, section: str) -> None:
        """Name another section than that of the kind, for values that stand in several."""
        alone = rf"(?<![\w./]){re.escape(self.section)}\.(?=[a-z])"
        self.args = (re.sub(alone, f"{section}.", self.args[0]),)
        self._key = f"{section}.{self._key.removeprefix(f'{self.section}.')}"

    def stand_under(self, pipeline: str) -> None:
        """Complete the key by the pipeline whose parameter it is, wherever the message names it."""
        alone = rf"(?<![\w./]){re.escape(self._key)}\b"
        self.args = (re.sub(alone, f"{pipeline}.{self._key}", self.args[0]),)


def nearest(found: str, known: Collection[str]) -> str:
    """What somebody may have meant by a name that there is not: "did you mean 'lr'? known: ..."."""
    inside = [name for name in known if name.endswith(f".{found}")]
    close = inside or difflib.get_close_matches(found, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}known: {first_few(known, 24) or 'none'}"


def shown(name: str) -> str:
    r"""A name or text as every file and stream takes it: bytes that are no UTF-8 as ``\xff``.

    Names of files are bytes; Python keeps those that are no text as surrogates, which open the
    file but cannot be written to a report.
    """
    escaped = _NO_TEXT.sub(lambda byte: f"\\x{ord(byte[0]) - 0xDC00:02x}", name)
    return escaped.encode("utf-8", "backslashreplace").decode()


def first_few(names: Iterable[object], most: int = 5, separator: str = ", ") -> str:
    """The first names of a list that may be long, for messages: "a, b and 7 more"."""
    known = [shown(str(name)) for name in names]
    more = f" and {len(known) - most} more" if len(known) > most else ""
    return separator.join(known[:most]) + more


def first_line(error: BaseException) -> str:
    """What an error says, in one line; its kind where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
