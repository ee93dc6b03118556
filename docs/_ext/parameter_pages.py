"""Reference pages of parameters: limits and words from the classes, values from conf/base."""

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import yaml

from ssl_kedro.core.config import Range
from ssl_kedro.core.plugins import classes
from ssl_kedro.encoders.base import Backbone, EncoderShape
from ssl_kedro.encoders.factory import DEFAULT
from ssl_kedro.pipelines.entrance import entrances

_BASE = Path(__file__).parents[2] / "conf/base"
_BOUNDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
_WORDS = {
    bool: "true, false",
    int: "whole number",
    float: "number",
    str: "text",
    type(None): "null",
}


class Row(NamedTuple):
    """One parameter of the reference.

    Args:
        path: its key below the pipeline's; ``<name>`` stands for any.
        value: in the base environment, as YAML.
        allowed: kind, choices and limits.
        about: its words in the class, then those beside it in the file: unit and source.
    """

    path: str
    value: str
    allowed: str
    about: str


def parameter_pages() -> dict[str, str]:
    """File name -> Markdown, one page a pipeline."""
    return {f"parameters/{name}.md": _page(name) for name in sorted(entrances())}


def parameter_rows(pipeline: str) -> list[Row]:
    """All parameters of a pipeline, in the order of their classes."""
    text = (_BASE / f"parameters_{pipeline}.yml").read_text("utf-8")
    entrance = entrances()[pipeline]
    model = entrance._model
    return list(_rows(model, yaml.safe_load(text)[pipeline], yaml_comments(text), (pipeline,)))


def _page(pipeline: str) -> str:
    comments = yaml_comments((_BASE / f"parameters_{pipeline}.yml").read_text("utf-8"))
    lines = [
        f"# {pipeline} parameters",
        "",
        f"Set any of them with `--params {pipeline}.KEY=VALUE`, or in a file below `conf/`. "
        "Beside each stands its value in the base environment; `null` leaves the choice to the "
        "run. A value that is not allowed ends the run before it starts.",
    ]
    section: str | None = None
    for row in parameter_rows(pipeline):
        head = row.path.partition(".")[0] if "." in row.path else ""
        if head != section:
            section = head
            title = f"`{head}`" if head else "The run"
            lines += ["", f"## {title}", "", comments.get((pipeline, head), "")]
        lines += ["", f"`{row.path}`" + (f" = `{row.value}`" if row.value else "")]
        lines += [f": {part}\n" for part in (row.about, f"*Allowed:* {row.allowed}.") if part]
    return "\n".join([*lines, ""])


def _rows(
    kind: Any, values: Any, comments: Mapping[Any, str], path: tuple[str, ...]
) -> Iterator[Row]:
    nested = []
    if kind is EncoderShape:
        yield from _of_encoders(values, comments, path)
        return
    for name, annotation, default in _fields(kind):
        here = (*path, name)
        set_here = isinstance(values, Mapping) and name in values
        value = values[name] if set_here else default
        inner, below = _inside(annotation)
        if inner is not None:
            nested.append((inner, value, (*here, *below)))
        # A text may stand in place of what has fields; that of encoders is told with them.
        alone = str in _members(annotation) and "." not in name
        if inner is None or below or alone:
            about = _joined(_argument(kind, name), comments.get(here, ""))
            yield Row(".".join(here[1:]), _shown(value), allowed(annotation), about)
    for inner, value, below in nested:
        yield from _rows(inner, value, comments, below)


def _of_encoders(
    values: Mapping[str, Any], comments: Mapping[Any, str], path: tuple[str, ...]
) -> Iterator[Row]:
    """What every backbone has, then the fields of each shape that those before do not have."""
    found = [kind.config_type for kind in classes("ssl_kedro.encoders", Backbone)]
    names = {kind.architecture: kind for kind in [DEFAULT.config_type, *found]}
    for key, kinds in (
        ("architecture", ", ".join(f"`{name}`" for name in names)),
        ("init", "null, a path, a name of the catalog, or kind and file"),
    ):
        about = _joined("", comments[(*path, key)])
        yield Row(".".join((*path[1:], key)), _shown(values[key]), kinds, about)
    seen: set[str] = set()
    for kind in dict.fromkeys(names.values()):
        for row in _rows(kind, values, comments, path):
            if row.path not in seen:
                seen.add(row.path)
                yield row


def _fields(kind: Any) -> Iterator[tuple[str, Any, Any]]:
    """Name, annotation and default of each field of a model or configuration."""
    hints = typing.get_type_hints(kind, include_extras=True)
    if dataclasses.is_dataclass(kind):
        for field in dataclasses.fields(kind):
            yield field.name, hints[field.name], field.default
    else:
        for name, field in kind.model_fields.items():
            yield field.alias or name, hints[name], field.default


