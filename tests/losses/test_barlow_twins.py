from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ssl_kedro.losses.barlow_twins import BarlowTwinsConfig, barlow_twins_loss


def slow_standardised(z: list[list[float]]) -> list[list[float]]:
    """Batch norm without affine part, by loops: biased variance plus 1e-5."""
    n, d = len(z), len(z[0])
    result = [[0.0] * d for _ in range(n)]
    for j in range(d):
        mean = sum(row[j] for row in z) / n
        variance = sum((row[j] - mean) ** 2 for row in z) / n
        for i in range(n):
            result[i][j] = (z[i][j] - mean) / math.sqrt(variance + 1e-5)
    return result


def slow_terms(z_1: Tensor, z_2: Tensor) -> tuple[float, float]:
    """Diagonal and off-diagonal term (Zbontar et al. 2021, eq. 1), by loops over floats."""
    a, b = slow_standardised(z_1.tolist()), slow_standardised(z_2.tolist())
    n, d = len(a), len(a[0])
    on, off = 0.0, 0.0
    for i in range(d):
        for j in range(d):
            c = sum(a[k][i] * b[k][j] for k in range(n)) / n
            if i == j:
                on += (1 - c) ** 2
            else:
                off += c * c
    return on, off


def views(count: int, dimensions: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two related embeddings, off centre and of unequal scales, in float64."""
    generator = torch.Generator().manual_seed(seed)
    z_1, noise = torch.randn(2, count, dimensions, generator=generator, dtype=torch.float64)
    scales = torch.linspace(0.1, 3, dimensions, dtype=torch.float64)
    return z_1 * scales + 2, (z_1 + 0.5 * noise) * scales.flip(0) - 1


@pytest.mark.parametrize(("count", "dimensions"), [(2, 3), (7, 5), (4, 9), (6, 1)])
@pytest.mark.parametrize(("redundancy", "scale"), [(0.0051, 0.024), (0.5, 1.0), (0.0, 3.0)])
def test_loss_equals_the_float64_loop(
    count: int, dimensions: int, redundancy: float, scale: float
) -> None:
    z_1, z_2 = views(count, dimensions)
    on, off = slow_terms(z_1, z_2)
    loss, terms = barlow_twins_loss(z_1, z_2, BarlowTwinsConfig(redundancy, scale))
    assert float(loss) == pytest.approx(scale * (on + redundancy * off), rel=1e-12)
    assert float(terms["on_diagonal"]) == pytest.approx(on, rel=1e-12)
    assert float(terms["off_diagonal"]) == pytest.approx(off, rel=1e-9, abs=1e-12)


def test_gradients_are_those_of_finite_differences() -> None:
    z_1, z_2 = views(6, 4, seed=1)
    config = BarlowTwinsConfig(redundancy=0.3, scale=0.7)

    def loss(a: Tensor, b: Tensor) -> Tensor:
        return barlow_twins_loss(a, b, config)[0]

    assert torch.autograd.gradcheck(loss, (z_1.requires_grad_(True), z_2.requires_grad_(True)))


def test_defaults_are_those_of_table_6_4() -> None:
    config = BarlowTwinsConfig()
    assert (config.redundancy, config.scale) == (0.0051, 0.024)


def test_equal_views_of_independent_dimensions_cost_nothing() -> None:
    """Rows of a Hadamard matrix: every dimension +-1, none correlated with another."""
    signs = torch.tensor([[1, 1, 1], [-1, 1, -1], [1, -1, -1], [-1, -1, 1]], dtype=torch.float64)
    loss, terms = barlow_twins_loss(signs, signs, BarlowTwinsConfig())
    # C = I / (1 + 1e-5): what the epsilon leaves is 1e-5 a dimension, squared.
    assert float(terms["on_diagonal"]) == pytest.approx(3 * 1e-10, rel=1e-3)
    assert float(terms["off_diagonal"]) == pytest.approx(0, abs=1e-20)
    assert float(loss) == pytest.approx(0.024 * 3 * 1e-10, rel=1e-3)


def test_opposite_and_repeated_dimensions_have_their_closed_forms() -> None:
    column = torch.tensor([[3.0], [-3.0], [3.0], [-3.0]], dtype=torch.float64)
    d = 4
    z = column.expand(-1, d)
    # Opposite views: every C_ij = -1, so (1 - C_ii)^2 = 4 and C_ij^2 = 1.
    _, terms = barlow_twins_loss(z, -z, BarlowTwinsConfig())
    assert float(terms["on_diagonal"]) == pytest.approx(4 * d, rel=1e-5)
    assert float(terms["off_diagonal"]) == pytest.approx(d * (d - 1), rel=1e-5)


def test_collapsed_embeddings_cost_the_whole_diagonal_and_have_finite_gradients() -> None:
    z_1 = torch.ones(8, 5, requires_grad=True)
    loss, terms = barlow_twins_loss(z_1, torch.ones(8, 5), BarlowTwinsConfig())
    assert float(terms["on_diagonal"]) == 5
    assert float(terms["off_diagonal"]) == 0
    loss.backward()
    assert z_1.grad is not None
    assert torch.isfinite(z_1.grad).all()


def test_shift_scale_and_order_of_the_batch_change_nothing() -> None:
    z_1, z_2 = views(16, 6, seed=2)
    config = BarlowTwinsConfig()
    expected = float(barlow_twins_loss(z_1, z_2, config)[0])
    order = torch.randperm(16, generator=torch.Generator().manual_seed(3))
    assert float(barlow_twins_loss(z_1[order], z_2[order], config)[0]) == pytest.approx(expected)
    # The transpose of C has the same diagonal and the same sum of squares.
    assert float(barlow_twins_loss(z_2, z_1, config)[0]) == pytest.approx(expected)
    # Up to the epsilon, which weighs less the larger the variance.
    large = float(barlow_twins_loss(1e3 * z_1 + 7, 1e3 * z_2 - 7, config)[0])
    larger = float(barlow_twins_loss(1e4 * z_1 - 3, 1e4 * z_2 + 3, config)[0])
    assert large == pytest.approx(larger, rel=1e-7)


def test_terms_are_not_part_of_the_graph() -> None:
    z_1, z_2 = views(4, 3)
    loss, terms = barlow_twins_loss(z_1.requires_grad_(True), z_2, BarlowTwinsConfig())
    assert loss.requires_grad
    assert not any(term.requires_grad for term in terms.values())


def test_bad_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 samples"):
        barlow_twins_loss(torch.ones(1, 3), torch.ones(1, 3), BarlowTwinsConfig())
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(2, 4\)"):
        barlow_twins_loss(torch.ones(2, 3), torch.ones(2, 4), BarlowTwinsConfig())
    with pytest.raises(ValueError, match=r"two \(N, D\) embeddings"):
        barlow_twins_loss(torch.ones(2, 3, 1), torch.ones(2, 3, 1), BarlowTwinsConfig())
