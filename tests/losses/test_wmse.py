"""W-MSE against loops in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ssl_kedro.losses.wmse import whitened_rows, wmse_loss


def drawn(count: int, seed: int, dimensions: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(count, dimensions, generator=generator, dtype=torch.float64)
    return z @ torch.randn(dimensions, dimensions, generator=generator, dtype=torch.float64) + 2


def whitened_by_substitution(z: Tensor) -> Tensor:
    """Rows of z through the inverse Cholesky factor of their covariance, number by number."""
    n, d = z.shape
    mean = [sum(float(z[i, j]) for i in range(n)) / n for j in range(d)]
    x = [[float(z[i, j]) - mean[j] for j in range(d)] for i in range(n)]
    s = [[sum(r[a] * r[b] for r in x) / (n - 1) for b in range(d)] for a in range(d)]
    factor = [[0.0] * d for _ in range(d)]
    for a in range(d):
        for b in range(a + 1):
            rest = s[a][b] - sum(factor[a][k] * factor[b][k] for k in range(b))
            factor[a][b] = rest**0.5 if a == b else rest / factor[b][b]
    rows = []
    for row in x:
        solved: list[float] = []
        for a in range(d):
            solved.append((row[a] - sum(factor[a][k] * solved[k] for k in range(a))) / factor[a][a])
        rows.append(solved)
    return torch.tensor(rows, dtype=torch.float64)


def test_value_by_loops_over_parts() -> None:
    z_1, z_2 = drawn(12, 0), drawn(12, 1)
    total = 0.0
    for start in (0, 6):
        pair = [whitened_by_substitution(z[start : start + 6]) for z in (z_1, z_2)]
        for a, b in zip(*pair, strict=True):
            total += float(2 - 2 * (a @ b) / (a.norm() * b.norm()))
    assert float(wmse_loss(z_1, z_2, 6)) == pytest.approx(total / 12, rel=1e-10)


def test_parts_are_white() -> None:
    parts = whitened_rows(drawn(40, 3).reshape(2, 20, 3))
    for part in parts:
        torch.testing.assert_close(part.T.cov(), torch.eye(3, dtype=torch.float64))
        torch.testing.assert_close(
            part.mean(0), torch.zeros(3, dtype=torch.float64), atol=1e-12, rtol=0
        )


def test_gradient() -> None:
    z = drawn(8, 0).requires_grad_(), drawn(8, 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: wmse_loss(a, b, 4), z)


def test_scale_and_mixture_of_dimensions_do_not_matter() -> None:
    z_1, z_2 = drawn(12, 0), drawn(12, 1)
    lower = torch.tensor([[2.0, 0, 0], [0.5, 3, 0], [-1, 0.2, 0.1]], dtype=torch.float64)
    mixed = wmse_loss(z_1 @ lower.T + 5, z_2, 6)
    assert float(mixed) == pytest.approx(float(wmse_loss(z_1, z_2, 6)), rel=1e-9)


def test_a_part_of_too_few_directions_is_nan_and_leaves_the_others() -> None:
    parts = drawn(40, 3, dimensions=6).reshape(2, 20, 6)
    parts[1, 3:] = parts[1, torch.arange(17) % 3]  # three points span a plane
    found = whitened_rows(parts)
    assert bool(found[1].isnan().all())
    assert torch.equal(found[0], whitened_rows(parts[:1])[0])


def test_rows_that_stand_together_are_whitened_together() -> None:
    """What stands in one part matters, the order within it does not."""
    z_1, z_2 = drawn(12, 0), drawn(12, 1)
    within = [*range(5, -1, -1), *range(6, 12)]
    across = [*range(0, 12, 2), *range(1, 12, 2)]
    expected = float(wmse_loss(z_1, z_2, 6))
    assert float(wmse_loss(z_1[within], z_2[within], 6)) == pytest.approx(expected, rel=1e-9)
    assert float(wmse_loss(z_1[across], z_2[across], 6)) != pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("sub_batch", [5, 3])
def test_rows_that_cannot_be_parted_are_refused(sub_batch: int) -> None:
    with pytest.raises(ValueError, match=f"12 rows of 3 dimensions .* parts of {sub_batch}"):
        wmse_loss(drawn(12, 0), drawn(12, 1), sub_batch)