def _inside(annotation: Any) -> tuple[Any, tuple[str, ...]]:
    """The class whose fields stand below a parameter, and the name between where any may."""
    for one in _members(annotation):
        if typing.get_origin(one) is dict:
            inner, _ = _inside(typing.get_args(one)[1])
            return inner, ("<name>",) if inner else ()
        if dataclasses.is_dataclass(one) or hasattr(one, "model_fields"):
            return one, ()
    return None, ()


def _members(annotation: Any) -> list[Any]:
    """A type without what it is annotated with; those of a union one by one."""
    inner = typing.get_args(annotation)
    if typing.get_origin(annotation) is Annotated:
        return _members(inner[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [one for member in inner for one in _members(member)]
    return [annotation]


def allowed(annotation: Any) -> str:
    """Kind, choices and limits of a parameter in words."""
    inner = typing.get_args(annotation)
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        limits = [words for one in inner[1:] if (words := _limits(one))]
        return ", ".join(dict.fromkeys([allowed(inner[0]), *limits]))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(filter(None, dict.fromkeys(allowed(member) for member in inner)))
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in inner)
    if origin is tuple:
        return f"a list: {allowed(inner[0])}"
    return _WORDS.get(annotation, "by name" if origin is dict else "")


def _limits(found: Any) -> str:
    if isinstance(found, Range):
        return str(found).removeprefix("a number ")
    metadata = getattr(found, "metadata", [found])
    bounds = [
        f"{word} {_number(getattr(one, sign))}"
        for one in metadata
        for sign, word in _BOUNDS.items()
        if isinstance(getattr(one, sign, None), int | float)
    ]
    return " and ".join(bounds)


def _number(value: float) -> str:
    return f"{value:,}" if abs(value) >= 1e6 else f"{value:g}"


def _argument(kind: Any, name: str) -> str:
    """What a class or one above it says of a field under ``Args:``."""
    for one in inspect.getmro(kind):
        text = inspect.cleandoc(one.__doc__ or "")
        found = re.search(
            rf"^ {{4}}(?:\w+, )*{name}(?:, \w+)*: (.*(?:\n {{8,}}.*)*)", text, re.MULTILINE
        )
        if found:
            return _markdown(" ".join(found[1].split()))
    return ""


def _markdown(text: str) -> str:
    """Words of a docstring: roles and literals become code, and nothing else is a sign."""
    text = re.sub(r":\w+:`[~.]?([^`]*)`", r"``\1``", text).replace("``", "`")
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        part if part[:1] == "`" else re.sub(r"([*_<\[])", r"\\\1", part) for part in parts
    )


def _joined(docstring: str, comment: str) -> str:
    """Both as sentences, and once what they say alike."""
    if comment.lower().rstrip(".") in docstring.lower():
        comment = ""
    found = [text[0].upper() + text[1:].rstrip(".") + "." for text in (docstring, comment) if text]
    return " ".join(found)


def _shown(value: Any) -> str:
    if value is dataclasses.MISSING or type(value).__name__ == "PydanticUndefinedType":
        return ""
    if dataclasses.is_dataclass(value) or hasattr(value, "model_fields"):
        return ""
    if isinstance(value, Mapping) and len(str(value)) > 60:
        return ""  # its entries are rows of their own, or in the file
    plain = list(value) if isinstance(value, tuple) else value
    return yaml.safe_dump(plain, default_flow_style=True, width=1000).removesuffix("...\n").strip()


def yaml_comments(text: str) -> dict[tuple[str, ...], str]:
    """What stands beside and above each key of a YAML file: its unit and source.

    Returns:
        Keys from the outside in -> words. Lines below that begin no further left go on with them.
    """
    lines = text.splitlines()
    return dict(_comments(yaml.compose(text), lines, ()))


def _comments(
    node: Any, lines: list[str], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], str]]:
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        here = (*path, key.value)
        row = key.start_mark.line
        within = value.start_mark.line == row and value.end_mark.line == row
        beside = lines[row].find("#", value.end_mark.column if within else key.end_mark.column)
        words = [*_above(lines, row, key.start_mark.column)]
        if beside >= 0:
            words.append(lines[row][beside:].lstrip("# "))
            words += _below(lines, row, beside)
        if words:
            yield here, _markdown(" ".join(words))
        yield from _comments(value, lines, here)


def _above(lines: list[str], row: int, column: int) -> list[str]:
    found: list[str] = []
    while row and lines[row - 1].startswith(" " * column + "#"):
        row -= 1
        found.insert(0, lines[row].lstrip("# "))
    return found


def _below(lines: list[str], row: int, column: int) -> list[str]:
    found = []
    for line in lines[row + 1 :]:
        if not line.lstrip().startswith("#") or line.find("#") < column:
            break
        found.append(line.lstrip("# "))
    return found
