"""Panoramas in folders, paired with maps and fixations by the stems of their names.

``root/images``, ``root/saliency`` and ``root/fixations`` (other names by parameters; one of the
last two may be missing), or the same three in each of ``root/train``, ``root/test`` and
``root/unlabelled``. A root without maps and fixations is unlabelled; its images may lie in it
directly or in folders below it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import get_args

from ssl_kedro.images.files import images_below
from ssl_kedro.saliency.panoramas import Split
from ssl_kedro.saliency.sources import fixation_files, saliency_files
from ssl_kedro.saliency.sources.config import SourceConfig
from ssl_kedro.saliency.sources.errors import SaliencyDataError, check_partners, named
from ssl_kedro.saliency.sources.files import FilePanoramas, PanoramaFiles
from ssl_kedro.saliency.sources.splits import scenes_of, split_scenes


class FolderPanoramas(FilePanoramas):
    """The panoramas of a folder.

    Args:
        config: ``root``, names of the three folders, ``scene_pattern``, ``test_share``,
            ``columns``, ``limit`` and ``seed``.

    Raises:
        SaliencyDataError: no such folder, no images, two files of one stem, files without a
            partner (all are named), a scene in both splits.
    """

    def __init__(self, config: SourceConfig) -> None:
        root = existing_folder(config)
        parts = [part for part in get_args(Split) if (root / part / config.images).is_dir()]
        if parts:
            panoramas = [each for part in parts for each in _part(root, part, config)]
            _check_sides(root, panoramas)
        else:
            panoramas = _whole(root, config)
        super().__init__(panoramas, root, config)


def existing(config: SourceConfig) -> Path:
    """The configured root, which has to be there.

    Raises:
        SaliencyDataError: it is not.
    """
    root = Path(config.root or "").expanduser()
    if not root.exists():
        raise SaliencyDataError(
            root,
            found=f"nothing there (looked for {root.absolute()})",
            expected=f"the data of source = {config.source}",
            remedy="set root to where the data lie",
        )
    return root


def existing_folder(config: SourceConfig) -> Path:
    """The configured root, which has to be a folder.

    Raises:
        SaliencyDataError: it is not.
    """
    root = existing(config)
    if not root.is_dir():
        raise SaliencyDataError(
            root,
            found="a file",
            expected=f"the folder of source = {config.source}",
            remedy="set root to the folder, or source to manifest where it is one",
        )
    return root


def by_stem(
    folder: Path, files: Iterable[str], stem: Callable[[Path], str] = lambda path: path.stem
) -> dict[str, Path]:
    """Files by their path below a folder without the ending, in order.

    Raises:
        SaliencyDataError: two files of one stem.
    """
    found: dict[str, Path] = {}
    for name in sorted(files):
        key = PurePosixPath(name).with_name(stem(Path(name))).as_posix()
        if key in found:
            raise SaliencyDataError(
                folder / name,
                found=f"the same stem as {found[key].name}",
                expected="one file of each stem",
                remedy="remove or rename one of them",
            )
        found[key] = folder / name
    return found


def files_below(folder: Path, extensions: frozenset[str]) -> list[str]:
    """Files with one of these endings at any depth; hidden ones left out."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return [
        path.as_posix()
        for path in found
        if path.suffix.lower() in extensions
        and not any(part.startswith(".") for part in path.parts)
    ]


def _whole(root: Path, config: SourceConfig) -> list[PanoramaFiles]:
    """A root without parts: labelled as a whole, or not at all."""
    labels = _label_folders(root, config)
    place = root / config.images
    if not labels and not place.is_dir():
        place = root
    images = _images(place, config)
    names = list(images)
    scenes = scenes_of(names, config.scene_pattern, root)
    if not labels:
        return [
            PanoramaFiles(name, scene, "unlabelled", images[name])
            for name, scene in zip(names, scenes, strict=True)
        ]
    splits = split_scenes(scenes, config.test_share, config.seed, root)
    told = dict(zip(names, zip(scenes, splits, strict=True), strict=True))
    return _paired(root, config, images, told)


