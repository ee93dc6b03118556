"""Panoramas in folders, paired with maps and fixations by the stems of their names.

``root/images``, ``root/saliency`` and ``root/fixations`` (other names by parameters; one of the
last two may be missing), or the same three in each of ``root/train``, ``root/test`` and
``root/unlabelled``. A root without maps and fixations is unlabelled; its images may lie in it
directly or in folders below it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from ssl_kedro.core.errors import first_few
from ssl_kedro.saliency.panoramas import Split
from ssl_kedro.saliency.sources import fixation_files, layouts, saliency_files
from ssl_kedro.saliency.sources.config import SourceConfig
from ssl_kedro.saliency.sources.errors import NAMED, SaliencyDataError
from ssl_kedro.saliency.sources.files import FilePanoramas, PanoramaFiles

# Parameters that name folders of labels, and endings of the files there.
_LABELS = {"saliency": saliency_files.EXTENSIONS, "fixations": fixation_files.EXTENSIONS}


class FolderPanoramas(FilePanoramas):
    """The panoramas of a folder.

    Args:
        config: ``root``, names of the three folders, ``scene_pattern``, lists or
            ``test_names`` or ``test_share``, ``columns``, ``limit`` and ``seed``.

    Raises:
        SaliencyDataError: no such folder, no images, two files of one stem, files without a
            partner (all are named), a scene in both splits.
    """

    def __init__(self, config: SourceConfig) -> None:
        root = layouts.existing(config)
        parts = [part for part in get_args(Split) if (root / part / config.images).is_dir()]
        lists = config.train_list or config.test_list or ", ".join(config.test_names)
        if parts and lists:
            raise SaliencyDataError(
                root,
                found=f"the folder {parts[0]}, and a list of names, {lists}",
                expected="one of them, which says what is for testing",
                remedy="leave out train_list, test_list and test_names",
            )
        panoramas = [each for part in parts or [None] for each in _listed(root, part, config)]
        train, test = (
            {each.scene for each in panoramas if each.split == split} for split in ("train", "test")
        )
        if train & test:
            both = first_few(sorted(train & test), NAMED)
            raise SaliencyDataError(
                root,
                found=f"scenes both in train/ and in test/: {both}",
                expected="each scene on one side",
                remedy="move the panoramas of each scene to one of the folders",
            )
        super().__init__(panoramas, root, config)


def _listed(root: Path, part: Split | None, config: SourceConfig) -> list[PanoramaFiles]:
    """What lies in one of the folders train, test and unlabelled, or in a root without them."""
    prefix = "" if part is None else f"{part}/"
    place = root / prefix
    kinds = [kind for kind in _LABELS if (place / getattr(config, kind)).is_dir()]
    if part in ("train", "test") and not kinds:
        raise SaliencyDataError(
            place,
            found=f"neither {config.saliency}/ nor {config.fixations}/",
            expected=f"maps or fixations of the split {part}",
            remedy="add one of the folders, or call this one unlabelled",
        )
    if part == "unlabelled":
        kinds = []
    loose = part is None and not kinds and not (place / config.images).is_dir()
    images = _images(place if loose else place / config.images, config)
    labels = _labels(place, kinds, images, config)
    if part is None and kinds:
        sides = layouts.assigned(list(images), config, root)
    else:
        names = list(images) if part else layouts.kept_unlabelled(list(images), config, root)
        scenes = layouts.scenes_of(names, config.scene_pattern, place)
        split: Split = part or "unlabelled"
        sides = {name: (scene, split) for name, scene in zip(names, scenes, strict=True)}
    return [
        PanoramaFiles(
            prefix + name,
            scene if config.scene_pattern else prefix + scene,
            side,
            images[name],
            labels["saliency"][name] if "saliency" in labels else None,
            (labels["fixations"][name],) if "fixations" in labels else (),
        )
        for name, (scene, side) in sides.items()
    ]


def _images(place: Path, config: SourceConfig) -> dict[str, Path]:
    if not place.is_dir():
        raise SaliencyDataError(
            place,
            found="no such folder",
            expected="the panoramas",
            remedy=f"make it, or set images (now {config.images}) to the name it has",
        )
    images = layouts.by_stem(place)
    if not images:
        raise SaliencyDataError(
            place, "no images", "panoramas", "set root to the folder that holds them"
        )
    return images


def _labels(
    place: Path, kinds: Sequence[str], images: dict[str, Path], config: SourceConfig
) -> dict[str, dict[str, Path]]:
    """Maps and fixations by kind and stem, one for each image."""
    labels, unpaired = {}, []
    for kind in kinds:
        folder = getattr(config, kind)
        found = layouts.by_stem(place / folder, _LABELS[kind])
        labels[kind] = found
        pairs = ((images, config.images, found, folder), (found, folder, images, config.images))
        unpaired += [
            f"{here}/{path.name} (not in {there}/)"
            for files, here, others, there in pairs
            for key, path in files.items()
            if key not in others
        ]
    rule = "for each image a file in each of the other folders, and the reverse, or a manifest"
    layouts.check_partners(place, unpaired, "stem", rule)
    return labels
