"""Gated encoders of panoramas without what no panorama opens: the same maps, in measured time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from oracles.norms import with_used_norms
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.encoders.maps import BranchMaps
from ssl_kedro.encoders.panorama_maps import PanoramaMaps, cost_at_size
from ssl_kedro.saliency.gating_time import compact_branches, gate_usage, gating_time

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 3, 32, 64), dtype=np.uint8)


def encoder(branch: str = "gated", padding: str = "circular") -> PanoramaMaps:
    torch.manual_seed(0)
    config = EncoderConfig(stem="cifar_pad1", width=8)
    backbone = with_used_norms(GatedResNet18(config, image_size=32))
    return PanoramaMaps(BranchMaps(backbone, branch), padding).eval()  # type: ignore[arg-type]


@pytest.mark.parametrize("padding", ["circular", "zeros"])
def test_both_branches_give_the_maps_of_the_whole_encoder(padding: str) -> None:
    gated = encoder(padding=padding)
    usage = gate_usage(gated, IMAGES)
    found = compact_branches(gated, usage)
    batch = torch.from_numpy(IMAGES).float() / 255
    with torch.no_grad():
        torch.testing.assert_close(found["gated"](batch), gated(batch), atol=1e-4, rtol=1e-3)
        dense = encoder("dense", padding)(batch)
        torch.testing.assert_close(found["dense"](batch), dense, atol=1e-4, rtol=1e-3)


def test_gates_are_counted_panorama_by_panorama() -> None:
    gated = encoder()
    usage = gate_usage(gated, IMAGES)
    inner: GatedResNet18 = gated.network.encoder  # type: ignore[assignment,union-attr]
    with torch.no_grad():
        masks = inner.maps(torch.from_numpy(IMAGES).float() / 255, "gated")[1]
    assert usage.images == 3
    for counts, mask in zip(usage.open_counts, masks, strict=True):
        assert counts.tolist() == (mask > 0).sum(0).tolist()


def test_both_are_timed_on_panoramas() -> None:
    gated = encoder()
    found = gating_time(gated, IMAGES, torch.device("cpu"))
    assert found.gated_ms > 0 and found.dense_ms > 0
    assert found.panoramas == 3
    inner: GatedResNet18 = gated.network.encoder  # type: ignore[assignment,union-attr]
    assert found.dense_macs == cost_at_size(inner, 32, 64).dense
    opened = np.concatenate(gate_usage(gated, IMAGES).open_counts)
    assert found.channels_left == pytest.approx(np.count_nonzero(opened) / len(opened))
    with pytest.raises(ValueError, match="has no masks"):
        gating_time(encoder("dense"), IMAGES, torch.device("cpu"))
