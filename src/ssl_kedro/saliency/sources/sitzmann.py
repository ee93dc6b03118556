"""Saliency in VR: 22 still panoramas of Sitzmann et al. (TVCG 2018).

The release has ``img_files/cubemap_0000.png`` and, for each condition (``vr``, ``seated_vr``,
``browser``), one file of runs for each panorama, ``vr/cubemap_0000.pck`` (also ``.pkl``): a
pickled table of Python 2 whose rows hold arrays for each viewer, among them ``gaze_fixations``,
(samples, 2), fractions of width and height from the left top corner, (0, 0) where there is no
fixation, and one fixation repeated for as long as it lasts.

Such a pickle can run any program when it is loaded, and is refused. Convert it once, in a place
where that would not matter, into one file of the same name for each panorama::

    vr/cubemap_0000.npy   (F, 3): the columns of gaze_fixations, and the viewer's number
    vr/cubemap_0000.csv   the columns u, v, viewer

Repetitions and (0, 0) are left out here, so that the arrays can be stacked as they are.
``fixations`` chooses the condition ("fixations", the default, means ``vr``) and ``images`` the
folder of the panoramas ("images" means ``img_files`` where there is no such folder).

No split is published; programs since have tested on cubemap_0000, cubemap_0006 and
cubemap_0009. Thesis 4.4 has 14 and 11 panoramas, three more than the release. ``test_names`` or
lists can say which.
"""

import dataclasses
from pathlib import Path

import numpy as np

from ssl_kedro.core.errors import first_few
from ssl_kedro.saliency.panoramas import Fixations
from ssl_kedro.saliency.sources import layouts
from ssl_kedro.saliency.sources.config import FixationColumns, SourceConfig
from ssl_kedro.saliency.sources.errors import SaliencyDataError
from ssl_kedro.saliency.sources.files import FilePanoramas, PanoramaFiles
from ssl_kedro.saliency.sources.fixation_files import (
    check_fixations,
    directions_in_image,
    read_fixations,
)
from ssl_kedro.saliency.sources.values import mapped_array

_PICKLES = frozenset({".pck", ".pkl", ".pickle"})
_RUNS = frozenset({".npy", ".csv"})
_COLUMNS = FixationColumns(u="u", v="v", viewer="viewer")


class SitzmannPanoramas(FilePanoramas):
    """The panoramas with the fixations of one condition.

    Args:
        config: ``root``, ``fixations`` (the condition), ``images``, lists, ``test_names``
            or ``test_share``, ``scene_pattern``, ``limit``, ``seed``.

    Raises:
        SaliencyDataError: folders or files that are missing, or pickles.
    """

    def __init__(self, config: SourceConfig) -> None:
        root = layouts.existing(config)
        place = _folder(root, config.images, "img_files")
        condition = _folder(root, "vr" if config.fixations == "fixations" else config.fixations)
        images = layouts.by_stem(place)
        runs = layouts.by_stem(condition, _RUNS)
        pickles = layouts.files_below(condition, _PICKLES)
        unread = [name for name in pickles if Path(name).with_suffix("").as_posix() not in runs]
        if unread:
            raise SaliencyDataError(
                condition,
                found=f"pickles, which can run any program when they are loaded: "
                f"{first_few(unread)}",
                expected="one .npy or .csv of the same name beside each",
                remedy="convert them once where that would not matter: stack gaze_fixations of all "
                "viewers with the viewer's number as third column, and save it with numpy.save",
            )
        unpaired = [
            *(f"{place.name}/{path.name}" for key, path in images.items() if key not in runs),
            *(f"{condition.name}/{path.name}" for key, path in runs.items() if key not in images),
        ]
        expected = f"a file of runs in {condition.name}/ for each panorama in {place.name}/"
        layouts.check_partners(root, unpaired, "stem", expected)
        if not images:
            raise SaliencyDataError(root, "no panoramas", expected, "add or remove these files")
        sides = layouts.assigned(list(images), config, root)
        panoramas = [
            PanoramaFiles(name, *sides[name], image, None, (runs[name],))
            for name, image in images.items()
            if name in sides
        ]
        super().__init__(panoramas, root, dataclasses.replace(config, columns=_COLUMNS))

    def _fixations(self, panorama: PanoramaFiles, path: Path) -> Fixations:  # noqa: ARG002
        if path.suffix.lower() == ".npy":
            found = _from_array(path)
        else:
            found = read_fixations(path, self.columns).fixations
        places = np.stack([found.longitude_deg, found.latitude_deg, found.viewer], axis=1)
        going_on = np.concatenate([[False], (places[1:] == places[:-1]).all(axis=1)])
        # (0, 0) is the left top corner.
        kept = ~going_on & (places[:, :2] != (-180, 90)).any(axis=1)
        if not kept.any():
            raise SaliencyDataError(
                path, "no fixations, only (0, 0)", "fixations", "convert the runs again"
            )
        return found.of(kept)


def _from_array(path: Path) -> Fixations:
    check_fixations(path, _COLUMNS)
    values = mapped_array(path).astype(np.float64)
    wrong = np.flatnonzero(~((values[:, :2] >= 0) & (values[:, :2] <= 1)).all(axis=1))
    if len(wrong):
        row = int(wrong[0])
        raise SaliencyDataError(
            path,
            found=f"{values[row, :2].tolist()} in row {row} of the array",
            expected="fractions of width and height, 0 to 1, as gaze_fixations has them",
            remedy="leave out rows without a fixation, and give no degrees here",
        )
    viewer = values[:, 2] if values.shape[1] == 3 else np.zeros(len(values))
    return Fixations(*directions_in_image(*values[:, :2].T), viewer.astype(np.int64))


def _folder(root: Path, *names: str) -> Path:
    for name in names:
        if (root / name).is_dir():
            return root / name
    raise SaliencyDataError(
        root,
        found=f"no folder {' or '.join(names)}",
        expected="the folders of the release, img_files and vr among them",
        remedy="set root to the folder that holds them",
    )
