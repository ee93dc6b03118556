"""Two-dimensional embeddings of features, for looking at."""

from __future__ import annotations

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from ssl_kedro.core.seeding import derived_seed


def embed_2d(features: np.ndarray, *, seed: int, perplexity: float = 30.0) -> np.ndarray:
    """t-SNE of features, started from their principal components.

    Args:
        features: (N, D), N >= 4.
        seed: of the optimisation.
        perplexity: effective number of neighbours, lowered to (N - 1) / 3 where N is small.

    Returns:
        (N, 2) float32 coordinates; only neighbourhoods in it mean anything.

    Raises:
        ValueError: fewer than four samples.
    """
    if len(features) < 4:
        raise ValueError(f"an embedding needs at least 4 samples, found {len(features)}")
    components = min(50, *features.shape)
    random_state = derived_seed(seed, "embedding") % 2**32
    reduced = PCA(components, random_state=random_state).fit_transform(features)
    tsne = TSNE(
        2,
        perplexity=min(perplexity, (len(features) - 1) / 3),
        init="pca",
        random_state=random_state,
    )
    return np.asarray(tsne.fit_transform(reduced), dtype=np.float32)
