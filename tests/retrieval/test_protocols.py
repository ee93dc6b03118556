from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ssl_kedro.retrieval.protocols import (
    CLASSIC,
    REVISITED,
    Judgements,
    average_precisions,
    places_by_similarity,
    places_in_rankings,
    precisions_at,
)

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"
NONE = np.array([], dtype=int)


def slow_average_precision(ranking: list[int], positives: set[int], junk: set[int]) -> float:
    """The definition, image by image: area of a polygon through (recall, precision)."""
    area, seen, hits = 0.0, 0, 0
    recall, precision = 0.0, 1.0
    for image in ranking:
        if image in junk:
            continue
        seen += 1
        hits += image in positives
        new_recall, new_precision = hits / len(positives), hits / seen
        area += (new_recall - recall) * (precision + new_precision) / 2
        recall, precision = new_recall, new_precision
    return area


def slow_precision(ranking: list[int], positives: set[int], junk: set[int], k: int) -> float:
    clean = [image for image in ranking if image not in junk]
    last = max(clean.index(image) for image in positives) + 1
    looked_at = clean[: min(k, last)]
    return sum(image in positives for image in looked_at) / len(looked_at)


def drawn(seed: int, images: int = 60, queries: int = 7) -> tuple[np.ndarray, Judgements]:
    generator = np.random.default_rng(seed)
    # One decimal: many ties.
    similarities = generator.normal(size=(images, queries)).round(1)
    lists: dict[str, list[np.ndarray]] = {"easy": [], "hard": [], "junk": []}
    for _ in range(queries):
        judged = generator.permutation(images)[:20]
        first, second = np.sort(generator.choice(np.arange(1, 20), 2, replace=False))
        for name, part in zip(lists, np.split(judged, [first, second]), strict=True):
            lists[name].append(part)
    return similarities, Judgements(lists)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("level", ["easy", "medium", "hard"])
def test_values_are_those_of_the_definition(seed: int, level: str) -> None:
    similarities, judged = drawn(seed)
    rankings = np.argsort(-similarities, axis=0, kind="stable")
    easy, hard, junk = judged.lists.values()
    for places in (
        places_in_rankings(rankings, judged),
        places_by_similarity(similarities, judged),
    ):
        found = average_precisions(places.hits(REVISITED[level]))
        at = precisions_at(places.hits(REVISITED[level]), [1, 5, 100])
        for query in range(len(easy)):
            e, h, j = (set(part[query].tolist()) for part in (easy, hard, junk))
            positives, ignored = {
                "easy": (e, j | h),
                "medium": (e | h, j),
                "hard": (h, j | e),
            }[level]
            ranking = rankings[:, query].tolist()
            assert found[query] == pytest.approx(
                slow_average_precision(ranking, positives, ignored), abs=1e-12
            )
            expected = [slow_precision(ranking, positives, ignored, k) for k in (1, 5, 100)]
            assert at[query] == pytest.approx(expected)


def test_values_by_hand() -> None:
    # + junk - +: (1 + 1) / 2 and (1/2 + 2/3) / 2.
    judged = Judgements({"ok": [np.array([0, 3])], "junk": [np.array([1])]})
    places = places_in_rankings(np.arange(5)[:, None], judged)
    assert average_precisions(places.hits(CLASSIC))[0] == pytest.approx((1 + 7 / 12) / 2)
    # Two of the first three; past the last positive nothing is looked at.
    assert precisions_at(places.hits(CLASSIC), [1, 2, 3, 10])[0] == pytest.approx(
        [1, 1 / 2, 2 / 3, 2 / 3]
    )


def test_places_that_were_not_filled_stand_for_no_image() -> None:
    judged = Judgements({"ok": [np.array([0, 5])], "junk": [NONE]})
    places = places_in_rankings(np.array([[0], [-1], [-1]]), judged, count=6)
    # 0 is first, 5 was not found and stands last of six: (1 + 1) / 2 and (1/5 + 2/6) / 2.
    expected = (1 + (1 / 5 + 2 / 6) / 2) / 2
    assert average_precisions(places.hits(CLASSIC))[0] == pytest.approx(expected)


