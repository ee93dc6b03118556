"""Panoramas that a table lists.

A CSV file with the columns ``image``, ``saliency``, ``fixations`` and ``split``, and perhaps
``scene`` and ``name``. Paths are relative to the manifest. A line has a map, fixations or both;
one with the split ``unlabelled`` needs neither. Without a scene the image is its own; without a
name it is called by its path without the ending.
"""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from ssl_kedro.saliency.panoramas import Split
from ssl_kedro.saliency.sources.config import SourceConfig
from ssl_kedro.saliency.sources.errors import SaliencyDataError, raise_all
from ssl_kedro.saliency.sources.files import FilePanoramas, PanoramaFiles
from ssl_kedro.saliency.sources.folder import existing
from ssl_kedro.saliency.sources.splits import scenes_of
from ssl_kedro.saliency.sources.tables import Table, read_table, require_columns

_COLUMNS = ("image", "saliency", "fixations", "split")
_OPTIONAL = ("scene", "name")


class ManifestPanoramas(FilePanoramas):
    """The panoramas of a manifest.

    Args:
        config: its ``root`` is the manifest's path (or a folder that holds ``manifest.csv``).

    Raises:
        SaliencyDataError: a fault of the manifest, with file and line.
    """

    def __init__(self, config: SourceConfig) -> None:
        path = existing(config)
        if path.is_dir():
            path = path / "manifest.csv"
        super().__init__(_panoramas(path, config), path, config)


def _panoramas(path: Path, config: SourceConfig) -> list[PanoramaFiles]:
    table = read_table(path)
    require_columns(path, table.names, _COLUMNS)
    unknown = [name for name in table.names if name not in (*_COLUMNS, *_OPTIONAL)]
    if unknown:
        raise SaliencyDataError(
            path,
            found=f"the column {', '.join(unknown)}",
            expected=f"{', '.join(_COLUMNS)}, and perhaps {', '.join(_OPTIONAL)}",
            remedy="rename or remove it",
            line=1,
        )
    names = [_name(row) for row in table.rows]
    scenes = scenes_of(names, config.scene_pattern, path)
    found, errors = [], []
    seen: dict[tuple[str, object], int] = {}
    for name, scene, values, line in zip(names, scenes, table.rows, table.lines, strict=True):
        try:
            panorama = _panorama(table, line, name, scene, values)
            _check_once(table, line, seen, panorama)
            found.append(panorama)
        except SaliencyDataError as error:
            errors.append(error)
    raise_all(path, errors)
    _check_scenes(table, found)
    return found


def _name(values: dict[str, str]) -> str:
    """As it is given, else the image's path without its ending."""
    image = values["image"]
    return values.get("name") or (Path(image).with_suffix("").as_posix() if image else "")


def _panorama(
    table: Table, line: int, name: str, scene: str, values: dict[str, str]
) -> PanoramaFiles:
    split = values["split"]
    if split not in get_args(Split):
        raise SaliencyDataError(
            table.path,
            found=f"split = {split!r}",
            expected=f"one of {', '.join(get_args(Split))}",
            remedy="correct the line",
            line=line,
        )
    if not values["image"]:
        raise SaliencyDataError(
            table.path, "no image", "the path of a panorama", "complete the line", line=line
        )
    if split != "unlabelled" and not (values["saliency"] or values["fixations"]):
        raise SaliencyDataError(
            table.path,
            found=f"neither saliency nor fixations in a line of the split {split}",
            expected="a map, fixations or both",
            remedy="give one of them, or set split to unlabelled",
            line=line,
        )
    saliency, fixations = (
        _file(table, line, column, values[column]) if values[column] else None
        for column in ("saliency", "fixations")
    )
    return PanoramaFiles(
        name,
        values.get("scene") or scene,
        split,  # type: ignore[arg-type]  # it is one of them
        _file(table, line, "image", values["image"]),
        saliency,
        () if fixations is None else (fixations,),
    )


def _file(table: Table, line: int, column: str, text: str) -> Path:
    path = table.path.parent / Path(text).expanduser()
    if not path.is_file():
        raise SaliencyDataError(
            table.path,
            found=f"{column} = {text}, which is not there (looked for {path.absolute()})",
            expected="a file, by its path from the manifest's folder",
            remedy="correct the path",
            line=line,
        )
    return path


def _check_once(
    table: Table, line: int, seen: dict[tuple[str, object], int], panorama: PanoramaFiles
) -> None:
    """Refuse a name or image that an earlier line has."""
    for key in (("name", panorama.name), ("image", panorama.image.resolve())):
        first = seen.setdefault(key, line)
        if first != line:
            raise SaliencyDataError(
                table.path,
                found=f"the {key[0]} {key[1]} of line {first} again",
                expected="each panorama once",
                remedy="remove one of the lines, or give them different names",
                line=line,
            )


def _check_scenes(table: Table, panoramas: list[PanoramaFiles]) -> None:
    """Refuse a scene in two splits, naming the lines."""
    first: dict[str, tuple[str, int]] = {}
    for panorama, line in zip(panoramas, table.lines, strict=True):
        if panorama.split == "unlabelled":
            continue
        split, earlier = first.setdefault(panorama.scene, (panorama.split, line))
        if split != panorama.split:
            raise SaliencyDataError(
                table.path,
                found=f"the scene {panorama.scene} in the split {panorama.split}, but in line "
                f"{earlier} in {split}",
                expected="each scene on one side",
                remedy="give both lines the same split, or different scenes",
                line=line,
            )
