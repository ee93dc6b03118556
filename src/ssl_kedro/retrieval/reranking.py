"""Query expansion and database-side augmentation (thesis 3.4.1).

Convention: descriptors are unit vectors, float32, database (N, D) and queries (Q, D);
neighbours are database indices, nearest first, (Q, K) or (N, K). A weight for each of them
says how much it counts; 0 leaves it out.
"""

from __future__ import annotations

import numpy as np

from ssl_kedro.retrieval.whitening import unit_rows

# Rows of neighbours gathered at a time: bounds the memory of N x K x D products.
_BLOCK_BYTES = 64e6


def expanded_queries(
    queries: np.ndarray,
    database: np.ndarray,
    neighbours: np.ndarray,
    *,
    similarities: np.ndarray | None = None,
    alpha: float = 0.0,
) -> np.ndarray:
    """Average query expansion, (Q, D): the query and its neighbours, added up.

    AQE is 1/(N + 1) (q_0 + sum of r_i) (Chum et al. 2007); the factor falls away with the
    length. With ``alpha`` above 0 each neighbour weighs similarity^alpha (alpha-QE,
    Radenovic et al. 2019, section 3.5); one that points away weighs nothing.

    Args:
        queries: (Q, D).
        database: (N, D).
        neighbours: the top N of each query, (Q, N).
        similarities: of these, (Q, N); needed where alpha is above 0.
        alpha: 0 = AQE.

    Raises:
        ValueError: shapes do not fit, or alpha without similarities.
    """
    if alpha < 0 or (alpha > 0 and similarities is None):
        raise ValueError(
            f"expected alpha = 0, or alpha above 0 with the neighbours' similarities; found "
            f"alpha = {alpha} and {'no' if similarities is None else 'with'} similarities"
        )
    if len(queries) != len(neighbours):
        raise ValueError(
            f"expected neighbours of each of {len(queries)} queries, found {neighbours.shape}"
        )
    weights = np.ones(neighbours.shape, dtype=np.float32)
    if alpha > 0 and similarities is not None:
        weights = np.maximum(similarities, 0).astype(np.float32) ** alpha
    return unit_rows(queries + _weighted_sums(database, neighbours, weights))


def augmented_database(
    database: np.ndarray, neighbours: np.ndarray, count: int | None = None
) -> np.ndarray:
    """Database-side augmentation, (N, D): each vector replaced by it and its neighbours.

    The neighbour of rank r among k weighs (k - r) / k, the vector itself is rank 0 and weighs
    1 (Arandjelovic & Zisserman 2012; Gordo et al. 2017, section 6.2). The thesis prints the
    weight as "kr/k", which would weigh the farthest most.

    Args:
        database: (N, D).
        neighbours: of each database vector, nearest first and without itself, (N, k or more).
        count: k; None = as many as are given. Of rank k the weight is 0.

    Raises:
        ValueError: fewer neighbours than k - 1.
    """
    k = neighbours.shape[1] if count is None else count
    if len(neighbours) != len(database) or neighbours.shape[1] < k - 1:
        raise ValueError(
            f"expected {k - 1} or more neighbours of each of {len(database)} database vectors, "
            f"found {neighbours.shape}"
        )
    used = neighbours[:, : max(k - 1, 0)]
    weights = (k - np.arange(1, used.shape[1] + 1, dtype=np.float32)) / max(k, 1)
    sums = _weighted_sums(database, used, np.broadcast_to(weights, used.shape))
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
