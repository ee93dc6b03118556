"""Students of published networks: SEED with a MoCo-v2 ResNet-50, as in thesis 6.3.1."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from encoders.importers.resnet_oracle import maps, random_state
from ssl_kedro.core.errors import InputError
from ssl_kedro.encoders.base import Encoder
from ssl_kedro.encoders.bundle import load_encoder, save_encoder
from ssl_kedro.encoders.factory import EncoderSetup
from ssl_kedro.encoders.frozen import (
    FrozenEncoderConfig,
    InitialWeights,
    encoder_of,
    frozen_encoder,
    trained_encoder,
)
from ssl_kedro.encoders.gated_resnet import EncoderConfig
from ssl_kedro.gating.budget import GateConfig
from ssl_kedro.methods.base import ExpanderConfig, MethodConfig
from ssl_kedro.methods.plan import MethodPlan
from ssl_kedro.methods.seed import SeedOptions

WIDTH = 4  # of 64: a sixteenth of ResNet-50 in each layer
STUDENT = EncoderConfig("cifar_pad1", 4, inner_channels=(2, 3, 4, 5, 6, 7, 8, 9))


def moco_v2_file(folder: Path) -> tuple[Path, dict[str, Tensor]]:
    """A checkpoint as Chen et al. publish it, of a narrow ResNet-50 with random weights."""
    state = random_state(50, WIDTH)
    head = {f"fc.{i}.{n}": torch.zeros(5) for i in (0, 2) for n in ("weight", "bias")}
    query = {f"module.encoder_q.{name}": value for name, value in {**state, **head}.items()}
    key = {f"module.encoder_k.{name}": value + 1 for name, value in {**state, **head}.items()}
    content = {"epoch": 800, "arch": "resnet50", "optimizer": {}}
    content["state_dict"] = query | key | {"module.queue": torch.zeros(4, 9)}
    path = folder / "moco_v2_800ep_pretrain.pth.tar"
    torch.save(content, path)
    return path, state


def test_seed_learns_from_a_published_moco_v2_resnet_50(tmp_path: Path) -> None:
    path, state = moco_v2_file(tmp_path)
    teacher = trained_encoder(InitialWeights(str(path), "moco_v2"))
    setup = EncoderSetup(STUDENT, image_size=32, teacher=teacher)
    config = MethodConfig(ExpanderConfig(8, 8), GateConfig(), SeedOptions(queue=16))
    method = MethodPlan("seed", setup, config, 0.3, seed=0).build().train()
    views = torch.rand(2, 4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    wanted = [nn.functional.normalize(maps(state, v).mean(dim=(2, 3)), dim=1) for v in views]
    for view, embedding in zip(views, wanted, strict=True):
        assert embedding.shape == (4, 32 * WIDTH)
        torch.testing.assert_close(method.teacher(view).double(), embedding, atol=1e-5, rtol=0)
    optimiser = torch.optim.SGD(method.parameters(), lr=0.01)
    for _ in range(2):  # the first step has nothing to compare with
        optimiser.zero_grad()
        result = method(tuple(views), 0.0)
        result.loss.backward()
        optimiser.step()
        method.after_update(views[0], 0.0)
    assert result.loss.isfinite()
    assert any(p.grad is not None and p.grad.any() for p in method.encoder.parameters())
    torch.testing.assert_close(method.queue[:8].double(), torch.cat(wanted), atol=1e-5, rtol=0)
    student, asked = method.encoder.cost().dense, teacher.cost(32).dense
    assert method.macs_per_image == 2 * (3 * student + asked)


@pytest.mark.parametrize("name", ["seed", "simreg"])
def test_a_teacher_of_another_shape_survives_being_written(tmp_path: Path, name: str) -> None:
    """Other processes and later runs read teachers as bundles."""
    path, _ = moco_v2_file(tmp_path)
    teacher = trained_encoder(InitialWeights(str(path), "moco_v2"))
    save_encoder(teacher, tmp_path / "teacher")
    again: Encoder = load_encoder(tmp_path / "teacher")
    images = torch.rand(2, 3, 32, 32)
    config = MethodConfig(ExpanderConfig(8, 8), GateConfig())
    found = [
        MethodPlan(name, EncoderSetup(STUDENT, 32, teacher=one), config, 0.3, 0).build()
        for one in (teacher, again)
    ]
    assert torch.equal(*(method.teacher(images) for method in found))


def test_a_network_of_retrieval_teaches_as_the_encoder_that_it_is(tmp_path: Path) -> None:
    """Catalog names of chapter 3 are networks of maps."""
    path, state = moco_v2_file(tmp_path)
    network = frozen_encoder(FrozenEncoderConfig("moco_v2", str(path)), 0)
    images = torch.rand(2, 3, 32, 32)
    found = encoder_of(network, "teacher").eval()(images, "dense").features
    torch.testing.assert_close(
        found.double(), maps(state, images).mean(dim=(2, 3)), atol=1e-4, rtol=1e-4
    )
    with pytest.raises(InputError, match="PixelMaps"):
        encoder_of(frozen_encoder(FrozenEncoderConfig("pixels"), 0), "teacher")
