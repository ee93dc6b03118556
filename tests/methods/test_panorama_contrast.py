from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from ssl_kedro.core.config import ConfigError
from ssl_kedro.encoders.panorama_encoder import (
    PanoramaEncoder,
    PanoramaEncoderConfig,
    macs_by_hooks,
)
from ssl_kedro.losses.memory_nce import chance_loss, memory_nce
from ssl_kedro.methods.panorama_contrast import (
    ContrastConfig,
    PanoramaContrast,
    equivalent_temperature,
)
from ssl_kedro.methods.panorama_heads import ViewAttention, global_head, local_head

SIZE = (64, 128)
COUNT = 12


def method(architecture: str = "resnet50", **changes: object) -> PanoramaContrast:
    torch.manual_seed(0)
    config = PanoramaEncoderConfig(architecture=architecture, width=0.1)  # type: ignore[arg-type]
    values = {"negatives": 20, "embedding": 16, **changes}
    return PanoramaContrast(
        PanoramaEncoder(config),
        ContrastConfig(**values),  # type: ignore[arg-type]
        COUNT,
        0,
        SIZE,
    )


def views(seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    both = torch.rand(2, 4, 3, *SIZE, generator=generator)
    return both[0], both[1]


INDICES = torch.tensor([5, 0, 11, 3])


def slow_attention(attention: ViewAttention, source: Tensor, other: Tensor) -> Tensor:
    """Cell by cell: where each cell of the source looks among 2 x 2 pooled cells."""
    query, key, value = attention.query(source), attention.key(other), attention.value(other)
    _, _, h, w = other.shape
    places = [(i, j) for i in range(h // 2) for j in range(w // 2)]

    def pooled(maps: Tensor, at: tuple[int, int]) -> Tensor:
        i, j = at
        return maps[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].amax(dim=(2, 3))

    found = torch.empty(len(other), value.shape[1], h, w)
    for i in range(h):
        for j in range(w):
            scores = torch.stack([(query[:, :, i, j] * pooled(key, p)).sum(1) for p in places], 1)
            weights = torch.softmax(scores, dim=1)
            values = torch.stack([pooled(value, p) for p in places], 2)
            found[:, :, i, j] = (values * weights[:, None]).sum(2)
    return attention.gamma * attention.out(found) + other


def test_attention_between_views() -> None:
    attention = ViewAttention(16, 0.25)
    source, other = torch.rand(2, 3, 16, 4, 8)
    assert torch.equal(attention(source, other), other)
    with torch.no_grad():
        attention.gamma.fill_(0.7)
    torch.testing.assert_close(attention(source, other), slow_attention(attention, source, other))


def test_heads_have_the_thesis_layers() -> None:
    network = PanoramaEncoder(PanoramaEncoderConfig())
    head = global_head(network, (10, 20), 512)
    # 1x1 512-1024-1024 with BN; layer4 of ResNet-50 from 1024 channels; FC 2048-512-512 with BN.
    layer4 = 14_964_736
    own = 512 * 1024 + 1024 * 1024 + 2 * 2048 + 2048 * 512 + 512 + 1024 + 512 * 512 + 512
    assert sum(p.numel() for p in head.parameters()) == layer4 + own
    vgg = PanoramaEncoder(PanoramaEncoderConfig(architecture="vgg16"))
    connected = [m for m in global_head(vgg, (10, 20), 512) if isinstance(m, torch.nn.Linear)]  # type: ignore[attr-defined]
    assert connected[0].in_features == 18432
    local = local_head(network, 512)
    assert sum(p.numel() for p in local.parameters()) == 512 * 512 + 512 + 512 * 512 + 1024


@pytest.mark.parametrize("architecture", ["resnet50", "vgg16"])
@pytest.mark.parametrize("attention", [True, False])
def test_the_loss_is_lambda_local_plus_the_rest_global(architecture: str, attention: bool) -> None:
    trained = method(architecture, attention=attention, local_weight=0.9)
    trained.before_step(0.0, INDICES)
    found = trained(views(), 0.0, torch.Generator().manual_seed(3))
    expected = 0.9 * found.scalars["local_loss"] + 0.1 * found.scalars["global_loss"]
    assert float(found.loss.detach()) == pytest.approx(float(expected), rel=1e-5)
    assert ("gamma" in found.scalars) == attention
    found.loss.backward()
    assert all(p.grad is not None for p in trained.encoder.parameters())


def test_local_scores_are_the_mean_over_cells() -> None:
    trained = method(attention=False).eval()
    source, other = views()
    trained.before_step(0.0, INDICES)
    with torch.no_grad():
        found = trained((source, other), 0.0, torch.Generator().manual_seed(3))
        cells = functional.normalize(trained.local_head(trained.encoder(other)), dim=1)
        negatives = torch.randint(COUNT, (4, 20), generator=torch.Generator().manual_seed(3))
        offset = trained.bank.log_normaliser[1] + torch.tensor(20 / COUNT).log()
        total = 0.0
        for k in range(4):
            # m . z of every cell, then the mean, then 1 / tau.
            scores = torch.einsum("nd,dij->nij", trained.bank.vectors, cells[k]).mean((1, 2)) / 0.07
            total += float(functional.softplus(offset - scores[INDICES[k]]))
            total += float(functional.softplus(scores[negatives[k]] - offset).sum())
    assert float(found.scalars["local_loss"]) == pytest.approx(total / 4, rel=1e-4)


def test_the_bank_follows_the_source_view_of_the_batch() -> None:
    trained = method()
    before = trained.bank.vectors.clone()
    trained.before_step(0.0, INDICES)
    trained(views(), 0.0, torch.Generator())
    assert torch.equal(trained.bank.vectors, before)
    trained.after_update(torch.empty(0), 0.0)
    others = sorted(set(range(COUNT)) - set(INDICES.tolist()))
    assert torch.equal(trained.bank.vectors[others], before[others])
    assert not torch.isclose(trained.bank.vectors[INDICES], before[INDICES]).all(dim=1).any()
    assert "bank.vectors" in trained.state_dict()


def test_cost_is_three_passes_of_two_views() -> None:
    trained = method()
    assert trained.macs_per_image == 6 * macs_by_hooks(trained.encoder, (3, *SIZE))


def test_temperature_keeps_the_cosine_that_an_image_settles_at() -> None:
    thesis = method(temperature=0.07).temperature
    assert thesis == 0.07
    assert equivalent_temperature(90_000) == pytest.approx(0.07, rel=1e-12)
    # Z = n: p(own) = exp(cosine / tau) / n is 1 at the cosine tau log n, whatever n.
    for count in (12, 80, 2000):
        assert equivalent_temperature(count) * math.log(count) == pytest.approx(
            0.07 * math.log(90_000), rel=1e-12
        )
    assert method(temperature=None).temperature == equivalent_temperature(COUNT)


@pytest.mark.parametrize(
    ("temperature", "sound"), [(0.07, False), (equivalent_temperature(80), True)]
)
def test_few_images_may_be_somewhat_alike(temperature: float, sound: bool) -> None:
    """At .8 to its own vector and .35 either way to others, one pays less than for chance."""
    count, negatives = 80, 256
    positive = torch.full((1,), 0.8, dtype=torch.float64) / temperature
    negative = torch.full((1, negatives), 0.35, dtype=torch.float64) / temperature
    negative[:, ::2] *= -1
    log_z = torch.tensor(math.log(count), dtype=torch.float64)
    found = float(memory_nce(positive, negative, log_z, count))
    assert (found < chance_loss(negatives)) == sound


def test_the_temperature_reaches_the_loss() -> None:
    losses = {}
    for temperature in (0.07, None):
        trained = method(temperature=temperature)
        trained.before_step(0.0, INDICES)
        found = trained(views(), 0.0, torch.Generator().manual_seed(3))
        losses[temperature] = float(found.loss.detach())
    assert losses[0.07] != pytest.approx(losses[None], rel=1e-3)


def test_a_single_panorama_has_nothing_to_be_told_from() -> None:
    with pytest.raises(ConfigError, match="fewer than two panoramas"):
        equivalent_temperature(1)
