"""Local and global module as thesis 4.3.2 prints them, against loops in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ssl_kedro.encoders.panorama_encoder import PanoramaEncoder, PanoramaEncoderConfig
from ssl_kedro.methods.panorama_contrast import ContrastConfig, PanoramaContrast
from ssl_kedro.methods.panorama_heads import global_head, local_head

Weights = dict[str, np.ndarray]
EMBEDDING = 8


def network(architecture: str = "resnet50") -> PanoramaEncoder:
    torch.manual_seed(0)
    return PanoramaEncoder(PanoramaEncoderConfig(architecture=architecture, width=0.02))  # type: ignore[arg-type]


def moved(head: nn.Module) -> nn.Module:
    """Norms with weights of their own, which a reference would otherwise not have to know."""
    with torch.no_grad():
        for module in head.modules():
            if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.5, 0.5)
    return head


def weights_of(head: nn.Module) -> Weights:
    return {name: value.double().numpy() for name, value in head.state_dict().items()}


def convolved(x: np.ndarray, weight: np.ndarray, stride: int = 1) -> np.ndarray:
    """Place by place; (N, C, h, w), zeros around, as many as keep the size at stride 1."""
    side = weight.shape[-1]
    edge = side // 2
    x = np.pad(x, ((0, 0), (0, 0), (edge, edge), (edge, edge)))
    rows = range(0, x.shape[2] - side + 1, stride)
    columns = range(0, x.shape[3] - side + 1, stride)
    found = np.empty((len(x), len(weight), len(rows), len(columns)))
    for n in range(len(x)):
        for a, i in enumerate(rows):
            for b, j in enumerate(columns):
                patch = x[n, :, i : i + side, j : j + side]
                for k in range(len(weight)):
                    found[n, k, a, b] = (patch * weight[k]).sum()
    return found


def normed(x: np.ndarray, weights: Weights, name: str) -> np.ndarray:
    """Each channel less its mean over the batch and all places, by its deviation there."""
    found = np.empty_like(x)
    for k in range(x.shape[1]):
        values = x[:, k]
        scaled = (values - values.mean()) / np.sqrt(values.var() + 1e-5)
        found[:, k] = weights[f"{name}.weight"][k] * scaled + weights[f"{name}.bias"][k]
    return found


def relu(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, 0.0)


def printed_local(x: np.ndarray, weights: Weights) -> np.ndarray:
    """2 x [Conv2d -> ReLU] followed by a BatchNorm2D."""
    for name in ("0", "2"):
        x = relu(convolved(x, weights[f"{name}.weight"]) + weights[f"{name}.bias"][:, None, None])
    return normed(x, weights, "4")


def printed_global(x: np.ndarray, weights: Weights) -> np.ndarray:
    """1x1, 1x1, the fourth stage of ResNet-50, the mean over places, two linear layers, ReLU."""
    x = normed(convolved(x, weights["0.weight"]), weights, "1")
    x = relu(normed(convolved(x, weights["2.weight"]), weights, "3"))
    for block in range(3):
        at, stride = f"5.{block}", 2 if block == 0 else 1
        inner = relu(normed(convolved(x, weights[f"{at}.conv1.weight"]), weights, f"{at}.bn1"))
        inner = convolved(inner, weights[f"{at}.conv2.weight"], stride)
        inner = relu(normed(inner, weights, f"{at}.bn2"))
        inner = normed(convolved(inner, weights[f"{at}.conv3.weight"]), weights, f"{at}.bn3")
        if block == 0:
            short = convolved(x, weights[f"{at}.downsample.0.weight"], stride)
            x = normed(short, weights, f"{at}.downsample.1")
        x = relu(inner + x)
    flat = x.mean(axis=(2, 3))
    flat = flat @ weights["8.weight"].T + weights["8.bias"]
    flat = relu(normed(flat, weights, "9"))
    return relu(flat @ weights["11.weight"].T + weights["11.bias"])


def test_the_local_module_is_two_convolutions_and_then_a_norm() -> None:
    encoder = network()
    head = moved(local_head(encoder, EMBEDDING, "relu", "text"))
    maps = torch.randn(3, encoder.map_channels, 4, 8)
    expected = printed_local(maps.double().numpy(), weights_of(head))
    found = head(maps).detach()
    torch.testing.assert_close(found.double(), torch.from_numpy(expected), rtol=1e-4, atol=1e-5)
    assert (expected < 0).any()  # a head that ended with ReLU would have none
    # The text has one ending alone.
    torch.manual_seed(1)
    one = local_head(encoder, EMBEDDING, "relu", "text")
    torch.manual_seed(1)
    other = local_head(encoder, EMBEDDING, "batch_norm", "text")
    assert torch.equal(one(maps), other(maps))


@pytest.mark.parametrize("architecture", ["resnet50", "vgg16"])
def test_the_global_module_is_the_same_for_both_architectures(architecture: str) -> None:
    encoder = network(architecture)
    head = moved(global_head(encoder, (2, 4), EMBEDDING, "relu", "text"))
    maps = torch.rand(3, encoder.map_channels, 2, 4)
    expected = printed_global(maps.double().numpy(), weights_of(head))
    torch.testing.assert_close(
        head(maps).detach().double(), torch.from_numpy(expected), rtol=1e-3, atol=1e-5
    )
    of_resnet = global_head(network(), (2, 4), EMBEDDING, "relu", "text")
    shapes = {name: value.shape for name, value in of_resnet.state_dict().items()}
    assert {name: value.shape for name, value in head.state_dict().items()} == shapes


def printed_nce(scores: np.ndarray, noise: np.ndarray, log_z: float, count: int) -> float:
    """Eq. 4.1 and 4.2: -log P(D = 1) of the own vector, -log P(D = 0) of each drawn one."""

    def posterior(score: float) -> float:
        p = np.exp(score - log_z)
        return float(p / (p + noise.shape[1] / count))

    each = [
        -np.log(posterior(own)) - sum(np.log(1 - posterior(one)) for one in drawn)
        for own, drawn in zip(scores, noise, strict=True)
    ]
    return float(np.mean(each))


def test_both_losses_of_the_printed_heads_are_those_of_the_equations() -> None:
    """Eq. 4.3 with unit vectors: local-dot over all cells against the bank's own vector."""
    count, drawn_of_each = 10, 6
    config = ContrastConfig(
        negatives=drawn_of_each, embedding=EMBEDDING, heads="text", attention=False
    )
    method = PanoramaContrast(network("vgg16"), config, count, 0, (32, 64))
    moved(method.global_head), moved(method.local_head)
    views = torch.rand(2, 4, 3, 32, 64)
    indices = torch.tensor([7, 0, 3, 9])
    method.before_step(0.0, indices)
    found = method((views[0], views[1]), 0.0, torch.Generator().manual_seed(5))
    drawn = torch.randint(count, (4, drawn_of_each), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        maps = [method.encoder(view).double().numpy() for view in views]
    bank = method.bank.vectors.double().numpy()
    source = printed_global(maps[0], weights_of(method.global_head))
    cells = printed_local(maps[1], weights_of(method.local_head))
    source /= np.linalg.norm(source, axis=1, keepdims=True)
    losses = []
    for kind in (0, 1):
        scores = np.zeros((4, count))
        for n in range(4):
            for k in range(count):
                if kind == 0:
                    scores[n, k] = bank[k] @ source[n] / 0.07
                    continue
                total = 0.0
                for i in range(cells.shape[2]):
                    for j in range(cells.shape[3]):
                        z = cells[n, :, i, j]
                        total += bank[k] @ (z / np.linalg.norm(z))
                scores[n, k] = total / (cells.shape[2] * cells.shape[3]) / 0.07
        own = scores[np.arange(4), indices.numpy()]
        noise = np.take_along_axis(scores, drawn.numpy(), axis=1)
        log_z = float(method.bank.log_normaliser[kind])
        losses.append(printed_nce(own, noise, log_z, count))
    assert float(found.scalars["global_loss"]) == pytest.approx(losses[0], rel=1e-3)
    assert float(found.scalars["local_loss"]) == pytest.approx(losses[1], rel=1e-3)
    assert float(found.loss.detach()) == pytest.approx(0.7 * losses[1] + 0.3 * losses[0], rel=1e-3)


def test_the_authors_heads_stay_what_they_were() -> None:
    encoder = network("vgg16")
    kinds = [type(module) for module in local_head(encoder, EMBEDDING)]  # type: ignore[attr-defined]
    assert kinds == [nn.Conv2d, nn.ReLU, nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    first: Tensor = next(global_head(encoder, (4, 8), EMBEDDING).parameters())
    assert first.shape[-1] == 3
