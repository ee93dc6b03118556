from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from encoders.importers import bundle_writer
from encoders.importers.resnet_oracle import maps, random_state, relative_error
from ssl_kedro.encoders.bottleneck_resnet import BottleneckConfig, BottleneckResNet
from ssl_kedro.encoders.importers import KINDS, WeightsError, import_weights
from ssl_kedro.encoders.importers.kind import Selection, resnet
from ssl_kedro.encoders.importers.publishers.simclr import _layers

WIDTH = 2
COUNTS = (3, 4, 6, 3)
Variables = dict[str, np.ndarray]


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kind simclr_2x for files of width 2: the published ones have 100 million numbers."""
    build = resnet(max_pool="same", width=WIDTH, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    kind = dataclasses.replace(KINDS["simclr_2x"], network=build)
    monkeypatch.setitem(KINDS, "simclr_2x", kind)


class Graph:
    """Names as TensorFlow 1 gives them: a counter for every kind of layer."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = state
        self.variables: Variables = {}
        self.made = {"conv2d": 0, "batch_normalization": 0}

    def layer(self, convolution: str, norm: str) -> None:
        kernel = self.state[f"{convolution}.weight"].permute(2, 3, 1, 0)
        self.variables[f"{self.fresh('conv2d')}/kernel"] = kernel.contiguous().numpy()
        name = self.fresh("batch_normalization")
        for theirs, ours in (
            ("gamma", "weight"),
            ("beta", "bias"),
            ("moving_mean", "running_mean"),
            ("moving_variance", "running_var"),
        ):
            self.variables[f"{name}/{theirs}"] = self.state[f"{norm}.{ours}"].numpy()

    def fresh(self, kind: str) -> str:
        number = self.made[kind]
        self.made[kind] += 1
        return f"base_model/{kind}" + (f"_{number}" if number else "")


def variables(state: dict[str, Tensor], classes: int = 5) -> Variables:
    """A fine-tuned SimCLR's variables, in the order in which resnet.py makes its layers."""
    graph = Graph(state)
    graph.layer("conv1", "bn1")
    for stage, count in enumerate(COUNTS, start=1):
        for block in range(count):
            name = f"layer{stage}.{block}"
            if block == 0:
                graph.layer(f"{name}.downsample.0", f"{name}.downsample.1")
            for i in (1, 2, 3):
                graph.layer(f"{name}.conv{i}", f"{name}.bn{i}")
    assert graph.made == {"conv2d": 53, "batch_normalization": 53}
    generator = np.random.default_rng(0)
    found = graph.variables
    slots = {
        f"{name}/Momentum": values + 1 for name, values in found.items() if "moving" not in name
    }
    head = "head_supervised/linear_layer/dense"
    return {
        **found,
        **slots,
        "global_step": np.array(9000, dtype=np.int64),
        "head_contrastive/nl_0/dense/kernel": np.ones((4, 4), dtype=np.float32),
        "head_contrastive/nl_0/batch_normalization/gamma": np.ones(4, dtype=np.float32),
        f"{head}/kernel": generator.normal(size=(32 * WIDTH, classes)).astype(np.float32),
        f"{head}/bias": generator.normal(size=classes).astype(np.float32),
        f"{head}/bias/Momentum": np.ones(classes, dtype=np.float32),
    }


@pytest.mark.parametrize(("size", "shards"), [((64, 64), 1), ((65, 50), 3)])
def test_maps_equal_an_independent_network(
    tmp_path: Path, size: tuple[int, int], shards: int
) -> None:
    state = random_state(50, WIDTH, seed=3)
    bundle_writer.write(tmp_path / "model.ckpt-225206", variables(state), shards)
    network, report = import_weights("simclr_2x", tmp_path)
    images = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)
    expected = maps(state, images / 255, mean=(0, 0, 0), std=(1, 1, 1), same=True)
    with torch.no_grad():
        assert relative_error(network(images), expected) < 1e-5
    assert isinstance(network, BottleneckResNet)
    assert network.config.max_pool == "same"
    assert len(report.used) == 53 * 5
    assert report.used["base_model/conv2d_1/kernel"] == "layer1.0.downsample.0.weight"
    assert report.used["base_model/conv2d_52/kernel"] == "layer4.2.conv3.weight"
    for path in tmp_path.iterdir():
        assert report.files[path.name] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_classifier_keeps_its_bias_and_everything_else_has_a_reason(tmp_path: Path) -> None:
    state = random_state(50, WIDTH)
    content = variables(state)
    bundle_writer.write(tmp_path / "m", content)
    network, report = import_weights("simclr_2x", tmp_path / "m.index")
    features = torch.rand(3, 32 * WIDTH)
    head = "head_supervised/linear_layer/dense"
    logits = features.numpy() @ content[f"{head}/kernel"] + content[f"{head}/bias"]
    ours = torch.nn.functional.linear(
        features, report.extras["classifier.weight"], report.extras["classifier.bias"]
    )
    np.testing.assert_allclose(ours.numpy(), logits, rtol=1e-5, atol=1e-5)
    assert set(content) == set(report.used) | set(report.dropped)
    assert "optimiser" in report.dropped["base_model/conv2d_7/kernel/Momentum"]
    assert "steps" in report.dropped["global_step"]
    assert "projection" in report.dropped["head_contrastive/nl_0/dense/kernel"]
    assert network.map_channels == 32 * WIDTH


