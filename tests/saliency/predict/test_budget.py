"""Clips under a budget by a gated encoder: what is spent, what is shown, what is written."""

from __future__ import annotations

import csv
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from oracles.norms import with_used_norms
from ssl_kedro.core.config import ConfigError
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.encoders.maps import BranchMaps
from ssl_kedro.encoders.panorama_maps import PanoramaMaps
from ssl_kedro.encoders.saliency_model import DecoderConfig, SaliencyModel, build_decoder
from ssl_kedro.saliency.predict.budget import Allowance, GatedFrames
from ssl_kedro.saliency.predict.files import write_predictions
from ssl_kedro.saliency.predict.prediction import PredictConfig
from ssl_kedro.saliency.predict.video_files import VideoWriter
from ssl_kedro.saliency.sources.config import SourceConfig
from ssl_kedro.saliency.sources.generated import GeneratedPanoramas

SIZE = (32, 64)
FRAMES = 12


def model(branch: str = "gated") -> SaliencyModel:
    torch.manual_seed(0)
    backbone = with_used_norms(
        GatedResNet18(EncoderConfig(stem="cifar_pad1", width=8), image_size=32)
    )
    encoder = PanoramaMaps(BranchMaps(backbone, branch), "circular")  # type: ignore[arg-type]
    decoder = build_decoder(DecoderConfig(width=0.1), encoder.map_channels)
    return SaliencyModel(encoder, decoder).eval()


def clip() -> np.ndarray:
    """A generated panorama that turns, and another from the middle on, uint8 (T, 3, H, W)."""
    source = GeneratedPanoramas(SourceConfig(count_train=2, count_test=1))
    scenes = [source.image(index, *SIZE) for index in (0, 1)]
    return np.stack([np.roll(scenes[2 * k // FRAMES], 3 * k, axis=2) for k in range(FRAMES)])


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 1.0])
def test_no_more_is_spent_than_allowed_and_one_frame(share: float) -> None:
    rng, dense = np.random.default_rng(0), 10.0
    allowance, spent, dearest = Allowance(share, dense), 0.0, 0.0
    computed = 0
    for t in range(1, 400):
        if allowance.pays():
            cost = float(rng.uniform(2, 6))
            allowance.spend(cost)
            spent, dearest, computed = spent + cost, max(dearest, cost), computed + 1
        assert spent <= t * share * dense + dearest
    # What is allowed is used: all frames where the income pays for them, else nearly all of it.
    assert computed == 399 if share * dense >= 6 else spent >= 0.97 * 399 * share * dense - dearest


def test_computed_frames_are_the_models_own() -> None:
    network, frames = model(), clip()
    images = torch.from_numpy(frames).float() / 255
    with torch.no_grad():
        own = network(images)[:, 0].numpy()
        macs = network.encoder.masked_macs(images).tolist()  # type: ignore[operator]
    every = GatedFrames(network, None)(images)
    np.testing.assert_allclose(np.stack([one for one, _ in every]), own, atol=1e-5)
    assert [cost for _, cost in every] == macs
    dense = network.encoder.dense_macs(*SIZE)  # type: ignore[operator]
    share = 0.4 * float(np.mean(macs)) / dense
    tight = GatedFrames(network, share)
    # The clip comes in batches, which do not matter.
    found = tight(images[:5]) + tight(images[5:])
    last = found[0]
    for k, (saliency, cost) in enumerate(found):
        if cost:
            np.testing.assert_allclose(saliency, own[k], atol=1e-5)
            assert cost == pytest.approx(macs[k])
            last = (saliency, cost)
        else:
            assert saliency is last[0]
    costs = [cost for _, cost in found]
    assert costs[0] > 0 and 0 in costs
    assert sum(costs) <= FRAMES * share * dense + max(costs)


def test_models_without_gates_have_no_budget() -> None:
    with pytest.raises(ConfigError, match=r"predict\.budget = 0\.3: expected null: .*no gated"):
        GatedFrames(model("dense"), 0.3)


def test_what_each_frame_cost_is_written_and_plotted(tmp_path: Path) -> None:
    with closing(VideoWriter(tmp_path / "clip.mp4", *SIZE, 6)) as video:
        for frame in clip():
            video.add(frame)
    network = model()
    for budget, name in ((None, "whole"), (0.1, "tight")):
        config = PredictConfig(
            input=str(tmp_path / "clip.mp4"),
            output=str(tmp_path / name),
            outputs=("map",),
            budget=budget,
            batch_size=5,
        )
        (row,) = write_predictions(network, config, SIZE[1])
        assert (row.frames, row.cost) == (FRAMES, "clip_cost.png")
        with Image.open(tmp_path / name / row.cost) as plot:
            assert plot.width > 400
    rows = {
        name: list(csv.DictReader((tmp_path / name / "clip_frames.csv").open()))
        for name in ("whole", "tight")
    }
    costs = {name: [1e9 * float(row["encoder_gmac"]) for row in of] for name, of in rows.items()}
    assert min(costs["whole"]) > 0
    dense = network.encoder.dense_macs(*SIZE)  # type: ignore[operator]
    assert sum(costs["tight"]) <= FRAMES * 0.1 * dense + max(costs["tight"]) + 1e4
    maps = {name: np.load(tmp_path / name / "clip_map.npy") for name in rows}
    for k, cost in enumerate(costs["tight"]):
        expected = maps["whole"][k] if cost else maps["tight"][k - 1]
        np.testing.assert_allclose(maps["tight"][k], expected, rtol=1e-4)
