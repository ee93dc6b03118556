from __future__ import annotations

import pytest

from ssl_kedro.core.config import ConfigError
from ssl_kedro.saliency.folds import part, part_names

SCENES = ["a", "a", "b", "c", "c", "c", "d", "e"]
SPLITS = ["train", "train", "test", "train", "train", "train", "test", "unlabelled"]


def test_the_given_split() -> None:
    assert part_names(0) == ("given",)
    found = part("given", SCENES, SPLITS, 0, seed=0)
    assert (found.train.tolist(), found.test.tolist()) == ([0, 1, 3, 4, 5], [2, 6])


@pytest.mark.parametrize("folds", [2, 3, 4])
@pytest.mark.parametrize("seed", [0, 1])
def test_each_scene_is_tested_once_and_never_learnt_from_there(folds: int, seed: int) -> None:
    names = part_names(folds)
    assert (len(names), names[-1]) == (folds + 1, "all")
    tested: list[int] = []
    for name in names[:-1]:
        found = part(name, SCENES, SPLITS, folds, seed)
        assert not {SCENES[i] for i in found.train} & {SCENES[i] for i in found.test}
        assert sorted([*found.train, *found.test]) == list(range(7))
        tested += found.test.tolist()
    assert sorted(tested) == list(range(7))
    everything = part("all", SCENES, SPLITS, folds, seed)
    assert (everything.train.tolist(), len(everything.test)) == (list(range(7)), 0)


def test_another_seed_deals_otherwise() -> None:
    dealt = {tuple(part("fold_1", SCENES, SPLITS, 2, seed).test.tolist()) for seed in range(8)}
    assert len(dealt) > 1


def test_impossible_splits_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"folds = 5: expected at most one a scene, .* 4"):
        part("fold_1", SCENES, SPLITS, 5, seed=0)
    with pytest.raises(ConfigError, match="found 5 for training and 0 for testing"):
        part("given", SCENES, [s.replace("test", "unlabelled") for s in SPLITS], 0, seed=0)
