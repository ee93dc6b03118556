from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ssl_kedro.retrieval.protocols import (
    LEVELS,
    Relevance,
    average_precisions,
    listed_from,
    listed_positions,
    positions_of,
    precisions_at,
    revisited_relevance,
)

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"


def slow_precision(ranking: list[int], positives: set[int], junk: set[int]) -> float:
    """The definition, image by image in exact order: a polygon through (recall, precision)."""
    area, seen, hits = 0.0, 0, 0
    recall, precision = 0.0, 1.0
    for image in ranking:
        if image in junk:
            continue
        seen += 1
        if image in positives:
            hits += 1
        new_recall, new_precision = hits / len(positives), hits / seen
        area += (new_recall - recall) * (precision + new_precision) / 2
        recall, precision = new_recall, new_precision
    return area


def drawn(seed: int, images: int = 60, queries: int = 7) -> tuple[np.ndarray, Relevance]:
    generator = np.random.default_rng(seed)
    # One decimal: many ties.
    similarities = generator.normal(size=(images, queries)).round(1)
    positives, junk = [], []
    for _ in range(queries):
        listed = generator.permutation(images)[:20]
        cut = int(generator.integers(1, 15))
        positives.append(listed[:cut])
        junk.append(listed[cut:])
    return similarities, Relevance(positives, junk)


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_is_the_area_under_the_polygon(seed: int) -> None:
    similarities, relevance = drawn(seed)
    rankings = np.argsort(-similarities, axis=0, kind="stable")
    found = average_precisions(listed_from(positions_of(rankings), relevance), relevance)
    for query, (positives, junk) in enumerate(
        zip(relevance.positives, relevance.junk, strict=True)
    ):
        expected = slow_precision(
            rankings[:, query].tolist(), set(positives.tolist()), set(junk.tolist())
        )
        assert found[query] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_places_without_a_ranking_equal_those_of_a_stable_sort(seed: int) -> None:
    similarities, relevance = drawn(seed)
    rankings = np.argsort(-similarities, axis=0, kind="stable")
    expected = listed_from(positions_of(rankings), relevance)
    for found, wanted in zip(listed_positions(similarities, relevance), expected, strict=True):
        assert np.array_equal(found, wanted)


def test_values_by_hand() -> None:
    # + - + with junk in between: (1 + 1) / 2 and (1/2 + 2/3) / 2.
    relevance = Relevance([np.array([0, 3])], [np.array([1])])
    positions = listed_from(positions_of(np.array([[0], [1], [2], [3], [4]])), relevance)
    assert average_precisions(positions, relevance)[0] == pytest.approx((1 + 7 / 12) / 2)
    # Two of the first three; past the last positive nothing is looked at.
    assert precisions_at(positions, relevance, [1, 2, 3, 10])[0] == pytest.approx(
        [1, 1 / 2, 2 / 3, 2 / 3]
    )


def test_perfect_and_worst_rankings() -> None:
    relevance = Relevance([np.arange(5)], [np.array([], dtype=int)])
    best = listed_from(positions_of(np.arange(1000)[:, None]), relevance)
    worst = listed_from(positions_of(np.arange(1000)[::-1, None]), relevance)
    assert average_precisions(best, relevance)[0] == 1.0
    assert average_precisions(worst, relevance)[0] < 0.01


def test_levels_move_images_between_positives_and_junk() -> None:
    easy, hard, junk = ([np.array([0, 1])], [np.array([2])], [np.array([3, 4])])
    found = {level: revisited_relevance(easy, hard, junk, level) for level in LEVELS}
    positives = {level: sorted(r.positives[0].tolist()) for level, r in found.items()}
    ignored = {level: sorted(r.junk[0].tolist()) for level, r in found.items()}
    assert positives == {"easy": [0, 1], "medium": [0, 1, 2], "hard": [2]}
    assert ignored == {"easy": [2, 3, 4], "medium": [3, 4], "hard": [0, 1, 3, 4]}


def test_a_query_without_positives_is_not_a_number() -> None:
    relevance = Relevance([np.array([], dtype=int), np.array([1])], [np.array([0])] * 2)
    positions = listed_from(positions_of(np.array([[0, 1], [1, 0]])), relevance)
    assert np.isnan(average_precisions(positions, relevance)).tolist() == [True, False]
    assert np.isnan(precisions_at(positions, relevance, [1])).ravel().tolist() == [True, False]


def test_faulty_input_is_named() -> None:
    with pytest.raises(ValueError, match="query 1: image 4 is listed more than once"):
        Relevance([np.array([1]), np.array([4])], [np.array([2]), np.array([4])])
    with pytest.raises(ValueError, match="lacks image 1"):
        positions_of(np.array([[0], [0]]))
    with pytest.raises(ValueError, match="found indices from 0 to 2"):
        positions_of(np.array([[0], [2]]))
    relevance = Relevance([np.array([0])], [np.array([1])])
    with pytest.raises(ValueError, match="query 0 and image 1 is not a number"):
        listed_positions(np.array([[0.1], [np.nan]]), relevance)
    with pytest.raises(ValueError, match="2 columns for 1 queries"):
        listed_positions(np.zeros((2, 2)), relevance)


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference values are not here")
@pytest.mark.parametrize("name", ["roxford5k", "oxford5k"])
def test_agrees_with_the_published_evaluation(name: str, ground_truth_folder: Path) -> None:
    expected = json.loads((REFERENCE / "retrieval_expected.json").read_text())["values"][name]
    with np.load(REFERENCE / f"synthetic_features_{name}.npz") as features:
        similarities = features["X"].astype(np.float64) @ features["Q"].astype(np.float64).T
    gnd = json.loads(next(ground_truth_folder.rglob(f"gnd_{name}.json")).read_text())["gnd"]
    lists = {key: [np.array(g[key], dtype=int) for g in gnd] for key in gnd[0] if key != "bbx"}
    if name == "roxford5k":
        cases = [
            (
                expected[level[0].upper()],
                revisited_relevance(lists["easy"], lists["hard"], lists["junk"], level),
            )
            for level in LEVELS
        ]
    else:
        cases = [(expected, Relevance(lists["ok"], lists["junk"]))]
    for values, relevance in cases:
        positions = listed_positions(similarities, relevance)
        found = average_precisions(positions, relevance)
        wanted = np.array(values["AP"], dtype=np.float64)
        kept = [i for i, p in enumerate(relevance.positives) if len(p)]
        assert np.abs(found[kept] - wanted[kept]).max() < 1e-9
        assert np.nanmean(found) == pytest.approx(values["mAP"], abs=1e-9)
        at = np.nanmean(precisions_at(positions, relevance, [1, 5, 10]), axis=0)
        assert at == pytest.approx(values["mP@1,5,10"], abs=1e-9)
