"""Networks as plain PyTorch modules with code of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from oracles.norms import with_used_norms
from ssl_kedro.encoders.folding import STEMS
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18, Stem
from ssl_kedro.inference.compact import GateUsage, dense_network, static_network
from ssl_kedro.inference.export import export_bundle
from ssl_kedro.inference.plain_module import STEMS as PLAIN_STEMS
from ssl_kedro.inference.plain_module import load

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 3, 32, 32), dtype=np.uint8)


def encoder(stem: Stem = "cifar_pad1") -> GatedResNet18:
    torch.manual_seed(0)
    made = GatedResNet18(
        EncoderConfig(stem, 8), image_size=32, pixel_mean=(0.4, 0.5, 0.6), pixel_std=(0.2, 0.3, 0.2)
    )
    return with_used_norms(made).eval()


@pytest.mark.parametrize("stem", ["cifar", "cifar_pad1", "imagenet"])
def test_a_dense_network_computes_what_its_encoder_does(stem: Stem, tmp_path: Path) -> None:
    source = encoder(stem)
    report = export_bundle(dense_network(source), tmp_path / "dense", IMAGES)
    assert report.difference < 1e-4 * report.largest
    for images in (torch.from_numpy(IMAGES), torch.from_numpy(IMAGES) / 255.0):
        found = load(tmp_path / "dense")(images)
        torch.testing.assert_close(found, source.dense(images), rtol=1e-4, atol=1e-4)


def test_a_static_network_needs_no_file_of_the_project(tmp_path: Path) -> None:
    """Run as a program where the project cannot be imported; one block keeps no channel."""
    source = encoder()
    blocks = source.cost().blocks
    counts = [np.arange(block.channels) for block in blocks]
    counts[3] = np.zeros_like(counts[3])
    names = tuple(block.name for block in blocks)
    usage = GateUsage("images", 100, names, tuple(counts))
    network, _ = static_network(source, usage, 0.6)
    assert any(not block.kept for block in network.plan.layers)
    export_bundle(network, tmp_path / "static", IMAGES)
    np.save(tmp_path / "images.npy", IMAGES)
    text = (
        "import sys, numpy, torch; sys.modules['ssl_kedro'] = None\n"
        "from model import load\n"
        "images = torch.from_numpy(numpy.load('../images.npy'))\n"
        "numpy.save('../features.npy', load()(images).numpy())"
    )
    for arguments in (["-c", text], ["model.py"]):
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path / "static",
            capture_output=True,
            text=True,
            check=False,
            env={"PYTHONPATH": "."},
        )
        assert done.returncode == 0, done.stderr
    assert done.stdout == "images of 32 px -> features (2, 64)\n"
    found = torch.from_numpy(np.load(tmp_path / "features.npy"))
    with torch.inference_mode():
        expected = network(torch.from_numpy(IMAGES))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_its_stems_are_those_of_the_encoders() -> None:
    assert PLAIN_STEMS == STEMS
