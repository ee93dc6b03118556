from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ssl_kedro.retrieval.descriptors import checked_descriptors
from ssl_kedro.retrieval.ground_truth.model import GroundTruth
from ssl_kedro.retrieval.ground_truth.read import read_ground_truth
from ssl_kedro.retrieval.index import build_index, recall_at
from ssl_kedro.retrieval.ranking import (
    RerankingConfig,
    augmented_database,
    expanded_queries,
    without,
)
from ssl_kedro.retrieval.scoring import (
    QueryScores,
    chance_scores,
    flat_scores,
    ranking_scores,
    similarity_scores,
)
from ssl_kedro.retrieval.search import full_rankings
from ssl_kedro.retrieval.searcher import (
    SearchConfig,
    Searcher,
    reranked,
)

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"


def truth(positives: list[list[int]], junk: list[list[int]], count: int) -> GroundTruth:
    return GroundTruth(
        database=tuple(f"image_{i}" for i in range(count)),
        queries=tuple(f"query_{i}" for i in range(len(positives))),
        lists={
            "ok": [np.array(p, int) for p in positives],
            "junk": [np.array(j, int) for j in junk],
        },
    )


def slow_ap(ranking: list[int], positives: set[int], junk: set[int]) -> float:
    """The original benchmark's compute_ap, one image at a time."""
    seen, found, area, recall, precision = 0, 0, 0.0, 0.0, 1.0
    for image in ranking:
        if image in junk:
            continue
        found += image in positives
        new_recall, new_precision = found / len(positives), found / (seen + 1)
        area += (new_recall - recall) * (precision + new_precision) / 2
        recall, precision, seen = new_recall, new_precision, seen + 1
    return area


def test_scores_of_full_and_short_rankings_equal_a_loop() -> None:
    generator = np.random.default_rng(0)
    task = truth([[3, 8, 20], [0], []], [[5, 6], [], [1]], 30)
    found = generator.random((30, 3)).astype(np.float32)
    rankings = full_rankings(found)
    scores = ranking_scores(rankings, task)[""]
    expected = [
        slow_ap(rankings[:, q].tolist(), set(p), set(j))
        for q, (p, j) in enumerate([([3, 8, 20], [5, 6]), ([0], [])])
    ]
    assert scores.ap[:2] == pytest.approx(expected)
    assert scores.ap[2] is None
    assert scores.map == pytest.approx(np.mean(expected))
    by_similarity = similarity_scores(found, task)[""]
    assert by_similarity.ap == scores.ap
    assert by_similarity.mp5 == scores.mp5
    # Cut after ten: what is not there counts as last, so that the score cannot rise.
    cut = ranking_scores(rankings[:10], task)[""]
    for q, (p, j) in enumerate([([3, 8, 20], [5, 6]), ([0], [])]):
        head = rankings[:10, q].tolist()
        rest = [i for i in range(30) if i not in head]
        order = head + [i for i in rest if i not in p and i not in j] + [i for i in rest if i in p]
        assert cut.ap[q] == pytest.approx(slow_ap(order, set(p), set(j)))
        assert cut.ap[q] <= scores.ap[q] + 1e-12


def test_places_that_a_search_could_not_fill_are_no_images() -> None:
    task = truth([[2]], [[]], 4)
    assert ranking_scores(np.array([[2], [-1], [-1]]), task)[""].map == 1.0
    assert ranking_scores(np.array([[0], [-1], [-1]]), task)[""].map < 0.2


def test_queries_that_could_not_be_read_do_not_count() -> None:
    task = truth([[0], [1]], [[], []], 4)
    rankings = np.array([[0, 3], [1, 2], [2, 0], [3, 1]])
    scores = ranking_scores(rankings, task, np.array([True, False]))[""]
    assert scores.map == 1.0
    assert scores.ap == (1.0, None)


def test_chance_is_that_of_random_rankings() -> None:
    """One positive among N: its place is uniform, so that the mean AP is known."""
    count = 50
    task = truth([[q % count] for q in range(400)], [[]] * 400, count)
    expected = np.mean([((0 if r else 1) + 1 / (r + 1)) / 2 for r in range(count)])
    assert chance_scores(task, 0)[""].map == pytest.approx(expected, rel=0.02)


def test_chance_follows_from_how_many_are_judged_alone() -> None:
    """Levels with positives and junk: rankings drawn whole and scored one by one."""
    positives, junk, count = [[0, 1, 2], [5]], [[3, 4, 6, 7, 8], []], 12
    task, generator = truth(positives, junk, count), np.random.default_rng(0)
    whole = [
        ranking_scores(np.stack([generator.permutation(count) for _ in positives], axis=1), task)[
            ""
        ]
        for _ in range(4000)
    ]
    found = chance_scores(task, 0)[""]
    for name in ("map", "mp1", "mp5", "mp10"):
        expected = float(np.mean([getattr(one, name) for one in whole]))
        assert getattr(found, name) == pytest.approx(expected, rel=0.03), name


