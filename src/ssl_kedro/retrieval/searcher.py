"""Global search of one database and re-ranking of what it finds, by one process or several.

Convention: see :mod:`ssl_kedro.retrieval.ranking`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np

from ssl_kedro.core.cluster import HERE, Workers
from ssl_kedro.core.config import Config, Range
from ssl_kedro.core.rows import ForOthers
from ssl_kedro.retrieval.index import FILL_BLOCK, build_index, refined, search_index
from ssl_kedro.retrieval.ranking import (
    RerankingConfig,
    augmented_database,
    expanded_queries,
    without,
)
from ssl_kedro.retrieval.search import full_rankings, similarities
from ssl_kedro.retrieval.shards import ShardedDescriptors, search_shards

# Below every similarity of unit vectors: where images without a descriptor stand.
_BELOW_ALL = -2.0
# Of a similarity, its two copies and its index, for the queries that are ranked at a time: so many
# at most, which is more than Oxford and Paris have. Each piece reads the database once.
_BLOCK_BYTES, _RANKED_BYTES, _RANKED = 1e9, 32, 128
# Of the candidates' rows that are read for the queries of a piece: a second or so, beside which
# sending it is little.
_REFINED_BYTES = 256e6


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
            Above 1 they also rank whole databases and order an index's results, some queries
            at a time.
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
        """Database indices, best first, (N, Q) where exact, else (depth, Q), int32.

        Exact ones are found for some queries at a time, as many for any number of workers.
        """
        if self.index is not None:
            return self.nearest(queries, self.config.depth).T.copy()
        found = np.empty((len(self.database), len(queries)), dtype=np.int32)
        size = int(_BLOCK_BYTES / (_RANKED_BYTES * max(1, len(self.database))))
        for at, ranked in self._by_queries(_ranked, queries, min(max(1, size), _RANKED)):
            found[:, at : at + ranked.shape[1]] = ranked
        return found

    def nearest(self, queries: np.ndarray, count: int) -> np.ndarray:
        """The first results, at most N, (Q, count), int32."""
        wanted = min(count, len(self.database))
        if self.index is None:
            pieces = ShardedDescriptors.cut(self.database, self.config.shards)
            _, found = search_shards(pieces, queries, wanted, workers=self.workers)
            return found.astype(np.int32)
        # By faiss' own threads; what takes long is to read the candidates.
        _, found = search_index(self.index, queries, wanted, probes=self.config.probes)
        found = found.astype(np.int32)
        if self.config.refine:
            size = max(1, int(_REFINED_BYTES / (4 * wanted * queries.shape[1])))
            for at, best in self._by_queries(_refined, queries, size, found):
                found[at : at + len(best)] = best
        return found

    def _by_queries(
        self,
        function: Callable[["_Asked"], np.ndarray],
        queries: np.ndarray,
        size: int,
        candidates: np.ndarray | None = None,
    ) -> Iterator[tuple[int, np.ndarray]]:
        """First of some queries, and what a function of :class:`_Asked` gives for them."""
        parts = [slice(at, at + size) for at in range(0, len(queries), size)]
        workers = HERE if len(parts) < 2 else self.workers
        lent = workers.lent(self.database)
        if lent.array is not None and not workers.here:
            workers = HERE  # on a cluster each piece would carry what is in memory alone
        pieces = (
            _Asked(lent, queries[one], None if candidates is None else candidates[one])
            for one in parts
        )
        for number, result in workers.results(function, pieces):
            yield parts[number].start, result

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


@dataclass(frozen=True)
class _Asked:
    """Some queries (Q, D), and of each the candidates of an index (Q, K), where there is one."""

    database: ForOthers
    queries: np.ndarray
    candidates: np.ndarray | None


def _ranked(asked: _Asked) -> np.ndarray:
    return full_rankings(similarities_unseen_last(asked.database.opened(), asked.queries))


def _refined(asked: _Asked) -> np.ndarray:
    candidates = np.asarray(asked.candidates)
    rows, count = asked.database.opened(), candidates.shape[1]
    return refined(rows, asked.queries, candidates, count)[1].astype(np.int32)


def similarities_unseen_last(database: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Inner products, (N, Q) float64; images without a descriptor (zero rows) below all others."""
    found = similarities(database, queries)
    found[~database.any(axis=1)] = _BELOW_ALL
    return found


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
