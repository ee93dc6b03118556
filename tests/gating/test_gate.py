from __future__ import annotations

import math

import pytest
import torch

from ssl_kedro.gating.gate import ChannelGate, global_average, straight_through_sample


def test_training_opens_a_channel_with_probability_sigmoid_of_its_logit() -> None:
    logits = torch.tensor([-3.0, -1.0, -0.2, 0.0, 0.7, 2.0])
    draws = 20_000
    samples = straight_through_sample(
        logits.expand(draws, -1), 2 / 3, torch.Generator().manual_seed(0)
    )
    assert set(samples.unique().tolist()) == {0.0, 1.0}
    expected = 1 / (1 + torch.exp(-logits))
    error = (samples.mean(dim=0) - expected).abs()
    # Five standard errors of a Bernoulli mean.
    assert (error < 5 * (expected * (1 - expected) / draws).sqrt()).all()


def test_gradient_is_that_of_the_relaxed_sample() -> None:
    logits = torch.linspace(-2, 2, 9, dtype=torch.float64, requires_grad=True)
    temperature = 2 / 3
    sample = straight_through_sample(logits, temperature, torch.Generator().manual_seed(3))
    sample.sum().backward()
    uniform = torch.rand(9, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    for index in range(9):
        u = float(uniform[index])
        noise = math.log(u) - math.log(1 - u)
        relaxed = 1 / (1 + math.exp(-(float(logits.detach()[index]) + noise) / temperature))
        assert float(logits.grad[index]) == pytest.approx(
            relaxed * (1 - relaxed) / temperature, rel=1e-9
        )
        assert float(sample.detach()[index]) == float(relaxed >= 0.5)


def test_evaluation_opens_where_the_logit_is_not_negative_and_draws_nothing() -> None:
    torch.manual_seed(0)
    gate = ChannelGate(8, 16).eval()
    x = torch.randn(5, 8, 6, 6)
    state = torch.get_rng_state()
    mask = gate(x)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(mask, (gate.logits(x) >= 0).float())


def test_logits_follow_equation_6_2() -> None:
    torch.manual_seed(1)
    gate = ChannelGate(8, 12).double().eval()
    gate.norm.running_mean.normal_()
    gate.norm.running_var.uniform_(0.5, 2)
    x = torch.randn(3, 8, 4, 5, dtype=torch.float64)
    for sample in range(3):
        context = [float(x[sample, c].mean()) for c in range(8)]
        hidden = []
        for h in range(2):
            value = sum(float(gate.squeeze.weight[h, c]) * context[c] for c in range(8))
            value -= float(gate.norm.running_mean[h])
            value /= math.sqrt(float(gate.norm.running_var[h]) + gate.norm.eps)
            hidden.append(max(0.0, value))
        for channel in range(12):
            expected = sum(float(gate.expand.weight[channel, h]) * hidden[h] for h in range(2))
            # The pooled vector is float32 by design.
            found = gate.expand(torch.relu(gate.norm(gate.squeeze(x.mean(dim=(2, 3))))))
            assert float(found[sample, channel]) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_gate_logits_do_not_depend_on_autocast() -> None:
    torch.manual_seed(2)
    gate = ChannelGate(16, 16).eval()
    x = torch.randn(4, 16, 8, 8)
    plain = gate.logits(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(gate.logits(x), plain)


def test_macs_of_the_gate_by_hand() -> None:
    assert ChannelGate(64, 128).macs == 64 * 16 + 16 * 128


def test_global_average_equals_mean_and_has_its_gradient() -> None:
    x = torch.randn(2, 3, 4, 5, requires_grad=True)
    assert torch.allclose(global_average(x), x.mean(dim=(2, 3)), atol=1e-7)
    global_average(x).sum().backward()
    assert torch.allclose(x.grad, torch.full_like(x, 1 / 20))


def test_opening_holds_the_gate_open_in_training_only() -> None:
    torch.manual_seed(0)
    gate = ChannelGate(8, 16)
    logits = torch.linspace(-4, 4, 4000)
    gate.opening = 20.0
    assert bool((gate.sample(logits) == 1).all())
    gate.opening = 2.0
    mask = gate.sample(torch.full((4000,), -1.0))
    assert float(mask.mean()) == pytest.approx(1 / (1 + math.exp(-1.0)), abs=0.03)
    gate.eval()
    assert torch.equal(gate.sample(logits), (logits >= 0).float())
