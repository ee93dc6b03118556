"""What layouts of data sets share: files by their names, pairs, scenes and splits."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from ssl_kedro.core.errors import first_few
from ssl_kedro.core.seeding import numpy_generator
from ssl_kedro.images.files import EXTENSIONS
from ssl_kedro.saliency.panoramas import Split
from ssl_kedro.saliency.sources.config import SourceConfig
from ssl_kedro.saliency.sources.errors import NAMED, SaliencyDataError
from ssl_kedro.saliency.sources.saliency_files import stem


def existing(config: SourceConfig) -> Path:
    """The configured root, which has to be there, and a folder where it is no manifest.

    Raises:
        SaliencyDataError: it is not.
    """
    root = Path(config.root or "").expanduser()
    if not root.exists():
        raise SaliencyDataError(
            root,
            found=f"nothing there (looked for {root.absolute()})",
            expected=f"the data of source = {config.source}",
            remedy="set root to where the data lie: data.root of a run, root of an entry of others",
        )
    if config.source != "manifest" and not root.is_dir():
        raise SaliencyDataError(
            root,
            found="a file",
            expected=f"the folder of source = {config.source}",
            remedy="set root to the folder, or source to manifest where it is one",
        )
    return root


def by_stem(folder: Path, extensions: frozenset[str] = EXTENSIONS) -> dict[str, Path]:
    """Files by their path below a folder, without the ending and what belongs to it.

    Args:
        folder: searched to any depth.
        extensions: of the files; those of images by default.

    Raises:
        SaliencyDataError: two files of one stem.
    """
    found: dict[str, Path] = {}
    for name in files_below(folder, extensions):
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
    """Files with one of these endings at any depth, sorted; hidden ones left out."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(
        path.as_posix()
        for path in found
        if path.suffix.lower() in extensions
        and not any(part.startswith((".", "__MACOSX")) for part in path.parts)
    )


def check_partners(root: Path, unpaired: Sequence[str], key: str, expected: str) -> None:
    """Raise where files are without a partner.

    Args:
        root: folder they lie in.
        unpaired: their names.
        key: what partners have in common, "stem".
        expected: which files belong together.
    """
    if unpaired:
        names = first_few(unpaired, NAMED)
        raise SaliencyDataError(
            root,
            found=f"{len(unpaired)} files without a partner of the same {key}: {names}",
            expected=expected,
            remedy="add, rename or remove these files",
        )


def scenes_of(names: Sequence[str], pattern: str | None, root: Path) -> list[str]:
    """The scene of each name: what the pattern's group matches, or the name itself.

    Raises:
        SaliencyDataError: names that the pattern does not match.
    """
    if pattern is None:
        return list(names)
    scenes = [match and match[1] for match in (re.search(pattern, name) for name in names)]
    without = [name for name, scene in zip(names, scenes, strict=True) if scene is None]
    if without:
        raise SaliencyDataError(
            root,
            found=f"names without a scene: {first_few(without, NAMED)}",
            expected=f"names that scene_pattern = {pattern!r} matches",
            remedy="change the pattern so that its group matches in every name",
        )
    return [str(scene) for scene in scenes]


def named_split(names: Sequence[str], config: SourceConfig, root: Path) -> dict[str, Split] | None:
    """Split of the names that ``test_names`` or lists give one; None where nothing names any.

    Raises:
        SaliencyDataError: a list without names, a name of which there is no panorama, or one on
            both sides.
    """
    lists = {key: getattr(config, key) for key in ("train_list", "test_list")}
    given = {key: _listed(root / file) for key, file in lists.items() if file is not None}
    if config.test_names:
        given["test_names"] = set(config.test_names)
    if not given:
        return None
    for key, chosen in given.items():
        if unknown := sorted(chosen - set(names)):
            raise SaliencyDataError(
                root,
                found=f"none of the name {first_few(unknown, NAMED)}",
                expected="names of what is there, such as " + first_few(sorted(set(names))),
                remedy=f"correct {key}",
            )
    train = given.pop("train_list", None)
    test = next(iter(given.values()), None)
    if both := sorted((train or set()) & (test or set())):
        raise SaliencyDataError(
            root,
            found=f"in both lists: {first_few(both, NAMED)}",
            expected="each name in one",
            remedy="correct train_list or test_list",
        )
    train = set(names) - (test or set()) if train is None else train
    test = set(names) - train if test is None else test
    return {n: "test" if n in test else "train" for n in names if n in test or n in train}


def _listed(path: Path) -> set[str]:
    """Names of a list, one a line."""
    if not path.is_file():
        raise SaliencyDataError(
            path, "no such file", "a list of names", "correct its path, which counts from root"
        )
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    names = {name for line in lines if (name := line.partition("#")[0].strip())}
    if not names:
        raise SaliencyDataError(path, "no names", "a name a line", "fill the list")
    return names


def kept_unlabelled(names: Sequence[str], config: SourceConfig, root: Path) -> list[str]:
    """Names without labels that lists do not hold out of the pre-training.

    Raises:
        SaliencyDataError: as for :func:`named_split`.
    """
    sides = named_split(names, config, root)
    return [name for name in names if sides is None or sides.get(name) == "train"]


def assigned(
    names: Sequence[str], config: SourceConfig, root: Path
) -> dict[str, tuple[str, Split]]:
    """Scene and split of each name that has one: by names or lists, else by ``test_share``.

    Raises:
        SaliencyDataError: as for :func:`named_split`, one scene only, or as :func:`scenes_of`.
    """
    scenes = dict(zip(names, scenes_of(names, config.scene_pattern, root), strict=True))
    splits = named_split(names, config, root)
    if splits is None:
        drawn = split_scenes(list(scenes.values()), config, root)
        splits = dict(zip(names, drawn, strict=True))
    return {name: (scenes[name], split) for name, split in splits.items()}


def split_scenes(scenes: Sequence[str], config: SourceConfig, root: Path) -> list[Split]:
    """A split of each panorama that leaves scenes whole.

    Args:
        scenes: of the panoramas.
        config: ``test_share`` of the scenes, rounded, are for testing; at least one scene on each
            side unless it is 0 or 1. The choice depends on ``seed`` and the scenes' names alone.
        root: for messages.

    Raises:
        SaliencyDataError: one scene, which cannot be on both sides.
    """
    unique, share = sorted(set(scenes)), config.test_share
    if share in (0, 1) or not unique:
        return ["test" if share else "train" for _ in scenes]
    if len(unique) == 1:
        raise SaliencyDataError(
            root,
            found=f"one scene, {unique[0]}",
            expected=f"at least two, one for training and one for testing (test_share = {share:g})",
            remedy="set test_share to 0 (all for training) or 1 (all for testing)",
        )
    number = min(max(1, round(share * len(unique))), len(unique) - 1)
    order = numpy_generator(config.seed, "saliency", "split").permutation(len(unique))
    test = {unique[index] for index in order[:number]}
    return ["test" if scene in test else "train" for scene in scenes]


def chosen(splits: Sequence[Split], limit: int | None, seed: int) -> list[int]:
    """Indices that a limit leaves of each split, ascending."""
    if limit is None:
        return list(range(len(splits)))
    kept: list[int] = []
    for split in ("train", "test", "unlabelled"):
        members = np.array([index for index, each in enumerate(splits) if each == split], int)
        order = numpy_generator(seed, "saliency", "limit", split).permutation(len(members))
        kept += members[order[:limit]].tolist()
    return sorted(kept)