def test_symmetric_pooling_would_not_do(tmp_path: Path) -> None:
    """The even side at which the two paddings differ; else "same" would prove nothing."""
    state = random_state(50, WIDTH)
    images = torch.rand(1, 3, 64, 64)
    one, other = (maps(state, images, mean=(0, 0, 0), std=(1, 1, 1), same=s) for s in (True, False))
    assert relative_error(one, other) > 1e-2


def faulty(fault: str) -> Variables:
    content = variables(random_state(50, WIDTH))
    if fault == "missing":
        del content["base_model/conv2d_30/kernel"]
    elif fault == "shape":
        content["base_model/conv2d_2/kernel"] = np.ones((3, 3, 2, 2), dtype=np.float32)
    elif fault == "extra":
        content["base_model/conv2d_53/kernel"] = np.ones((1, 1, 2, 2), dtype=np.float32)
    elif fault == "type":
        content["base_model/conv2d/kernel"] = np.ones((7, 7, 3, 2), dtype=np.int64)
    elif fault == "shapeless":
        content["base_model/conv2d/kernel"] = np.ones(4, dtype=np.float32)
    return content


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("missing", r"1 missing: layer3\.1\.conv3\.weight"),
        ("shape", r"1 of a wrong shape: layer1\.0\.conv1\.weight"),
        ("extra", r"1 unexpected: base_model/conv2d_53/kernel"),
        ("type", "of type int64"),
        ("shapeless", "first convolution"),
    ],
)
def test_faults_are_named(tmp_path: Path, fault: str, message: str) -> None:
    bundle_writer.write(tmp_path / "m", faulty(fault))
    with pytest.raises(WeightsError, match=message):
        import_weights("simclr_2x", tmp_path)


def test_damage_is_noticed_wherever_it_is(tmp_path: Path) -> None:
    content = {k: v for k, v in variables(random_state(50, WIDTH)).items() if "Momentum" not in k}
    bundle_writer.write(tmp_path / "m", content)
    data = tmp_path / "m.data-00000-of-00001"
    whole = data.read_bytes()
    data.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match="end of the file within"):
        import_weights("simclr_2x", tmp_path)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    data.write_bytes(flipped)
    with pytest.raises(WeightsError, match="wrong checksum of"):
        import_weights("simclr_2x", tmp_path)
    data.unlink()
    with pytest.raises(WeightsError, match="data-00000-of-00001"):
        import_weights("simclr_2x", tmp_path)


def test_a_file_of_another_width_is_refused(tmp_path: Path) -> None:
    bundle_writer.write(tmp_path / "m", variables(random_state(50, WIDTH)))
    with pytest.raises(
        WeightsError, match="found 2 channels after the first convolution; expected 64"
    ):
        import_weights("simclr_1x", tmp_path)


def test_published_widths_are_those_of_the_kinds() -> None:
    for multiplier in (1, 2, 4):
        shapes = {"conv1.weight": torch.empty(64 * multiplier, 3, 7, 7, device="meta")}
        kind = KINDS[f"simclr_{multiplier}x"]
        if multiplier == 2:
            continue  # replaced by the fixture
        with torch.device("meta"):
            network = kind.network(Selection(shapes, {}, {}), Path("x"))
        assert network.map_channels == 2048 * multiplier
        assert network.get_parameter("layer4.2.conv2.weight").shape[0] == 512 * multiplier


# Shapes (height, width, in, out) that the published 4x checkpoint lists for some of its kernels.
LISTED_4X = {
    0: (7, 7, 3, 256),
    1: (1, 1, 256, 1024),
    2: (1, 1, 256, 256),
    3: (3, 3, 256, 256),
    4: (1, 1, 256, 1024),
    5: (1, 1, 1024, 256),
    11: (1, 1, 1024, 2048),
    12: (1, 1, 1024, 512),
    13: (3, 3, 512, 512),
    24: (1, 1, 2048, 4096),
    25: (1, 1, 2048, 1024),
    42: (1, 1, 1024, 4096),
    43: (1, 1, 4096, 8192),
    44: (1, 1, 4096, 2048),
    45: (3, 3, 2048, 2048),
    46: (1, 1, 2048, 8192),
    52: (1, 1, 2048, 8192),
}


def test_order_of_layers_fits_the_published_checkpoint() -> None:
    with torch.device("meta"):
        network = BottleneckResNet(BottleneckConfig(50, 256, "same"))
    layers = list(_layers())
    assert len(layers) == 53
    for number, (height, width, inputs, outputs) in LISTED_4X.items():
        convolution, norm = layers[number]
        weight = network.get_parameter(f"{convolution}.weight")
        assert tuple(weight.shape) == (outputs, inputs, height, width)
        assert tuple(network.get_parameter(f"{norm}.weight").shape) == (outputs,)
