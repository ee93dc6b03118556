"""Which panoramas a decoder learns from and which it is tested on."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ssl_kedro.core.config import ConfigError
from ssl_kedro.core.seeding import numpy_generator

ALL, GIVEN = "all", "given"


class Part(NamedTuple):
    """One training and its test.

    Args:
        train: indices that a decoder learns from, int64.
        test: indices that it is tested on, int64; none for a decoder made from everything.
    """

    train: np.ndarray
    test: np.ndarray


def part_names(folds: int) -> tuple[str, ...]:
    """Names of the parts: the given split, or each fold and one of everything.

    The decoder of the last predicts for new panoramas.
    """
    return (GIVEN,) if folds == 0 else (*(f"fold_{k + 1}" for k in range(folds)), ALL)


def part(name: str, scenes: Sequence[str], splits: Sequence[str], folds: int, seed: int) -> Part:
    """The panoramas of one part.

    Folds take all panoramas with a truth, whatever their split, and deal whole scenes: the
    scenes in a seeded order, one to each fold in turn.

    Args:
        name: one of :func:`part_names`.
        scenes: of each panorama.
        splits: of each: "train", "test" or "unlabelled".
        folds: 0 = the given split.
        seed: of the dealing.

    Raises:
        ConfigError: nothing to learn from or to test on, fewer scenes than folds.
    """
    kinds = np.array(splits)
    if name == GIVEN:
        found = Part(np.flatnonzero(kinds == "train"), np.flatnonzero(kinds == "test"))
        if not len(found.train) or not len(found.test):
            raise ConfigError(
                "folds",
                0,
                f"panoramas in both splits, found {len(found.train)} for training and "
                f"{len(found.test)} for testing: name a split, or set folds to 2 or more",
            )
        return found
    labelled = np.flatnonzero(kinds != "unlabelled")
    of_labelled = np.array(scenes)[labelled]
    distinct = np.array(sorted(set(of_labelled.tolist())))
    if len(distinct) < folds:
        raise ConfigError("folds", folds, f"at most one a scene, and there are {len(distinct)}")
    if name == ALL:
        return Part(labelled, labelled[:0])
    dealt = numpy_generator(seed, "folds").permutation(distinct)
    mine = np.isin(of_labelled, dealt[int(name.removeprefix("fold_")) - 1 :: folds])
    return Part(labelled[~mine], labelled[mine])