@pytest.mark.parametrize("dataset", ["oxford5k", "roxford5k"])
@pytest.mark.parametrize("suffix", ["json", "mat", "pkl"])
def test_scores_agree_with_the_reference(
    dataset: str, suffix: str, ground_truth_folder: Path
) -> None:
    """From a user's arrays to AP, as the pipeline goes, for each format of ground truth."""
    files = list(ground_truth_folder.rglob(f"gnd_{dataset}.{suffix}"))
    if not REFERENCE.exists() or not files:
        pytest.skip("the reference values, or the ground truth in this format, are not here")
    expected = json.loads((REFERENCE / "retrieval_expected.json").read_text())["values"][dataset]
    task = read_ground_truth(files[0])
    with np.load(REFERENCE / f"synthetic_features_{dataset}.npz") as features:
        arrays = {
            "database": (features["X"], len(task.database), "X"),
            "queries": (features["Q"], len(task.queries), "Q"),
        }
        database, queries = checked_descriptors(arrays)
    rankings = Searcher(database).rankings(queries)
    scores = ranking_scores(rankings, task)
    levels = {"": "", "easy": "E", "medium": "M", "hard": "H"}
    for level in scores:
        values = expected[levels[level]] if level else expected
        assert scores[level].map == pytest.approx(values["mAP"], abs=1e-9)
        means = [getattr(scores[level], f"mp{k}") for k in (1, 5, 10)]
        assert means == pytest.approx(values["mP@1,5,10"], abs=1e-9)
        for found, wanted in zip(scores[level].ap, values["AP"], strict=True):
            assert (found is None) == (wanted is None or np.isnan(wanted))
            assert found is None or found == pytest.approx(wanted, abs=1e-9)


def test_keys_of_the_metrics() -> None:
    values = QueryScores(map=0.5, mp1=1.0, mp5=0.4, mp10=0.2, ap=(0.5,))
    assert flat_scores({"": values}, "a.b.g") == {"a.b.g.map": 0.5}
    flat = flat_scores({"hard": values}, "a.b.g")
    assert flat == {"a.b.g.hard.map": 0.5, "a.b.g.hard.mp5": 0.4, "a.b.g.hard.mp10": 0.2}
    assert flat_scores({"": replace(values, map=float("nan"))}, "a") == {}


def unit(count: int, seed: int) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(count, 8))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def test_re_ranking_step_by_step() -> None:
    database, queries = unit(60, 0), unit(4, 1)
    searcher = Searcher(database)
    first = searcher.rankings(queries)
    own = np.array([-1, -1, int(first[1, 2]), -1])
    found = reranked(searcher, queries, first, own, RerankingConfig(3, 5, 1, 4, 3.0))
    top = first[:3].T.copy()
    top[2] = [i for i in first[:4, 2] if i != own[2]]
    expanded = expanded_queries(queries, database, top)
    assert np.array_equal(found["aqe"], np.argsort(-(database @ expanded.T), 0, kind="stable"))
    product = database @ database.T
    others = without(np.argsort(-product, axis=1)[:, :5], np.arange(60))
    augmented = augmented_database(database, others)
    after = np.argsort(-(augmented @ queries.T), axis=0, kind="stable")
    assert np.array_equal(found["dba"], after)
    both = expanded_queries(queries, augmented, after[:1].T)
    assert (found["dba_aqe"][0, :2] == np.argmax(augmented @ both.T, axis=0)[:2]).all()
    alpha = expanded_queries(queries, database, first[:4].T, alpha=3.0)
    ranked = np.argsort(-(database @ alpha.T), axis=0, kind="stable")
    assert np.array_equal(found["alpha_qe"][:, [0, 1, 3]], ranked[:, [0, 1, 3]])


def test_images_that_could_not_be_read_stand_last_and_stay_so() -> None:
    database, queries = unit(30, 0), unit(3, 1)
    database[7] = 0
    searcher = Searcher(database)
    assert (searcher.rankings(queries)[-1] == 7).all()
    found = reranked(
        searcher,
        queries,
        searcher.rankings(queries),
        np.full(3, -1),
        RerankingConfig(3, 5, 1, 3, 3.0),
    )
    assert all((ranking[-1] == 7).all() for ranking in found.values())


def test_an_index_with_refinement_ranks_what_it_finds_exactly() -> None:
    database, queries = unit(600, 0), unit(6, 1)
    index = build_index(database, "IVF4,PQ4", train_points=600)

    def agreement(refine: bool) -> float:
        searcher = Searcher(database, index, SearchConfig("IVF4,PQ4", 4, 100, refine))
        found = searcher.rankings(queries)
        assert found.shape == (100, 6)
        exact = Searcher(database).rankings(queries)
        return recall_at(found[:10].T, exact[:10].T, 10)

    assert agreement(refine=True) > max(0.9, agreement(refine=False))
