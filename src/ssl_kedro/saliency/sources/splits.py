"""Which panoramas are for training and which for testing, and which scene each shows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ssl_kedro.core.errors import first_few
from ssl_kedro.core.seeding import numpy_generator
from ssl_kedro.saliency.panoramas import Split
from ssl_kedro.saliency.sources.config import SourceConfig
from ssl_kedro.saliency.sources.errors import NAMED, SaliencyDataError


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


def assigned(
    names: Sequence[str], config: SourceConfig, root: Path
) -> dict[str, tuple[str, Split]]:
    """Scene and split of each name: by ``test_names`` where they are given, else ``test_share``.

    Raises:
        SaliencyDataError: a test name of which there is no panorama, one scene only, or as
            :func:`scenes_of`.
    """
    scenes = scenes_of(names, config.scene_pattern, root)
    unknown = sorted(set(config.test_names) - set(names))
    if unknown:
        raise SaliencyDataError(
            root,
            found=f"none of the name {first_few(unknown, NAMED)}",
            expected="names of what is there, such as " + first_few(sorted(set(names))),
            remedy="correct test_names",
        )
    splits: Sequence[Split] = ["test" if name in config.test_names else "train" for name in names]
    if not config.test_names:
        splits = split_scenes(scenes, config.test_share, config.seed, root)
    return dict(zip(names, zip(scenes, splits, strict=True), strict=True))


def split_scenes(scenes: Sequence[str], test_share: float, seed: int, root: Path) -> list[Split]:
    """A split of each panorama that leaves scenes whole.

    Args:
        scenes: of the panoramas.
        test_share: share of the scenes for testing, rounded; at least one scene on each side
            unless it is 0 or 1.
        seed: of the choice, which depends on nothing but it and the names of the scenes.
        root: for messages.

    Raises:
        SaliencyDataError: one scene, which cannot be on both sides.
    """
    unique = sorted(set(scenes))
    if test_share in (0, 1) or not unique:
        return ["test" if test_share else "train" for _ in scenes]
    if len(unique) == 1:
        raise SaliencyDataError(
            root,
            found=f"one scene, {unique[0]}",
            expected=f"at least two, one for training and one for testing (test_share = "
            f"{test_share:g})",
            remedy="set test_share to 0 (all for training) or 1 (all for testing)",
        )
    number = min(max(1, round(test_share * len(unique))), len(unique) - 1)
    order = numpy_generator(seed, "saliency", "split").permutation(len(unique))
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
