"""Choosing images by class: limited subsets and held-out parts."""

import numpy as np

from ssl_kedro.core.seeding import numpy_generator
from ssl_kedro.images.load import DataConfig


def balanced_subset(labels: np.ndarray, limit: int, generator: np.random.Generator) -> np.ndarray:
    """Random subset whose classes are as equal in number as they can be.

    Every class gives the same number of images, or all it has where that is fewer. What is
    left over (fewer than one for each class that has more) goes to classes at random.

    Args:
        labels: int (N,).
        limit: images wanted.
        generator: of the choice.

    Returns:
        min(limit, N) indices, ascending.
    """
    classes, available = np.unique(labels, return_counts=True)
    quota = np.zeros_like(available)
    left = min(limit, len(labels))
    while left > 0:
        open_classes = np.flatnonzero(quota < available)
        share = left // len(open_classes)
        if share == 0:
            open_classes = generator.permutation(open_classes)[:left]
            share = 1
        given = np.minimum(share, available[open_classes] - quota[open_classes])
        quota[open_classes] += given
        left -= int(given.sum())
    chosen = [
        generator.permutation(np.flatnonzero(labels == name))[:number]
        for name, number in zip(classes, quota, strict=True)
    ]
    return np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, dtype=np.int64)


def balanced_order(labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """All indices in a random order of which every beginning is balanced over the classes.

    The first n are a :func:`balanced_subset` of n, and lie within the first m > n.

    Args:
        labels: int (N,).
        generator: of the order.
    """
    turn = np.empty(len(labels), dtype=np.int64)
    for name in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == name))
        turn[members] = np.arange(len(members))
    return np.lexsort((generator.permutation(len(labels)), turn))


def label_count(share: float, images: int, classes: int = 0) -> int:
    """How many labels a share of them is: one for each of so many classes at least."""
    return max(round(share * images), classes)


def labelled_subset(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Which images keep their labels: as many of each class, and smaller shares inside larger.

    Args:
        labels: int (N,).
        share: of them.
        seed: of the choice.

    Returns:
        Indices, ascending; one of each class at least.
    """
    count = label_count(share, len(labels), len(np.unique(labels)))
    return np.sort(balanced_order(labels, numpy_generator(seed, "few labels"))[:count])


def held_out(
    labels: np.ndarray, fraction: float, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Stratified random split.

    Args:
        labels: int (N,); every class at least twice.
        fraction: share of each class that is held out, rounded, at least one image and at
            most all but one.
        generator: of the choice.

    Returns:
        Indices kept and indices held out, each ascending.
    """
    out = []
    for name in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == name))
        number = min(max(1, round(fraction * len(members))), len(members) - 1)
        out.append(members[:number])
    held = np.sort(np.concatenate(out))
    return np.setdiff1d(np.arange(len(labels)), held), held


def limited(
    labels: np.ndarray | None, count: int, config: DataConfig, training: bool, seed: int
) -> np.ndarray:
    """Indices that ``limit`` or ``eval_limit`` leaves, ascending.

    Args:
        labels: int (N,), or None where unlabelled.
        count: N.
        config: of the source.
        training: which limit applies.
        seed: the run's seed.

    Raises:
        ImageSourceError: the limit is smaller than the number of classes.
    """
    key, limit = config.limit_of(training)
    if limit is None or limit >= count:
        return np.arange(count)
    generator = numpy_generator(seed, "images", key)
    if labels is None:
        return np.sort(generator.permutation(count)[:limit])
    check_limit(config, training, len(np.unique(labels)))
    return balanced_subset(labels, limit, generator)


def limited_count(config: DataConfig, training: bool, count: int, classes: int) -> int:
    """How many images :func:`limited` leaves of so many, of so many classes."""
    _, limit = config.limit_of(training)
    if limit is None or limit >= count:
        return count
    check_limit(config, training, classes)
    return limit


def check_limit(config: DataConfig, training: bool, classes: int) -> None:
    """Refuse, by an ImageSourceError, a limit that cannot hold one image of each class."""
    key, limit = config.limit_of(training)
    if limit is not None and limit < classes:
        raise config.error(
            key,
            found=f"{classes} classes",
            expected=f"a limit of at least {classes}, one image of each class",
            remedy=f"raise data.{key} or set it to none",
        )
