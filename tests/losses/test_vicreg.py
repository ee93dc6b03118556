from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ssl_kedro.losses.vicreg import VICRegConfig, covariance_term, variance_term, vicreg_loss


def slow_terms(z: list[list[float]]) -> tuple[float, float]:
    """Variance and covariance terms of equation 6.1, by loops over Python floats."""
    n, d = len(z), len(z[0])
    means = [sum(row[j] for row in z) / n for j in range(d)]
    variance, covariance = 0.0, 0.0
    for i in range(d):
        var = sum((row[i] - means[i]) ** 2 for row in z) / (n - 1)
        variance += max(0.0, 1 - math.sqrt(var + 1e-4)) / d
        for j in range(d):
            if i != j:
                c = sum((row[i] - means[i]) * (row[j] - means[j]) for row in z) / (n - 1)
                covariance += c * c / d
    return variance, covariance


def slow_loss(z_1: Tensor, z_2: Tensor, convention: str) -> float:
    """Equation 2.5: s = 1/n sum_i |z_i^1 - z_i^2|^2, of which others take the mean over d."""
    a, b = z_1.tolist(), z_2.tolist()
    n, d = len(a), len(a[0])
    distance = sum(sum((a[i][j] - b[i][j]) ** 2 for j in range(d)) for i in range(n)) / n
    (v_1, c_1), (v_2, c_2) = slow_terms(a), slow_terms(b)
    variance = (v_1 + v_2) / (2 if convention == "official" else 1)
    return 25 * distance / (1 if convention == "text" else d) + 25 * variance + (c_1 + c_2)


@pytest.mark.parametrize("convention", ["thesis", "official", "text"])
def test_loss_equals_the_float64_loop(convention: str) -> None:
    generator = torch.Generator().manual_seed(0)
    z_1 = torch.randn(7, 5, generator=generator, dtype=torch.float64) * 0.7
    z_2 = z_1 + 0.3 * torch.randn(7, 5, generator=generator, dtype=torch.float64)
    found, _ = vicreg_loss(z_1, z_2, VICRegConfig(convention=convention))  # type: ignore[arg-type]
    assert float(found) == pytest.approx(
        slow_loss(z_1.float().double(), z_2.float().double(), convention), rel=1e-5
    )


def test_terms_have_correct_gradients() -> None:
    generator = torch.Generator().manual_seed(1)
    z = 0.5 * torch.randn(6, 4, generator=generator, dtype=torch.float64)
    z.requires_grad_(True)
    assert torch.autograd.gradcheck(variance_term, (z,))
    assert torch.autograd.gradcheck(covariance_term, (z,))


def test_whitened_identical_embeddings_cost_nothing() -> None:
    """Unit variance, no correlation, no difference: the loss's minimum is 0."""
    generator = torch.Generator().manual_seed(2)
    q, _ = torch.linalg.qr(torch.randn(16, 5, generator=generator, dtype=torch.float64))
    # Orthonormal columns that sum to zero, scaled to unit (unbiased) variance.
    centred = q - q.mean(dim=0)
    q, _ = torch.linalg.qr(centred)
    z = q * math.sqrt(15) * 1.01
    found, terms = vicreg_loss(z, z, VICRegConfig())
    assert float(terms["covariance"]) == pytest.approx(0, abs=1e-6)
    assert float(found) == pytest.approx(0, abs=1e-6)


def test_collapse_costs_the_full_variance_hinge() -> None:
    z = torch.ones(8, 3)
    found, terms = vicreg_loss(z, z, VICRegConfig())
    # sqrt(1e-4) = .01 is all that is left of the deviation, in both views.
    assert float(terms["variance"]) == pytest.approx(2 * 0.99, rel=1e-6)
    assert float(found) == pytest.approx(25 * 2 * 0.99, rel=1e-6)


def test_weights_and_convention_act_as_named() -> None:
    generator = torch.Generator().manual_seed(3)
    z_1, z_2 = torch.randn(2, 9, 4, generator=generator) * 0.5
    _, terms = vicreg_loss(z_1, z_2, VICRegConfig())
    _, official = vicreg_loss(z_1, z_2, VICRegConfig(convention="official"))
    assert float(official["variance"]) == pytest.approx(float(terms["variance"]) / 2)
    for name in ("invariance", "variance", "covariance"):
        weights = {"invariance": 0.0, "variance": 0.0, "covariance": 0.0} | {name: 3.0}
        found, _ = vicreg_loss(z_1, z_2, VICRegConfig(**weights))  # type: ignore[arg-type]
        assert float(found) == pytest.approx(3 * float(terms[name]), rel=1e-6)


def test_bad_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 samples"):
        vicreg_loss(torch.ones(1, 3), torch.ones(1, 3), VICRegConfig())
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(2, 4\)"):
        vicreg_loss(torch.ones(2, 3), torch.ones(2, 4), VICRegConfig())
