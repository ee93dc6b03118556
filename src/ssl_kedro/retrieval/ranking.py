"""Rankings by global search, and after query expansion and augmentation (thesis 3.4.1).

Convention: descriptors are unit vectors, float32, database (N, D) and queries (Q, D);
neighbours are database indices, nearest first, (Q, K) or (N, K). A weight for each of them
says how much it counts; 0 leaves it out.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np

from ssl_kedro.core.cluster import HERE, Workers
from ssl_kedro.core.config import Config, Range
from ssl_kedro.retrieval.index import FILL_BLOCK, build_index, refined, search_index
from ssl_kedro.retrieval.search import full_rankings, similarities
from ssl_kedro.retrieval.shards import ShardedDescriptors, search_shards
from ssl_kedro.retrieval.whitening import unit_rows

# Below every similarity of unit vectors: where images without a descriptor stand.
_BELOW_ALL = -2.0
# Rows of neighbours gathered at a time: bounds the memory of N x K x D products.
_BLOCK_BYTES = 64e6


@dataclass(frozen=True)
class RerankingConfig(Config):
    """How many neighbours each re-ranking takes (thesis 3.4.1).

    Args:
        aqe: N of average query expansion.
        dba: N' of database-side augmentation.
        dba_aqe: N of query expansion on the augmented database.
        alpha_qe: N of alpha-QE.
        alpha: exponent of the similarity there (Radenovic et al. 2019: 3).
    """

    aqe: Annotated[int, Range(at_least=1)] = 10
    dba: Annotated[int, Range(at_least=1)] = 20
    dba_aqe: Annotated[int, Range(at_least=1)] = 1
    alpha_qe: Annotated[int, Range(at_least=1)] = 10
    alpha: Annotated[float, Range(at_least=0, at_most=100)] = 3.0


@dataclass(frozen=True)
class SearchConfig(Config):
    """How neighbours are found.

    Args:
        index: "exact", or a faiss factory string such as "IVF4096,PQ64" or "HNSW32".
        probes: cells of an inverted file that a query visits.
        depth: results of a query, where the index is not exact.
        refine: order these by exact similarity, read from the descriptors.
        train_points: vectors that an index is trained on, at most.
        shards: pieces of the database, each for one of the processes or workers of
            ``extract``: an index is filled, and neighbours are found exactly, in each of them.
    """

    index: str = "exact"
    probes: Annotated[int, Range(at_least=1)] = 16
    depth: Annotated[int, Range(at_least=1)] = 1000
    refine: bool = True
    train_points: Annotated[int, Range(at_least=1)] = 200_000
    shards: Annotated[int, Range(at_least=1, at_most=4096)] = 1


def index_of(
    descriptors: np.ndarray, config: SearchConfig, seed: int, workers: Workers = HERE
) -> Any:
    """The faiss index of a configuration that is not "exact", filled by workers."""
    return build_index(
        descriptors,
        config.index,
        train_points=config.train_points,
        seed=seed,
        pieces=ShardedDescriptors.cut(descriptors, config.shards, FILL_BLOCK).shards,
        workers=workers,
    )


@dataclass(frozen=True)
class Searcher:
    """Finds neighbours in one database, exactly or by an index.

    Args:
        database: (N, D) float32, unit rows; zero rows (images that could not be read) are
            found last.
        index: a faiss index of the rows; None = exact search.
        config: what is looked at with an index, and how it was made.
        seed: that it was made with.
        workers: that search pieces of the database, or fill an index from them.
    """

    database: np.ndarray
    index: Any = None
    config: SearchConfig = SearchConfig()
    seed: int = 0
    workers: Workers = HERE

    def rankings(self, queries: np.ndarray) -> np.ndarray:
        """Database indices, best first, (N, Q) where exact, else (depth, Q), int32."""
        if self.index is not None:
            return self.nearest(queries, self.config.depth).T.copy()
        return full_rankings(similarities_unseen_last(self.database, queries))

    def nearest(self, queries: np.ndarray, count: int) -> np.ndarray:
        """The first results, at most N, (Q, count), int32."""
        wanted = min(count, len(self.database))
        if self.index is not None:
            _, found = search_index(self.index, queries, wanted, probes=self.config.probes)
            if self.config.refine:
                _, found = refined(self.database, queries, found, wanted)
        else:
            pieces = ShardedDescriptors.cut(self.database, self.config.shards)
            _, found = search_shards(pieces, queries, wanted, workers=self.workers)
        return np.asarray(found, dtype=np.int32)

    def augmented(self, count: int) -> "Searcher":
        """A searcher of the same kind after augmentation with so many rows, each itself first."""
        rows = np.asarray(self.database)
        others = without(self.nearest(rows, count), np.arange(len(rows)))
        augmented = augmented_database(rows, others)
        # What could not be read does not become the mean of strangers.
        augmented[~rows.any(axis=1)] = 0
        index = None
        if self.index is not None:
            index = index_of(augmented, self.config, self.seed, self.workers)
        return replace(self, database=augmented, index=index)


def similarities_unseen_last(database: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Inner products, (N, Q) float64; images without a descriptor (zero rows) below all others."""
    found = similarities(database, queries)
    found[~database.any(axis=1)] = _BELOW_ALL
    return found


