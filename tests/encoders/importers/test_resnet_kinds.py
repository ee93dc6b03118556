from __future__ import annotations

import dataclasses
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from encoders.importers.resnet_oracle import maps, random_state, relative_error
from oracles.norms import with_used_norms
from outside.packages import installed
from ssl_kedro.core.errors import InputError
from ssl_kedro.encoders.bottleneck_resnet import BottleneckConfig, BottleneckResNet
from ssl_kedro.encoders.frozen import InitialWeights, trained_encoder
from ssl_kedro.encoders.importers import KINDS, WeightsError, import_weights
from ssl_kedro.encoders.resnet50 import GatedResNet50, ResNet50Config
from ssl_kedro.encoders.starting import start_from
from ssl_kedro.gating.cost import NetworkCost
from ssl_kedro.inference.compact import dense_network

State = dict[str, Tensor]
HEAD_1 = {"fc.weight": torch.zeros(5, 3), "fc.bias": torch.zeros(5)}
HEAD_2 = {f"fc.{i}.{n}": torch.zeros(5) for i in (0, 2) for n in ("weight", "bias")}


def prefixed(state: State, prefix: str) -> State:
    return {prefix + name: value for name, value in state.items()}


def moco(head: State) -> Callable[[State], Any]:
    def content(state: State) -> Any:
        other = {name: value + 1 for name, value in state.items()}
        return {
            "epoch": 200,
            "arch": "resnet50",
            "state_dict": prefixed({**state, **head}, "module.encoder_q.")
            | prefixed({**other, **head}, "module.encoder_k.")
            | {"module.queue": torch.zeros(4, 9), "module.queue_ptr": torch.zeros(1).long()},
            "optimizer": {"state": {}, "param_groups": [{"lr": 0.03}]},
        }

    return content


def gem(state: State) -> Any:
    beside = {
        "adpool.p": torch.tensor([2.75]),
        "fc.weight": torch.arange(6.0).view(2, 3),
        "fc.bias": torch.arange(2.0),
    }
    return {"state_dict": prefixed({**state, **beside}, "module."), "options": {"out_dim": 2}}


