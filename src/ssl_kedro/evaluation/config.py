"""Small configurations of the evaluations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ssl_kedro.core.config import Config, Range


@dataclass(frozen=True)
class KnnConfig(Config):
    """Nearest-neighbour evaluation.

    Args:
        k: neighbours that vote (1, thesis 6.5).
        normalise: L2-normalise features first (false for Tables 6.1 and 6.4-6.6, true for
            Table 6.3).
    """

    k: Annotated[int, Range(at_least=1)] = 1
    normalise: bool = False


@dataclass(frozen=True)
class EmbeddingConfig(Config):
    """Two-dimensional embedding for the report (UMAP, thesis Fig. 6.2).

    Args:
        samples: evaluation images shown.
        neighbours: of a point whose distances are kept (15, McInnes et al. 2018).
        min_dist: smallest distance of neighbours in the picture (0.1).
    """

    samples: Annotated[int, Range(at_least=8)] = 500
    neighbours: Annotated[int, Range(at_least=2)] = 15
    min_dist: Annotated[float, Range(at_least=0, at_most=1)] = 0.1
