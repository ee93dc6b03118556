from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ssl_kedro.losses.kullback_leibler import kullback_leibler


def maps(seed: int, count: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 4, 8, generator=generator, dtype=torch.float64) + 0.05


WEIGHTS = torch.linspace(0.2, 1.0, 4, dtype=torch.float64)[:, None].expand(4, 8)


def slow(prediction: Tensor, truth: Tensor, weights: Tensor) -> float:
    """Eq. 4.4 of one pair, pixel by pixel."""
    pixels = [(i, j) for i in range(4) for j in range(8)]
    y = {at: float(prediction[at] * weights[at]) for at in pixels}
    p = {at: float(truth[at] * weights[at]) for at in pixels}
    sum_y, sum_p = sum(y.values()), sum(p.values())
    return sum(p[at] / sum_p * math.log(p[at] / sum_p / (y[at] / sum_y)) for at in pixels)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("last", [False, True])
def test_equals_the_formula(weighted: bool, last: bool) -> None:
    prediction, truth = maps(0), maps(1)
    weights = WEIGHTS if weighted else torch.ones(4, 8, dtype=torch.float64)
    each = [slow(prediction[k], truth[k], weights) for k in range(3)]
    found = kullback_leibler(
        prediction, truth, WEIGHTS if weighted else None, last_sample_only=last
    )
    assert float(found) == pytest.approx(each[-1] if last else sum(each) / 3, abs=1e-10)


def test_scale_does_not_matter_and_equal_maps_are_zero_apart() -> None:
    truth = maps(2)
    assert float(kullback_leibler(3 * truth, truth)) == pytest.approx(0, abs=1e-10)
    peaked = torch.zeros(1, 4, 8)
    peaked[0, 1, 2] = 1
    assert float(kullback_leibler(torch.ones(1, 4, 8), peaked)) == pytest.approx(math.log(32))


def test_zeros_stay_finite() -> None:
    prediction = torch.rand(2, 4, 8)
    prediction[:, 0] = 0
    prediction.requires_grad_()
    loss = kullback_leibler(prediction, torch.rand(2, 4, 8))
    loss.backward()
    assert prediction.grad is not None
    assert torch.isfinite(loss)
    assert torch.isfinite(prediction.grad).all()


def test_gradient() -> None:
    prediction = maps(3).requires_grad_()
    assert torch.autograd.gradcheck(lambda y: kullback_leibler(y, maps(4), WEIGHTS), prediction)


def test_the_last_sample_alone_moves_nothing_else() -> None:
    prediction = maps(3).requires_grad_()
    kullback_leibler(prediction, maps(4), last_sample_only=True).backward()
    assert prediction.grad is not None
    assert not prediction.grad[:-1].any()
    assert prediction.grad[-1].any()


def test_shapes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match=r"one shape \(N, H, W\), found \(3, 4, 8\) and \(2, 4"):
        kullback_leibler(maps(0), maps(1, 2))
    with pytest.raises(ValueError, match=r"weights of shape \(4, 8\), found \(8, 4\)"):
        kullback_leibler(maps(0), maps(1), WEIGHTS.T)