LAYOUTS: dict[str, tuple[str, Callable[[State], Any]]] = {
    "torchvision": ("torchvision_resnet50", lambda s: {**s, **HEAD_1}),
    "torchvision 101": ("torchvision_resnet101", lambda s: {**s, **HEAD_1}),
    "moco v1": ("moco_v1", moco(HEAD_1)),
    "moco v2": ("moco_v2", moco(HEAD_2)),
    "vicreg": ("vicreg", dict),
    "vicreg whole": (
        "vicreg",
        lambda s: {
            "epoch": 3,
            "model": prefixed(s, "module.backbone.")
            | {"module.projector.0.weight": torch.zeros(3, 3)},
            "optimizer": {},
        },
    ),
    "barlow twins": ("barlow_twins", dict),
    "barlow twins whole": (
        "barlow_twins",
        lambda s: {
            "epoch": 3,
            "model": prefixed(s, "module.backbone.")
            | {
                "module.projector.0.weight": torch.zeros(3, 3),
                "module.bn.running_mean": HEAD_1["fc.bias"],
            },
        },
    ),
    "solo-learn backbone": (
        "solo_learn",
        lambda s: {
            "state_dict": prefixed(s, "backbone.")
            | prefixed(s, "momentum_backbone.")
            | {"classifier.weight": torch.zeros(2, 2), "projector.0.weight": torch.zeros(2, 2)}
        },
    ),
    "solo-learn encoder": (
        "solo_learn",
        lambda s: {"state_dict": prefixed(s, "encoder.")},
    ),
    "gem": ("gem_ap", gem),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("zipped", [True, False])
def test_maps_equal_an_independent_network(tmp_path: Path, layout: str, zipped: bool) -> None:
    kind, content = LAYOUTS[layout]
    depth = 101 if "101" in kind or kind == "gem_ap" else 50
    state = random_state(depth, width=4, seed=len(layout))
    path = tmp_path / "weights.pth"
    torch.save(content(state), path, _use_new_zipfile_serialization=zipped)
    network, report = import_weights(kind, path)
    images = torch.randint(0, 256, (2, 3, 64, 48), dtype=torch.uint8)
    with torch.no_grad():
        found = network(images)
    assert found.shape == (2, 128, 2, 2)
    assert relative_error(found, maps(state, images / 255, depth)) < 1e-5
    assert not network.training
    assert not (report.missing or report.unexpected or report.wrong_shapes)
    assert sorted(report.used.values()) == sorted(state)
    saved = content(state)
    saved = saved.get("state_dict", saved.get("model", saved))
    assert set(saved) <= set(report.used) | set(report.dropped)
    assert report.files == {"weights.pth": hashlib.sha256(path.read_bytes()).hexdigest()}


@pytest.mark.parametrize("layout", LAYOUTS)
@torch.no_grad()
def test_gated_bottlenecks_begin_with_them(tmp_path: Path, layout: str) -> None:
    kind, content = LAYOUTS[layout]
    depth = 101 if "101" in kind or kind == "gem_ap" else 50
    state = random_state(depth, width=4, seed=len(layout))
    torch.save(content(state), tmp_path / "weights.pth")
    trained = trained_encoder(InitialWeights(str(tmp_path / "weights.pth"), kind))
    stages = (3, 4, 6, 3) if depth == 50 else (3, 4, 23, 3)
    dual = GatedResNet50(ResNet50Config("imagenet", 4, stages=stages), image_size=64).eval()
    start_from(dual, trained)
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    expected = maps(state, images / 255, depth).mean(dim=(2, 3))
    every = [torch.ones(1, block.channels) for block in dual.cost().blocks]
    for found in (dual.dense(images), dual(images, "gated", masks=every).features):
        assert relative_error(found, expected) < 1e-5


@pytest.mark.parametrize("side", [64, 66])  # maps of 32 and of 33 px behind the convolution
@torch.no_grad()
def test_one_that_pools_as_tensorflow_does_begins_with_the_same_pooling(side: int) -> None:
    torch.manual_seed(0)
    theirs = with_used_norms(BottleneckResNet(BottleneckConfig(width=2, max_pool="same")))
    images = torch.rand(2, 3, side, side)
    expected = theirs(images).mean(dim=(2, 3))
    dual = GatedResNet50(ResNet50Config("imagenet_same", 2), image_size=side).eval()
    start_from(dual, theirs.encoder)
    torch.testing.assert_close(dual.dense(images), expected)
    network = dense_network(dual)
    torch.testing.assert_close(network(images), expected)
    assert network.plan.cost() == without_gates(dual.cost())
    with pytest.raises(InputError, match="stem imagenet_same for imagenet"):
        start_from(GatedResNet50(ResNet50Config("imagenet", 2)), theirs.encoder)


def without_gates(cost: NetworkCost) -> NetworkCost:
    return NetworkCost(cost.stem, tuple(dataclasses.replace(b, gate=0) for b in cost.blocks))


def test_uint8_and_unit_floats_are_the_same_images(tmp_path: Path) -> None:
    torch.save(random_state(50, 4), tmp_path / "w.pth")
    network, _ = import_weights("torchvision_resnet50", tmp_path / "w.pth")
    images = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(network(images), network(images / 255))


def test_files_without_counts_of_batches_are_whole(tmp_path: Path) -> None:
    state = random_state(50, 4)
    old = {name: v for name, v in state.items() if not name.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "w.pth")
    _, report = import_weights("torchvision_resnet50", tmp_path / "w.pth")
    assert len(report.used) == len(old)


def test_gem_keeps_its_exponent_and_its_projection(tmp_path: Path) -> None:
    torch.save(gem(random_state(101, 4)), tmp_path / "w.pt")
    _, report = import_weights("gem_ap", tmp_path / "w.pt")
    assert report.notes == {"gem_p": 2.75}
    assert report.extras["projection.weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert report.extras["projection.bias"].tolist() == [0, 1]
    assert "options" in report.dropped


def change(state: State, fault: str) -> State:
    state = dict(state)
    if fault == "missing":
        del state["layer3.2.conv2.weight"]
    elif fault == "shape":
        state["layer1.0.conv3.weight"] = torch.zeros(16, 5, 1, 1)
    elif fault == "extra":
        state["layer4.3.conv1.weight"] = torch.zeros(32, 128, 1, 1)
    elif fault == "nan":
        state["bn1.weight"] = torch.full((4,), torch.nan)
    return state


@pytest.mark.parametrize(
    "layout", ["moco v2", "barlow twins whole", "solo-learn backbone", "vicreg"]
)
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("missing", r"1 missing: layer3\.2\.conv2\.weight"),
        (
            "shape",
            r"1 of a wrong shape: layer1\.0\.conv3\.weight \(16, 5, 1, 1\) for \(16, 4, 1, 1\)",
        ),
        ("extra", r"1 unexpected: .*layer4\.3\.conv1\.weight"),
        ("nan", r"not finite in .*bn1\.weight"),
    ],
)
def test_faults_are_named(tmp_path: Path, layout: str, fault: str, message: str) -> None:
    kind, content = LAYOUTS[layout]
    torch.save(content(change(random_state(50, 4), fault)), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=message):
        import_weights(kind, tmp_path / "w.pth")