def _part(root: Path, part: Split, config: SourceConfig) -> list[PanoramaFiles]:
    """One of the folders train, test and unlabelled; names begin with it."""
    place = root / part
    images = _images(place / config.images, config)
    names = list(images)
    scenes = scenes_of(names, config.scene_pattern, place)
    if config.scene_pattern is None:
        scenes = [f"{part}/{name}" for name in names]
    if part == "unlabelled":
        found = [
            PanoramaFiles(name, scene, part, images[name])
            for name, scene in zip(names, scenes, strict=True)
        ]
    else:
        if not _label_folders(place, config):
            raise SaliencyDataError(
                place,
                found=f"neither {config.saliency}/ nor {config.fixations}/",
                expected=f"maps or fixations of the split {part}",
                remedy="add one of the folders, or call this one unlabelled",
            )
        told = {name: (scene, part) for name, scene in zip(names, scenes, strict=True)}
        found = _paired(place, config, images, told)
    return [
        PanoramaFiles(
            f"{part}/{each.name}", each.scene, each.split, each.image, each.saliency, each.fixations
        )
        for each in found
    ]


def _images(place: Path, config: SourceConfig) -> dict[str, Path]:
    if not place.is_dir():
        raise SaliencyDataError(
            place,
            found="no such folder",
            expected="the panoramas",
            remedy=f"make it, or set images (now {config.images}) to the name it has",
        )
    images = by_stem(place, images_below(place))
    if not images:
        raise SaliencyDataError(
            place, "no images", "panoramas", "set root to the folder that holds them"
        )
    return images


def _label_folders(place: Path, config: SourceConfig) -> list[str]:
    return [name for name in (config.saliency, config.fixations) if (place / name).is_dir()]


def _paired(
    place: Path,
    config: SourceConfig,
    images: dict[str, Path],
    told: Mapping[str, tuple[str, Split]],
) -> list[PanoramaFiles]:
    """Images with their maps and fixations; each folder that is there has one for each image."""
    maps = _labels(place / config.saliency, saliency_files.EXTENSIONS, saliency_files.stem)
    gazes = _labels(place / config.fixations, fixation_files.EXTENSIONS)
    unpaired = []
    for folder, labels in ((config.saliency, maps), (config.fixations, gazes)):
        if labels is None:
            continue
        unpaired += [
            f"{config.images}/{path.name} (not in {folder}/)"
            for key, path in images.items()
            if key not in labels
        ]
        unpaired += [
            f"{folder}/{path.name} (not in {config.images}/)"
            for key, path in labels.items()
            if key not in images
        ]
    check_partners(
        place,
        unpaired,
        "stem",
        "for each image a file in each of the other folders, and the reverse, or a manifest",
    )
    return [
        PanoramaFiles(
            key,
            *told[key],
            image,
            maps[key] if maps is not None else None,
            (gazes[key],) if gazes is not None else (),
        )
        for key, image in images.items()
    ]


def _labels(
    folder: Path,
    extensions: frozenset[str],
    stem: Callable[[Path], str] = lambda path: path.stem,
) -> dict[str, Path] | None:
    if not folder.is_dir():
        return None
    return by_stem(folder, files_below(folder, extensions), stem)


def _check_sides(root: Path, panoramas: list[PanoramaFiles]) -> None:
    sides: dict[str, set[str]] = {}
    for each in panoramas:
        if each.split != "unlabelled":
            sides.setdefault(each.scene, set()).add(each.split)
    both = sorted(scene for scene, found in sides.items() if len(found) > 1)
    if both:
        raise SaliencyDataError(
            root,
            found=f"scenes both in train/ and in test/: {named(both)}",
            expected="each scene on one side",
            remedy="move the panoramas of each scene to one of the folders",
        )
