"""Query expansion and database-side augmentation (thesis 3.4.1).

Convention: descriptors are unit vectors, float32, database (N, D) and queries (Q, D);
neighbours are database indices, nearest first, (Q, K) or (N, K). A weight for each of them
says how much it counts; 0 leaves it out.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from ssl_kedro.core.config import Config, Range
from ssl_kedro.retrieval.whitening import unit_rows

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


def without(neighbours: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Neighbours less one row each, (Q, K) -> (Q, K - 1); the last goes where it is not there.

    Args:
        neighbours: (Q, K).
        rows: to leave out, (Q,); -1 leaves the last out.
    """
    matches = neighbours == rows[:, None]
    matches[~matches.any(axis=1), -1] = True
    return np.asarray(neighbours[~matches].reshape(len(neighbours), -1))


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
