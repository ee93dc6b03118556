"""Losses against lightly's, an independent implementation of the same papers.

What differs between the two is stated in each test as a factor, and is all that differs.
"""

from __future__ import annotations

import pytest
import torch
from lightly.loss import BarlowTwinsLoss, DINOLoss, NTXentLoss, VICRegLoss
from lightly.loss.wmse_loss import Whitening2d, norm_mse_loss
from torch import Tensor

from ssl_kedro.losses.barlow_twins import BarlowTwinsConfig, barlow_twins_loss
from ssl_kedro.losses.dino import dino_loss
from ssl_kedro.losses.info_nce import nt_xent, queue_nce
from ssl_kedro.losses.vicreg import VICRegConfig, vicreg_loss
from ssl_kedro.losses.wmse import wmse_loss

SHAPES = [(2, 3), (16, 8), (32, 64), (128, 16)]


def views(count: int, dimensions: int) -> tuple[Tensor, Tensor]:
    """Two related float32 embeddings whose dimensions correlate and whose deviations
    straddle 1, so that no term of a loss vanishes."""
    generator = torch.Generator().manual_seed(100 * count + dimensions)
    z_1, noise = torch.randn(2, count, dimensions, generator=generator)
    mixing = torch.eye(dimensions) + 0.3 * torch.randn(dimensions, dimensions, generator=generator)
    scales = torch.linspace(0.2, 1.5, dimensions)
    z_1 = (z_1 @ mixing) * scales
    return z_1 + 0.5, z_1 + 0.3 * noise


def check_equal(
    ours: Tensor, theirs: Tensor, inputs: tuple[Tensor, Tensor], *, tolerance: float
) -> None:
    """Equal values and equal gradients for both views."""
    assert ours.item() == pytest.approx(theirs.item(), rel=tolerance)
    gradients = torch.autograd.grad(ours, inputs)
    for found, wanted in zip(gradients, torch.autograd.grad(theirs, inputs), strict=True):
        largest = wanted.abs().max().item()
        assert largest > 0
        torch.testing.assert_close(found, wanted, rtol=10 * tolerance, atol=tolerance * largest)


@pytest.mark.parametrize(("count", "dimensions"), SHAPES)
@pytest.mark.parametrize("weights", [(25.0, 25.0, 1.0), (3.0, 7.0, 11.0)])
def test_vicreg_official_is_lightlys(
    count: int, dimensions: int, weights: tuple[float, float, float]
) -> None:
    z_1, z_2 = (z.requires_grad_(True) for z in views(count, dimensions))
    ours, _ = vicreg_loss(z_1, z_2, VICRegConfig(*weights, convention="official"))
    theirs = VICRegLoss(*weights)(z_1, z_2)
    check_equal(ours, theirs, (z_1, z_2), tolerance=1e-5)


@pytest.mark.parametrize(("count", "dimensions"), SHAPES)
def test_vicreg_thesis_is_lightlys_with_twice_the_variance_weight(
    count: int, dimensions: int
) -> None:
    """lightly follows the paper's own code, which halves the sum of the variance terms."""
    z_1, z_2 = (z.requires_grad_(True) for z in views(count, dimensions))
    ours, terms = vicreg_loss(z_1, z_2, VICRegConfig(25.0, 25.0, 1.0, convention="thesis"))
    theirs = VICRegLoss(lambda_param=25.0, mu_param=2 * 25.0, nu_param=1.0)(z_1, z_2)
    assert float(terms["variance"]) > 0.01
    check_equal(ours, theirs, (z_1, z_2), tolerance=1e-5)


@pytest.mark.parametrize(("count", "dimensions"), SHAPES)
@pytest.mark.parametrize(("redundancy", "scale"), [(0.0051, 0.024), (0.0051, 1.0), (0.7, 0.1)])
def test_barlow_twins_is_lightlys_times_the_scale(
    count: int, dimensions: int, redundancy: float, scale: float
) -> None:
    """Same standardisation (batch norm, biased variance, 1e-5), same division by N.

    The factor on the whole loss is the only difference: lightly has none. In float64, since
    the gradient of two samples' correlation is all cancellation.
    """
    z_1, z_2 = (z.double().requires_grad_(True) for z in views(count, dimensions))
    ours, _ = barlow_twins_loss(z_1, z_2, BarlowTwinsConfig(redundancy, scale))
    theirs = scale * BarlowTwinsLoss(lambda_param=redundancy)(z_1, z_2)
    check_equal(ours, theirs, (z_1, z_2), tolerance=1e-9)


@pytest.mark.parametrize(("count", "dimensions"), SHAPES)
@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_nt_xent_is_lightlys(count: int, dimensions: int, temperature: float) -> None:
    z_1, z_2 = (z.double().requires_grad_(True) for z in views(count, dimensions))
    theirs = NTXentLoss(temperature=temperature)(z_1, z_2)
    check_equal(nt_xent(z_1, z_2, temperature), theirs, (z_1, z_2), tolerance=1e-9)


@pytest.mark.parametrize(("count", "dimensions"), SHAPES)
def test_queue_nce_is_lightlys_with_a_memory_bank(count: int, dimensions: int) -> None:
    """lightly takes one direction; its bank holds unit vectors, as ours."""
    query, key = (z.double() for z in views(count, dimensions))
    query.requires_grad_(True)
    peer = NTXentLoss(temperature=0.2, memory_bank_size=(40, dimensions)).double()
    queue = peer.memory_bank.bank.clone()
    ours, theirs = queue_nce(query, key, queue, 0.2), peer(query, key)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    (found,), (wanted,) = (torch.autograd.grad(loss, query) for loss in (ours, theirs))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(("count", "dimensions"), SHAPES)
def test_dino_of_two_views_is_lightlys(count: int, dimensions: int) -> None:
    """Both take the mean over the two crossed pairs, each centred by what was before the step."""
    s_1, s_2 = (z.double().requires_grad_(True) for z in views(count, dimensions))
    t_1, t_2 = (z.double().flip(1) for z in views(count + 1, dimensions))
    t_1, t_2 = t_1[:count], t_2[:count]
    peer = DINOLoss(dimensions, student_temp=0.3).double()
    peer.center = torch.linspace(-1, 1, dimensions, dtype=torch.float64)[None, None]
    centre = peer.center[0, 0].clone()
    ours = dino_loss((s_1, s_2), (t_1, t_2), centre, 0.3, torch.tensor(0.5))
    theirs = peer([t_1, t_2], [s_1, s_2], teacher_temp=0.5)
    check_equal(ours, theirs, (s_1, s_2), tolerance=1e-9)


@pytest.mark.parametrize(("count", "dimensions"), [(16, 8), (128, 64)])
def test_wmse_of_one_part_is_lightlys(count: int, dimensions: int) -> None:
    """lightly draws its parts anew several times a step; one part leaves nothing to draw."""
    z_1, z_2 = (z.double().requires_grad_(True) for z in views(count, dimensions))
    whitening = Whitening2d(dimensions, track_running_stats=False).double()
    theirs = norm_mse_loss(whitening(z_1), whitening(z_2))
    check_equal(wmse_loss(z_1, z_2, count), theirs, (z_1, z_2), tolerance=1e-9)
