"""Panoramas that a table lists.

A CSV file with the columns ``image``, ``saliency``, ``fixations`` and ``split``, and perhaps
``scene`` and ``name``. Paths are relative to the manifest. A line has a map, fixations or both;
one with the split ``unlabelled`` needs neither. Without a scene the image is its own; without a
name it is called by its path without the ending.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import get_args

from ssl_kedro.saliency.panoramas import Split
from ssl_kedro.saliency.sources import layouts
from ssl_kedro.saliency.sources.config import SourceConfig
from ssl_kedro.saliency.sources.errors import SaliencyDataError, all_of
from ssl_kedro.saliency.sources.files import FilePanoramas, PanoramaFiles
from ssl_kedro.saliency.sources.values import Table

_COLUMNS = ("image", "saliency", "fixations", "split")
_OPTIONAL = ("scene", "name")
# First line and split of each name, image and scene.
Seen = dict[tuple[str, object], tuple[int, str]]


class ManifestPanoramas(FilePanoramas):
    """The panoramas of a manifest.

    Args:
        config: its ``root`` is the manifest's path (or a folder that holds ``manifest.csv``).

    Raises:
        SaliencyDataError: a fault of the manifest, with file and line.
    """

    def __init__(self, config: SourceConfig) -> None:
        path = layouts.existing(config)
        if path.is_dir():
            path = path / "manifest.csv"
        super().__init__(_panoramas(path, config), path, config)


def _panoramas(path: Path, config: SourceConfig) -> list[PanoramaFiles]:
    table = Table(path)
    table.require(_COLUMNS)
    unknown = [name for name in table.names if name not in (*_COLUMNS, *_OPTIONAL)]
    if unknown:
        raise SaliencyDataError(
            path,
            found=f"the column {', '.join(unknown)}",
            expected=f"{', '.join(_COLUMNS)}, and perhaps {', '.join(_OPTIONAL)}",
            remedy="rename or remove it",
            line=1,
        )
    names = [
        row.get("name") or (Path(row["image"]).with_suffix("").as_posix() if row["image"] else "")
        for _, row in table.rows
    ]
    scenes = layouts.scenes_of(names, config.scene_pattern, path)
    seen: Seen = {}
    rows = zip(names, scenes, table.rows, strict=True)
    return all_of(path, (partial(_panorama, path, seen, name, of, *row) for name, of, row in rows))


def _panorama(
    path: Path, seen: Seen, name: str, scene: str, line: int, values: dict[str, str]
) -> PanoramaFiles:
    """What one line says; ``seen`` are names, images and scenes of the lines before."""
    fault = partial(SaliencyDataError, path, line=line)
    split, known = values["split"], get_args(Split)
    if split not in known:
        raise fault(f"split = {split!r}", f"one of {', '.join(known)}", "correct the line")
    if not values["image"]:
        raise fault("no image", "the path of a panorama", "complete the line")
    if split != "unlabelled" and not (values["saliency"] or values["fixations"]):
        raise fault(
            found=f"neither saliency nor fixations in a line of the split {split}",
            expected="a map, fixations or both",
            remedy="give one of them, or set split to unlabelled",
        )
    files = {
        column: path.parent / Path(values[column]).expanduser()
        for column in ("image", "saliency", "fixations")
        if values[column]
    }
    for column, file in files.items():
        if not file.is_file():
            raise fault(
                found=f"{column} = {values[column]}, which is not there (looked for "
                f"{file.absolute()})",
                expected="a file, by its path from the manifest's folder",
                remedy="correct the path",
            )
    panorama = PanoramaFiles(
        name,
        values.get("scene") or scene,
        split,  # type: ignore[arg-type]  # it is one of them
        files["image"],
        files.get("saliency"),
        (files["fixations"],) if "fixations" in files else (),
    )
    _check_once(fault, line, panorama, seen)
    return panorama


def _check_once(
    fault: Callable[..., SaliencyDataError], line: int, panorama: PanoramaFiles, seen: Seen
) -> None:
    """Refuse a name or image that an earlier line has, and a scene in another split than there."""
    for key in (("name", panorama.name), ("image", panorama.image.resolve())):
        first, _ = seen.setdefault(key, (line, panorama.split))
        if first != line:
            raise fault(
                found=f"the {key[0]} {key[1]} of line {first} again",
                expected="each panorama once",
                remedy="remove one of the lines, or give them different names",
            )
    if panorama.split == "unlabelled":
        return
    earlier, split = seen.setdefault(("scene", panorama.scene), (line, panorama.split))
    if split != panorama.split:
        raise fault(
            found=f"the scene {panorama.scene} in the split {panorama.split}, but in line "
            f"{earlier} in {split}",
            expected="each scene on one side",
            remedy="give both lines the same split, or different scenes",
        )
