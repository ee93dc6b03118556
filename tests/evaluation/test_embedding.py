from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness

import ssl_kedro
from conftest import Project
from ssl_kedro.core.config import ConfigError
from ssl_kedro.core.seeding import numpy_generator
from ssl_kedro.evaluation.embedding import EmbeddingConfig, embed_2d

SOURCE = Path(ssl_kedro.__file__).parents[1]


def clusters(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Two Gaussians, 50 deviations apart, and which one each sample is from."""
    labels = np.arange(count) % 2
    noise = np.random.default_rng(0).normal(size=(count, 10))
    return (noise + 50 / np.sqrt(10) * labels[:, None]).astype(np.float32), labels


def run_python(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(SOURCE)!r})\n{program}"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("count", [40, 200])
def test_separate_clusters_stay_separate(count: int) -> None:
    features, labels = clusters(count)
    points = embed_2d(features, seed=0)
    assert points.shape == (count, 2)
    assert points.dtype == np.float32
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    same = labels[:, None] == labels[None]
    assert distances[same].max() < distances[~same].min()


def test_neighbourhoods_of_digits_are_kept() -> None:
    images = load_digits().data[:500].astype(np.float32)
    points = embed_2d(images, seed=0)
    assert trustworthiness(images, points, n_neighbors=10) > 0.9
    # Two principal components do not reach that, so the bar means something.
    assert trustworthiness(images, PCA(2).fit_transform(images), n_neighbors=10) < 0.87


def test_equal_seeds_give_equal_numbers() -> None:
    features, _ = clusters(60)
    points = embed_2d(features, seed=3)
    assert np.array_equal(points, embed_2d(features, seed=3))
    assert not np.array_equal(points, embed_2d(features, seed=4))


def test_equal_seeds_give_equal_numbers_in_another_process_too(finished: Project) -> None:
    """In the run's, which wrote them down: to compile UMAP takes ten seconds in every process."""
    outputs = finished.path / "data/07_model_output/dual_gating.budget_50"
    features = load_file(outputs / "features.safetensors")["gated.eval"]
    drawn = numpy_generator(0, "embedding sample").choice(len(features), 40, replace=False)
    frame = pd.read_csv(finished.results / "embedding.csv", dtype={"x": "f4", "y": "f4"})
    shown = frame[(frame.model == "dual.budget_50") & (frame.branch == "gated")]
    points = embed_2d(features[np.sort(drawn)], seed=0)
    assert shown[["x", "y"]].to_numpy().tobytes() == points.tobytes()


def test_the_global_generator_is_left_alone() -> None:
    features, _ = clusters(20)
    np.random.seed(5)
    expected = np.random.rand(3)
    np.random.seed(5)
    embed_2d(features, seed=0)
    assert np.array_equal(np.random.rand(3), expected)


@pytest.mark.parametrize("count", [4, 5, 15, 16])
def test_few_samples_are_embedded_without_a_warning(count: int) -> None:
    features, _ = clusters(count)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        points = embed_2d(features, seed=0)
    assert points.shape == (count, 2)
    assert np.isfinite(points).all()


def test_collapsed_features_are_embedded() -> None:
    points = embed_2d(np.ones((30, 8), dtype=np.float32), seed=0)
    assert np.isfinite(points).all()


def test_fewer_than_four_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 4 samples, found 3"):
        embed_2d(np.zeros((3, 8), dtype=np.float32), seed=0)


def test_parameters_act_as_named() -> None:
    """A larger min_dist keeps nearest neighbours farther apart; neighbours change the rest."""
    features, _ = clusters(100)

    def nearest(points: np.ndarray) -> float:
        distances = np.linalg.norm(points[:, None] - points[None], axis=2)
        return float(np.median(np.sort(distances, axis=1)[:, 1]))

    tight = embed_2d(features, EmbeddingConfig(min_dist=0.0), seed=0)
    loose = embed_2d(features, EmbeddingConfig(min_dist=0.9), seed=0)
    assert nearest(loose) > 2 * nearest(tight)
    assert not np.array_equal(tight, embed_2d(features, EmbeddingConfig(neighbours=5), seed=0))


@pytest.mark.parametrize(
    ("field", "value"), [("neighbours", 1), ("min_dist", -0.1), ("min_dist", 1.1), ("samples", 7)]
)
def test_impossible_parameters_are_refused(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=field):
        EmbeddingConfig(**{field: value})  # type: ignore[arg-type]


def test_the_module_loads_neither_umap_nor_numba() -> None:
    loaded = run_python(
        "import ssl_kedro.evaluation.embedding; print(sorted({'umap', 'numba'} & set(sys.modules)))"
    )
    assert loaded.strip() == "[]"