def test_perfect_and_worst_rankings() -> None:
    judged = Judgements({"ok": [np.arange(5)], "junk": [NONE]})
    best = places_in_rankings(np.arange(1000)[:, None], judged)
    worst = places_in_rankings(np.arange(1000)[::-1, None], judged)
    assert average_precisions(best.hits(CLASSIC))[0] == pytest.approx(1.0)
    assert average_precisions(worst.hits(CLASSIC))[0] < 0.01


def test_a_query_without_positives_is_not_a_number() -> None:
    judged = Judgements({"ok": [NONE, np.array([1]), NONE], "junk": [np.array([0])] * 3})
    rankings = np.tile([[0], [1]], 3)
    places = places_in_rankings(rankings, judged)
    assert np.isnan(average_precisions(places.hits(CLASSIC))).tolist() == [True, False, True]
    assert np.isnan(precisions_at(places.hits(CLASSIC), [1])).ravel().tolist() == [
        True,
        False,
        True,
    ]


def test_faulty_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"query 1: image 4 is listed more than once"):
        Judgements({"ok": [np.array([1]), np.array([4])], "junk": [np.array([2]), np.array([4])]})
    with pytest.raises(ValueError, match=r"equally many queries, found \{'ok': 1, 'junk': 0\}"):
        Judgements({"ok": [NONE], "junk": []})
    judged = Judgements({"ok": [np.array([0])], "junk": [np.array([1])]})
    with pytest.raises(ValueError, match="holds 1 of its 2 judged images"):
        places_in_rankings(np.array([[0], [2], [2]]), judged)
    with pytest.raises(ValueError, match="query 0 lists image 1, but the database has 1"):
        places_in_rankings(np.array([[0]]), judged)
    for entry in (3, -2):
        with pytest.raises(ValueError, match="expected images 0 to 2 of the database"):
            places_in_rankings(np.array([[0], [1], [entry]]), judged)
    with pytest.raises(ValueError, match="query 0 and image 1 is not a number"):
        places_by_similarity(np.array([[0.1], [np.nan]]), judged)
    with pytest.raises(ValueError, match=r"each of 1 queries, found an array of shape \(2, 2\)"):
        places_by_similarity(np.zeros((2, 2)), judged)


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference values are not here")
@pytest.mark.parametrize("name", ["roxford5k", "oxford5k"])
def test_agrees_with_the_published_evaluation(name: str, ground_truth_folder: Path) -> None:
    expected = json.loads((REFERENCE / "retrieval_expected.json").read_text())["values"][name]
    with np.load(REFERENCE / f"synthetic_features_{name}.npz") as features:
        similarities = features["X"].astype(np.float64) @ features["Q"].astype(np.float64).T
    gnd = json.loads(next(ground_truth_folder.rglob(f"gnd_{name}.json")).read_text())["gnd"]
    judged = Judgements(
        {key: [np.array(g[key], dtype=int) for g in gnd] for key in gnd[0] if key != "bbx"}
    )
    levels = REVISITED if name == "roxford5k" else {"": CLASSIC}
    places = places_by_similarity(similarities, judged)
    for key, level in levels.items():
        values = expected[key[0].upper()] if key else expected
        found = average_precisions(places.hits(level))
        wanted = np.array(values["AP"], dtype=np.float64)
        kept = ~np.isnan(found)
        assert np.abs(found[kept] - wanted[kept]).max() < 1e-9
        assert np.nanmean(found) == pytest.approx(values["mAP"], abs=1e-9)
        at = np.nanmean(precisions_at(places.hits(level), [1, 5, 10]), axis=0)
        assert at == pytest.approx(values["mP@1,5,10"], abs=1e-9)
