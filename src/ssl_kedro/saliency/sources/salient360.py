"""The Salient360! images of LS2N, Nantes (grand challenges of 2017 and 2018).

What is on disk, by the description of the release (Zenodo record 10650505), its tools and the
programs that read it::

    Stimuli/P1_4000x2000.jpg                 or images/, Images/; the number follows the P
    H/SalMaps/Hsalmap_1_2048x1024_32b.bin    head: float32 by rows, isotropic Gaussian
    H/Scanpaths/Hscanpath_1.txt              head: 100 samples of each observer
    HE/SalMaps/HEsalmap_1_2048x1024_32b.bin  head and eyes
    HE/Scanpaths/L/HEscanpath_1.txt          fixations of the left eye; R/ of the right

Both folders may lie in a folder ``Images``. Names of maps of the 2017 release, ``SH1.bin``,
``SHE1.bin`` (also ``SHM``), and grey pictures instead of raw floats are read too; these could not
be checked against the release itself.

Scanpaths have the header ``Idx, longitude, latitude, start timestamp``. Longitude and latitude
are fractions of a turn and a half turn from the left top corner, 0 to 1. ``Idx`` counts the
samples of an observer from 0: where it does not grow, the next observer begins. The k-th
observer of the left and the right eye is taken to be one person, which the release does not say.

The release names no split of its 85 images that could be confirmed (programs cut it at their
own places; thesis 4.4 has 80 and 25), so that lists, ``test_names`` or ``test_share`` decide.
"""

import dataclasses
import re
from pathlib import Path

import numpy as np

from ssl_kedro.images.files import images_below
from ssl_kedro.saliency.panoramas import Fixations
from ssl_kedro.saliency.sources import layouts
from ssl_kedro.saliency.sources.config import FixationColumns, SourceConfig
from ssl_kedro.saliency.sources.errors import SaliencyDataError
from ssl_kedro.saliency.sources.files import FilePanoramas, PanoramaFiles
from ssl_kedro.saliency.sources.fixation_files import check_fixations, read_fixations
from ssl_kedro.saliency.sources.saliency_files import EXTENSIONS as MAPS
from ssl_kedro.saliency.sources.saliency_files import stem

_STIMULI = ("Stimuli", "stimuli", "Images", "images")
_IMAGE = re.compile(r"^P(\d+)(?:_\d+x\d+)?$", re.IGNORECASE)
# The index is no time, but tells like one where the next observer begins.
_COLUMNS = FixationColumns(u="longitude", v="latitude", t_s="Idx")
# By movement: folder, and the names of maps and scanpaths.
_LAYOUTS = {
    "head": ("H", r"^(?:Hsalmap_|SHM?_?)(\d+)$", r"^Hscanpath_(\d+)$"),
    "head_and_eye": ("HE", r"^(?:HEsalmap_|SHE_?)(\d+)$", r"^HEscanpath_(\d+)$"),
}


class Salient360Panoramas(FilePanoramas):
    """The images with maps and fixations of head and eyes, or of the head alone.

    Args:
        config: ``root`` (the folder that holds ``Stimuli`` or ``Images``), ``movement``,
            ``eye`` (fixations of both eyes are scored eye by eye), lists or ``test_names`` (``P1``,
            ...) or ``test_share``, ``limit``, ``seed``.

    Raises:
        SaliencyDataError: no such folders, or images without a map and without a scanpath.
    """

    def __init__(self, config: SourceConfig) -> None:
        root = layouts.existing(config)
        if any((root / "Images" / folder).is_dir() for folder, *_ in _LAYOUTS.values()):
            root /= "Images"
        folder, map_name, scanpath_name = _LAYOUTS[config.movement]
        unwanted = {"left": "R", "right": "L"}.get(config.eye) if folder == "HE" else None
        images = _images(root)
        maps = _numbered(root / folder, MAPS, map_name)
        paths = _numbered(root / folder, frozenset({".txt", ".csv"}), scanpath_name, unwanted)
        second = [path for found in maps.values() for path in found[1:]]
        if second:
            raise SaliencyDataError(
                second[0], "a second map of its image", "one", "move one of them elsewhere"
            )
        labels = [(key, path.name) for kind in (maps, paths) for key in kind for path in kind[key]]
        unpaired = [
            *(path.name for key, path in images.items() if key not in {*maps, *paths}),
            *sorted(name for key, name in labels if key not in images),
        ]
        rule = f"for each image P<number> a map or a scanpath in {folder}/"
        layouts.check_partners(root, unpaired, "number", rule)
        sides = layouts.assigned(list(images), config, root)
        panoramas = [
            PanoramaFiles(key, *sides[key], image, maps.get(key, (None,))[0], paths.get(key, ()))
            for key, image in images.items()
            if key in sides
        ]
        super().__init__(panoramas, root, config)

    def _fixations(self, panorama: PanoramaFiles, path: Path) -> Fixations:  # noqa: ARG002
        return read_scanpaths(path)

    def _check_fixations(self, panorama: PanoramaFiles, path: Path) -> None:  # noqa: ARG002
        check_fixations(path, _COLUMNS)


def read_scanpaths(path: Path) -> Fixations:
    """Fixations of one scanpath file; observers are numbered from 0.

    Raises:
        SaliencyDataError: columns are missing, or a direction is off the sphere.
    """
    gaze = read_fixations(path, _COLUMNS)
    viewer = np.cumsum(np.diff(gaze.t_s, prepend=-np.inf) <= 0)
    return dataclasses.replace(gaze.fixations, viewer=viewer)


def _images(root: Path) -> dict[str, Path]:
    """Panoramas by "P" and number, in the order of their numbers."""
    place = next((root / name for name in _STIMULI if (root / name).is_dir()), None)
    if place is None:
        raise SaliencyDataError(
            root,
            found=f"none of the folders {', '.join(_STIMULI)}",
            expected="the panoramas of the release",
            remedy="set root to the folder that holds Stimuli",
        )
    found: dict[int, Path] = {}
    for file in images_below(place):
        path = place / file
        match = _IMAGE.match(path.stem)
        if match is None or int(match[1]) in found:
            raise SaliencyDataError(
                path,
                found="a name without a number" if match is None else "the number of another",
                expected="P<number>.jpg or P<number>_<width>x<height>.jpg, each number once",
                remedy="move the file elsewhere, or rename it",
            )
        found[int(match[1])] = path
    if not found:
        raise SaliencyDataError(place, "no images", "P1.jpg and so on", "fetch the release again")
    return {f"P{number}": found[number] for number in sorted(found)}


def _numbered(
    folder: Path, extensions: frozenset[str], pattern: str, unwanted: str | None = None
) -> dict[str, tuple[Path, ...]]:
    """Files at any depth whose names match, by "P" and number; not those in an unwanted folder."""
    if not folder.is_dir():
        raise SaliencyDataError(
            folder,
            found="no such folder",
            expected="SalMaps and Scanpaths of this movement",
            remedy="fetch it, or set movement to the one that is there",
        )
    found: dict[str, tuple[Path, ...]] = {}
    for file in layouts.files_below(folder, extensions):
        match = re.match(pattern, stem(folder / file), re.IGNORECASE)
        if match and unwanted not in Path(file).parent.parts:
            key = f"P{int(match[1])}"
            found[key] = (*found.get(key, ()), folder / file)
    return found
