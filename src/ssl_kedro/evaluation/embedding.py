"""Two-dimensional embeddings of features, for looking at."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from ssl_kedro.core.config import Config, Range
from ssl_kedro.core.extras import require
from ssl_kedro.core.seeding import derived_seed


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


def embed_2d(
    features: np.ndarray, config: EmbeddingConfig | None = None, *, seed: int
) -> np.ndarray:
    """UMAP of features by Euclidean distance (McInnes et al. 2018), as in Figure 6.2.

    It runs on one thread: with more, UMAP does not repeat itself. The first call in a process
    takes seconds longer, in which numba compiles.

    Args:
        features: (N, D), N >= 4.
        config: ``neighbours``, lowered to N - 1 where N is small, and ``min_dist``; None =
            their defaults.
        seed: of the optimisation.

    Returns:
        (N, 2) float32 coordinates; only neighbourhoods in it mean anything.

    Raises:
        ValueError: fewer than four samples.
    """
    if len(features) < 4:
        raise ValueError(f"an embedding needs at least 4 samples, found {len(features)}")
    require("an embedding in two dimensions", "umap")
    from umap import UMAP  # noqa: PLC0415  slow to import: it loads numba

    config = config or EmbeddingConfig()
    umap = UMAP(
        n_neighbors=min(config.neighbours, len(features) - 1),
        min_dist=config.min_dist,
        random_state=derived_seed(seed, "embedding") % 2**32,
        n_jobs=1,
    )
    return np.asarray(umap.fit_transform(features), dtype=np.float32)