def test_long_lists_of_faults_are_cut_and_counted(tmp_path: Path) -> None:
    state = {k: v for k, v in random_state(50, 4).items() if not k.startswith("layer4")}
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"keys 50 missing: ") as caught:
        import_weights("torchvision_resnet50", tmp_path / "w.pth")
    # Three blocks: 3 convolutions and 3 norms of 4 tensors, and a projection of 1 + 4.
    assert 3 * (3 + 12) + 5 == 50
    assert str(caught.value).count("layer4") == 10
    assert caught.value.report is not None
    assert len(caught.value.report.missing) == 50


def test_a_deeper_network_is_not_taken_for_a_shallow_one(tmp_path: Path) -> None:
    torch.save(random_state(101, 4), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"unexpected: layer3\.6"):
        import_weights("torchvision_resnet50", tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("head", "found"),
    [({}, r"\[\]"), ({"fc.weight": torch.zeros(1)}, "fc.weight"), ({**HEAD_1, **HEAD_2}, "fc.0")],
)
def test_moco_drops_its_head_and_nothing_else(tmp_path: Path, head: State, found: str) -> None:
    torch.save(moco(head)(random_state(50, 4)), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=f"projection head .*{found}"):
        import_weights("moco_v2", tmp_path / "w.pth")


@pytest.mark.parametrize("kind", KINDS)
def test_missing_files_say_what_to_fetch_and_where(tmp_path: Path, kind: str) -> None:
    with pytest.raises(WeightsError) as caught:
        import_weights(kind, tmp_path / "nothing")
    text = str(caught.value)
    assert str(tmp_path / "nothing") in text
    assert KINDS[kind].file in text
    assert KINDS[kind].hosted in text
    assert "https://" in KINDS[kind].hosted


@pytest.mark.parametrize("kind", [k for k in KINDS if not k.startswith("simclr")])
@pytest.mark.parametrize(
    "content", [{"a": 1}, {}, [1, 2], {"state_dict": 5}, {"model": {"x": torch.zeros(2)}}]
)
def test_other_contents_are_refused(tmp_path: Path, kind: str, content: Any) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="expected"):
        import_weights(kind, tmp_path / "w.pth")


def test_unknown_kinds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected one of amdim, gem_ap, "):
        import_weights("resnet", tmp_path)


def test_kinds_cover_the_rows_of_the_tables() -> None:
    rows = {kind.row for kind in KINDS.values()} - {""}
    single = {"Baseline", "SimCLR 1x", "SimCLR 2x", "SimCLR 4x", "MoCo v1", "MoCo v2", "AMDIM"}
    assert rows == single | {"GeM (AP)"}


def test_bottleneck_has_the_files_own_statistics(tmp_path: Path) -> None:
    torch.save(random_state(50, 4), tmp_path / "w.pth")
    network, _ = import_weights("torchvision_resnet50", tmp_path / "w.pth")
    assert isinstance(network, BottleneckResNet)
    assert network.config.width == 4
    torch.testing.assert_close(network.pixel_mean.flatten(), torch.tensor([0.485, 0.456, 0.406]))
    torch.testing.assert_close(network.pixel_std.flatten(), torch.tensor([0.229, 0.224, 0.225]))


OUTSIDE = """
from ssl_kedro.encoders.importers.kind import Kind, resnet, selected
from ssl_kedro.encoders.importers.torch_file import read_torch, tensors_of

def read(path):
    return selected(tensors_of(read_torch(path), path), "net[.]", {}, path)

KINDS = {"outside": Kind("Somebody", "net.pth", "nowhere", read, resnet())}
"""


def test_a_kind_of_an_installed_package_is_found(tmp_path: Path) -> None:
    """One module with KINDS, in a fresh process as a user's."""
    installed(tmp_path, "ssl_kedro.encoders.importers.publishers", "outside_weights", OUTSIDE)
    state = random_state(50, 4)
    state = {k: v for k, v in state.items() if not k.startswith("fc.")}
    torch.save({f"net.{name}": value for name, value in state.items()}, tmp_path / "net.pth")
    program = (
        "from ssl_kedro.encoders.frozen import FrozenEncoderConfig, frozen_encoder\n"
        f"config = FrozenEncoderConfig(kind='outside', file={str(tmp_path / 'net.pth')!r})\n"
        "print(float(frozen_encoder(config, 0).state_dict()['conv1.weight'].double().sum()))\n"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert float(ended.stdout) == pytest.approx(float(state["conv1.weight"].double().sum()))