def without(neighbours: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Neighbours less one row each, (Q, K) -> (Q, K - 1); the last goes where it is not there.

    Args:
        neighbours: (Q, K).
        rows: to leave out, (Q,); -1 leaves the last out.
    """
    matches = neighbours == rows[:, None]
    matches[~matches.any(axis=1), -1] = True
    return np.asarray(neighbours[~matches].reshape(len(neighbours), -1))


def reranked(
    searcher: Searcher,
    queries: np.ndarray,
    global_rankings: np.ndarray,
    own_rows: np.ndarray,
    config: RerankingConfig,
) -> dict[str, np.ndarray]:
    """Rankings after AQE, DBA, DBA then AQE, and alpha-QE, each as from the searcher.

    Args:
        searcher: of the database.
        queries: (Q, D).
        global_rankings: of the searcher, (K, Q).
        own_rows: the database row that is the query itself, (Q,), -1 = none; it does not
            expand it.
        config: numbers of neighbours.
    """
    augmented = searcher.augmented(config.dba)
    after = augmented.rankings(queries)

    def expanded(by: Searcher, rankings: np.ndarray, count: int, power: float) -> np.ndarray:
        neighbours = without(rankings[: count + 1].T, own_rows)[:, :count]
        return by.rankings(expanded_queries(queries, by.database, neighbours, power))

    return {
        "aqe": expanded(searcher, global_rankings, config.aqe, 0.0),
        "dba": after,
        "dba_aqe": expanded(augmented, after, config.dba_aqe, 0.0),
        "alpha_qe": expanded(searcher, global_rankings, config.alpha_qe, config.alpha),
    }


def expanded_queries(
    queries: np.ndarray, database: np.ndarray, neighbours: np.ndarray, alpha: float = 0.0
) -> np.ndarray:
    """Average query expansion, (Q, D): the query and its neighbours, added up.

    AQE is 1/(N + 1) (q_0 + sum of r_i) (Chum et al. 2007); the factor falls away with the
    length. With ``alpha`` above 0 each neighbour weighs similarity^alpha (alpha-QE,
    Radenovic et al. 2019, section 3.5); one that points away weighs nothing.

    Args:
        queries: (Q, D).
        database: (N, D).
        neighbours: the top N of each query, (Q, N).
        alpha: 0 = AQE.

    Raises:
        ValueError: shapes do not fit, or alpha below 0.
    """
    if alpha < 0:
        raise ValueError(f"expected alpha of 0 or more, found {alpha}")
    if len(queries) != len(neighbours):
        raise ValueError(
            f"expected neighbours of each of {len(queries)} queries, found {neighbours.shape}"
        )
    weights = np.ones(neighbours.shape, dtype=np.float32)
    if alpha:
        similarities = np.einsum("qkd,qd->qk", np.asarray(database[neighbours]), queries)
        weights = np.maximum(similarities, 0).astype(np.float32) ** alpha
    return unit_rows(queries + _weighted_sums(database, neighbours, weights))


def augmented_database(database: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
    """Database-side augmentation, (N, D): each vector replaced by it and its neighbours.

    The neighbour of rank r among k weighs (k - r) / k, the vector itself is rank 0 and weighs
    1 (Arandjelovic & Zisserman 2012; Gordo et al. 2017, section 6.2). The thesis prints the
    weight as "kr/k", which would weigh the farthest most.

    Args:
        database: (N, D).
        neighbours: of each database vector, nearest first and without itself, (N, k - 1).

    Raises:
        ValueError: neighbours of another number of vectors.
    """
    if len(neighbours) != len(database):
        raise ValueError(
            f"expected neighbours of each of {len(database)} database vectors, found "
            f"{neighbours.shape}"
        )
    k = neighbours.shape[1] + 1
    weights = (k - np.arange(1, k, dtype=np.float32)) / k
    sums = _weighted_sums(database, neighbours, np.broadcast_to(weights, neighbours.shape))
    return unit_rows(database + sums)


def _weighted_sums(database: np.ndarray, neighbours: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sum over k of weights[i, k] * database[neighbours[i, k]], (I, D)."""
    sums = np.zeros((len(neighbours), database.shape[1]), dtype=np.float32)
    if not neighbours.size:
        return sums
    rows = max(1, int(_BLOCK_BYTES / (4 * neighbours.shape[1] * database.shape[1])))
    for at in range(0, len(neighbours), rows):
        chosen = slice(at, at + rows)
        gathered = np.asarray(database[neighbours[chosen]], dtype=np.float32)
        sums[chosen] = np.einsum("ikd,ik->id", gathered, weights[chosen])
    return sums
