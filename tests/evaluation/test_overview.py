"""Neighbours, near-duplicates and groups against plain loops and planted structure."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ssl_kedro.evaluation.overview import (
    centred_units,
    clusters,
    concordance,
    near_duplicates,
    nearest_images,
)


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def test_neighbours_are_those_of_a_loop_and_never_the_image_itself() -> None:
    rows = generator().normal(size=(40, 5)).astype(np.float32)
    rows[[7, 8, 9]] = rows[6]  # equal rows: the image itself need not come first
    queries = np.array([6, 8, 30])
    found = nearest_images({"a": rows, "b": rows[:, :2].copy()}, queries, 3)
    assert [one.query for one in found] == queries.tolist()
    for one in found:
        for kind, data in (("a", rows), ("b", rows[:, :2])):
            away = [
                (math.dist(data[one.query].tolist(), data[other].tolist()), other)
                for other in range(40)
                if other != one.query
            ]
            nearest = sorted(away)[:3]
            assert one.query not in one.found[kind]
            if one.query == 30:
                assert one.found[kind] == tuple(other for _, other in nearest)
            else:
                assert set(one.found[kind]) <= {6, 7, 8, 9}
    [few] = nearest_images({"a": rows[:3]}, np.array([1]), 8)
    assert set(few.found["a"]) == {0, 2}


def lin(a: np.ndarray, b: np.ndarray) -> float:
    """Lin 1989, equation of the abstract: 2 s_ab / (s_a^2 + s_b^2 + (m_a - m_b)^2)."""
    n, m_a, m_b = len(a), sum(a) / len(a), sum(b) / len(b)
    s_ab = sum((x - m_a) * (y - m_b) for x, y in zip(a, b, strict=True)) / n
    s_a, s_b = (sum((x - m) ** 2 for x in v) / n for v, m in ((a, m_a), (b, m_b)))
    return 2 * s_ab / (s_a + s_b + (m_a - m_b) ** 2)


def test_concordance_is_lins() -> None:
    first, second = generator().normal(size=(2, 20, 30))
    second[:10] = 0.8 * first[:10] + 0.3
    found = concordance(first, second)
    assert found == pytest.approx([lin(a, b) for a, b in zip(first, second, strict=True)])
    flat = np.ones((1, 4))
    assert concordance(flat, flat).tolist() == [1.0]
    assert concordance(flat, 2 * flat).tolist() == [0.0]


def planted() -> tuple[np.ndarray, np.ndarray, set[frozenset[int]]]:
    """Features and pixels of 60 images: a pair, a group of three, and pairs alike by one alone."""
    draw = generator()
    features, pixels = draw.normal(size=(60, 12)) + 4, draw.uniform(size=(60, 48))

    def copy(to: int, of: int, data: np.ndarray) -> None:
        data[to] = data[of] + 0.01 * draw.normal(size=data.shape[1])

    for to, of in ((50, 3), (51, 10), (52, 10)):
        copy(to, of, features)
        copy(to, of, pixels)
    copy(53, 20, features)  # other pixels
    copy(54, 21, pixels)  # other features
    alike = {frozenset(pair) for pair in ((3, 50), (10, 51), (10, 52), (51, 52))}
    return features.astype(np.float32), pixels.astype(np.float32), alike


def test_near_duplicates_are_those_that_both_say() -> None:
    features, pixels, alike = planted()
    found = near_duplicates(features, pixels, 0.95)
    assert {frozenset((pair.first, pair.second)) for pair in found.pairs} == alike
    assert (found.images, found.groups) == (5, 2)
    units = centred_units(features)
    for pair in found.pairs:
        assert pair.by_features == pytest.approx(float(units[pair.first] @ units[pair.second]))
        assert pair.by_pixels == pytest.approx(
            lin(*pixels[[pair.first, pair.second]].astype(float))
        )
    values = [pair.by_pixels for pair in found.pairs]
    assert values == sorted(values, reverse=True)
    assert near_duplicates(features[:50], pixels[:50], 0.95).pairs == ()
    # One neighbour of each: of the three not all pairs, but all images.
    few = near_duplicates(features, pixels, 0.95, candidates=1)
    assert (few.images, few.groups) == (5, 2) and len(few.pairs) >= 3


def test_equal_and_flat_images_are_near_duplicates() -> None:
    features, pixels, _ = planted()
    features[1:3], pixels[1:3] = features[0], 0.5
    pixels[0] = 0.5
    found = near_duplicates(features, pixels, 0.99)
    assert {0, 1, 2} <= {place for pair in found.pairs for place in (pair.first, pair.second)}
    assert all(pair.by_features <= 1 for pair in found.pairs)


def test_planted_groups_are_found_the_largest_first() -> None:
    draw = generator()
    sizes = (40, 25, 10)
    labels = np.repeat(np.arange(3), sizes)
    features = (10 * np.eye(3)[labels] + draw.normal(size=(75, 3)) * 0.1).astype(np.float32)
    order = draw.permutation(75)
    found = clusters(features[order], 3, 6, seed=0)
    assert [group.size for group in found] == list(sizes)
    units = centred_units(features[order])
    for number, group in enumerate(found):
        assert {int(labels[order][place]) for place in group.examples} == {number}
        members = np.flatnonzero(labels[order] == number)
        away = np.linalg.norm(units[members] - units[members].mean(axis=0), axis=1)
        assert list(group.examples) == members[np.argsort(away)][:6].tolist()
    assert found == clusters(features[order], 3, 6, seed=0)
    assert len(clusters(features[:2], 5, 6, seed=0)) == 2
