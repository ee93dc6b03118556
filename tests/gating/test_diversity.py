from __future__ import annotations

import pytest
import torch

from ssl_kedro.gating.budget import channel_diversity_loss


def slow(masks: list[list[list[float]]]) -> float:
    """Over nested lists: blocks, samples, channels."""
    terms = []
    for block in masks:
        channels = len(block[0])
        use = [sum(sample[c] for sample in block) / len(block) for c in range(channels)]
        mean = sum(use) / channels
        variance = sum((u - mean) ** 2 for u in use) / channels
        terms.append(variance / (mean**2 + 1e-4))
    return sum(terms) / len(terms)


def test_equals_the_loop_over_channels() -> None:
    generator = torch.Generator().manual_seed(0)
    masks = [
        (torch.rand(7, channels, generator=generator) < 0.4).double() for channels in (3, 8, 5)
    ]
    expected = slow([mask.tolist() for mask in masks])
    assert float(channel_diversity_loss(masks)) == pytest.approx(expected, rel=1e-12)


def test_is_zero_for_even_use_and_grows_with_dead_channels() -> None:
    even = torch.eye(4, dtype=torch.float64)
    half_dead = torch.tensor([[1.0, 1, 0, 0]] * 4, dtype=torch.float64)
    assert float(channel_diversity_loss([even])) == 0
    # use (1, 1, 0, 0): variance 1/4, mean 1/2
    assert float(channel_diversity_loss([half_dead])) == pytest.approx(0.25 / (0.25 + 1e-4))


def test_descending_wakes_the_dead_channel_and_keeps_the_mean() -> None:
    use = torch.tensor([[0.9, 0.9, 0.0, 0.6]], dtype=torch.float64, requires_grad=True)
    channel_diversity_loss([use]).backward()
    assert use.grad is not None
    assert int(use.grad.argmin()) == 2
    assert float(use.grad[0, 2]) < 0 < float(use.grad[0, 0])
    # Scaling all shares alike leaves the term (to its epsilon), so it does not pull at the cost.
    assert float((use.grad * use.detach()).sum()) == pytest.approx(0, abs=1e-3)
