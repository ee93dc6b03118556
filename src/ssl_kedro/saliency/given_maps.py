"""Saliency maps that anybody's predictor has left in a folder, one a panorama."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from ssl_kedro.core.errors import first_few
from ssl_kedro.core.progress import progress_bar
from ssl_kedro.saliency.maps import resized
from ssl_kedro.saliency.sources.errors import NAMED, SaliencyDataError, all_of
from ssl_kedro.saliency.sources.layouts import by_stem
from ssl_kedro.saliency.sources.saliency_files import EXTENSIONS, check_saliency, read_saliency


class MapFolder:
    """Maps by the names of panoramas; nothing is decoded until they are read.

    A map's path below the folder, without its ending, is its panorama's name, as
    ``video/00012.png``; the last part of the name is enough where no other panorama has it.

    Args:
        root: the folder, searched to any depth.

    Raises:
        SaliencyDataError: no such folder, or two files of one name.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise SaliencyDataError(
                root, "no such folder", "maps of panoramas", "set folder to where they lie"
            )
        self.root = root
        self.files = by_stem(root, EXTENSIONS)

    def paired(self, tested: Sequence[str], known: Sequence[str]) -> list[Path]:
        """The map of each tested panorama, after a look at the headers of all.

        Args:
            tested: names of the panoramas that are scored; each has a map.
            known: names of all panoramas of the source: maps of others are surplus.

        Raises:
            SaliencyDataError: missing and surplus maps, all named; maps that cannot be used.
        """
        ends = [PurePosixPath(name).name for name in known]
        short = {name: end for name, end in zip(known, ends, strict=True) if ends.count(end) == 1}
        found = {name: self.files.get(name, self.files.get(short.get(name, ""))) for name in known}
        missing = [name for name in tested if found.get(name) is None]
        used = set(found.values())
        surplus = [name for name, path in self.files.items() if path not in used]
        if missing or surplus:
            lacks = f"no map of {first_few(missing, NAMED)}" if missing else ""
            more = f"maps of no panorama: {first_few(surplus, NAMED)}" if surplus else ""
            raise SaliencyDataError(
                self.root,
                found="; ".join(filter(None, (lacks, more))),
                expected=f"a map for each of {len(tested)} tested panoramas, and none of others; "
                f"panoramas are called as {first_few(tested, 3)}",
                remedy="name each map after its panorama, and take the others out",
            )
        paths = [path for name in tested if (path := found[name]) is not None]
        all_of(self.root, (partial(check_saliency, path, any_size=True) for path in paths))
        return paths


def read_maps(paths: Sequence[Path], height: int, label: str) -> np.ndarray:
    """Maps of any sides at one size, float32 (N, height, 2 height), densities up to their scale.

    Args:
        paths: of the files.
        height: rows wanted.
        label: for the progress bar.

    Raises:
        SaliencyDataError: a map that is negative, not finite or 0 everywhere.
        UnreadableImageError: a picture that cannot be decoded.
    """
    found = np.empty((len(paths), height, 2 * height), dtype=np.float32)
    with progress_bar(len(paths), label, "maps") as bar:
        for index, path in enumerate(paths):
            found[index] = resized(read_saliency(path, any_size=True), height, 2 * height)
            bar.update()
    return found
