"""What features show of images without labels: neighbours, near-duplicates, groups.

Convention: features (N, D) are compared by the cosine after their common mean is taken off, which
else makes all of them alike; places are rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from ssl_kedro.core.config import Config, Range
from ssl_kedro.core.seeding import derived_seed
from ssl_kedro.evaluation.knn import neighbours_of

# Pairs whose pixels are compared at a time.
_PAIRS = 2048


@dataclass(frozen=True)
class OverviewConfig(Config):
    """How images are looked at where there may be no labels.

    Args:
        images: that are looked at, at most; of more a random part.
        queries: images whose neighbours are shown.
        neighbours: of each.
        similarity: from which two images are near-duplicates, by features and by pixels: 1 = equal.
        candidates: nearest images by features that may be near-duplicates of one.
        clusters: groups that images are divided into (k of k-means).
        examples: of each group, and pairs of near-duplicates, that are shown.
    """

    images: Annotated[int, Range(at_least=8, at_most=20_000)] = 5000
    queries: Annotated[int, Range(at_least=1, at_most=12)] = 5
    neighbours: Annotated[int, Range(at_least=1, at_most=8)] = 7
    similarity: Annotated[float, Range(above=0, at_most=1)] = 0.95
    candidates: Annotated[int, Range(at_least=1, at_most=50)] = 5
    clusters: Annotated[int, Range(at_least=2, at_most=20)] = 10
    examples: Annotated[int, Range(at_least=1, at_most=8)] = 8


@dataclass(frozen=True)
class Neighbours:
    """An image and what is nearest to it.

    Args:
        query: its place.
        found: places of the nearest, nearest first, by what they were compared by.
    """

    query: int
    found: dict[str, tuple[int, ...]]

    @property
    def places(self) -> list[int]:
        """All of them."""
        return [self.query, *(place for near in self.found.values() for place in near)]


@dataclass(frozen=True)
class Pair:
    """Two images that are nearly one, with how similar they are, at most 1."""

    first: int
    second: int
    by_features: float
    by_pixels: float


@dataclass(frozen=True)
class Duplicates:
    """Images that are nearly the same.

    Args:
        images: that have another that is nearly the same.
        groups: that these fall into.
        pairs: all that were found, the most similar by pixels first.
    """

    images: int
    groups: int
    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class Cluster:
    """A group of images.

    Args:
        size: of it.
        examples: places of those nearest to its centre, the nearest first.
    """

    size: int
    examples: tuple[int, ...]


def centred_units(features: np.ndarray) -> np.ndarray:
    """Features less their mean, at unit length; (N, D) float32."""
    centred = features - features.mean(axis=0, dtype=np.float64)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / np.maximum(lengths, 1e-12), dtype=np.float32)


def nearest_images(
    kinds: Mapping[str, np.ndarray], queries: np.ndarray, count: int
) -> list[Neighbours]:
    """The nearest other images of some, by Euclidean distance.

    Args:
        kinds: what they are compared by, (N, D) each, by name.
        queries: places (Q,).
        count: nearest of each; where there are fewer others, these.
    """
    found = {name: _others(rows, queries, count) for name, rows in kinds.items()}
    return [
        Neighbours(int(query), {name: tuple(of[row].tolist()) for name, of in found.items()})
        for row, query in enumerate(queries)
    ]


def _others(rows: np.ndarray, queries: np.ndarray, count: int) -> np.ndarray:
    """Nearest rows of some of them without themselves, (Q, k)."""
    wanted = min(count, len(rows) - 1)
    nearest = neighbours_of(rows, rows[queries], wanted + 1)
    # Among equal rows it need not be the first, or not be there at all.
    order = np.argsort(nearest == queries[:, None], axis=1, kind="stable")
    return np.take_along_axis(nearest, order, axis=1)[:, :wanted]


def near_duplicates(
    features: np.ndarray, pixels: np.ndarray, similarity: float, candidates: int = 5
) -> Duplicates:
    """Pairs that are alike by features and by pixels.

    By features: cosine. By pixels: Lin's concordance correlation (1989), 1 - |a - b|^2 over what
    that would be for images of the same means and variances that have nothing to do with each
    other. Only the nearest by features are compared, so that of a group not all pairs may be found.

    Args:
        features: (N, D).
        pixels: (N, P).
        similarity: from which on, by both.
        candidates: nearest by features that each is compared with.
    """
    count, units = len(features), centred_units(features)
    near = _others(units, np.arange(count), candidates)
    pairs = np.stack([np.repeat(np.arange(count), near.shape[1]), near.ravel()], axis=1)
    pairs = np.unique(np.sort(pairs, axis=1), axis=0)
    cosines = np.einsum("nd,nd->n", units[pairs[:, 0]], units[pairs[:, 1]])
    pairs, cosines = pairs[cosines >= similarity], cosines[cosines >= similarity]
    parts = (pairs[at : at + _PAIRS] for at in range(0, len(pairs), _PAIRS))
    alike = np.concatenate([np.empty(0), *(concordance(*pixels[part.T]) for part in parts)])
    kept = np.flatnonzero(alike >= similarity)
    kept = kept[np.argsort(-alike[kept], kind="stable")]
    found = pairs[kept]
    from scipy.sparse import coo_array  # noqa: PLC0415  the library alone does without
    from scipy.sparse.csgraph import connected_components  # noqa: PLC0415

    graph = coo_array((np.ones(len(found)), (found[:, 0], found[:, 1])), shape=(count, count))
    members = np.unique(found)
    groups = len(np.unique(connected_components(graph, directed=False)[1][members]))
    values = zip(found.tolist(), cosines[kept].tolist(), alike[kept].tolist(), strict=True)
    told = (Pair(a, b, min(1.0, cosine), value) for (a, b), cosine, value in values)
    return Duplicates(len(members), groups, tuple(told))


def concordance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Lin's concordance correlation of rows (N, P), from -1 to 1; 1 where both are equal."""
    a, b = first.astype(np.float64), second.astype(np.float64)
    means = a.mean(axis=1) - b.mean(axis=1)
    apart = np.square(a - b).mean(axis=1)
    most = a.var(axis=1) + b.var(axis=1) + np.square(means)
    return np.asarray(1 - np.divide(apart, most, out=np.zeros_like(most), where=most > 0))


def clusters(features: np.ndarray, count: int, examples: int, seed: int) -> list[Cluster]:
    """Groups of images by k-means (Lloyd 1982) of features, the largest first.

    Args:
        features: (N, D).
        count: k; N where there are fewer images.
        examples: of each.
        seed: of its beginning.
    """
    from sklearn.cluster import KMeans  # noqa: PLC0415  a second

    units = centred_units(features)
    made = KMeans(
        min(count, len(units)), n_init=3, random_state=derived_seed(seed, "clusters") % 2**31
    )
    distances = made.fit_transform(units)
    groups = []
    for number in range(distances.shape[1]):
        members = np.flatnonzero(made.labels_ == number)
        order = np.argsort(distances[members, number], kind="stable")[:examples]
        groups.append(Cluster(len(members), tuple(members[order].tolist())))
    return sorted((group for group in groups if group.size), key=lambda group: -group.size)
