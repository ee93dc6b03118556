from __future__ import annotations

import numpy as np
import pytest
import torch

from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.evaluation.features import GateRecord, channel_usage, extract_features


def test_features_macs_and_counts_equal_one_image_at_a_time() -> None:
    torch.manual_seed(0)
    encoder = GatedResNet18(EncoderConfig(width=8), image_size=16)
    images = np.random.default_rng(0).integers(0, 256, (11, 3, 16, 16), dtype=np.uint8)
    found = extract_features(encoder, images, "gated", batch_size=4)
    assert found.gates is not None
    cost = encoder.cost(16)
    opened = [np.zeros(block.channels, dtype=int) for block in cost.blocks]
    with torch.no_grad():
        for index, image in enumerate(images):
            encoding = encoder(torch.from_numpy(image)[None], "gated")
            assert np.allclose(encoding.features[0], found.features[index], atol=1e-4)
            macs = cost.stem
            for block, mask, count in zip(cost.blocks, encoding.masks, opened, strict=True):
                macs += int(mask.sum()) * block.macs_per_channel + block.shortcut + block.gate
                count += mask[0].numpy().astype(int)
            assert found.gates.macs[index] == macs
    for counted, expected in zip(found.gates.open_counts, opened, strict=True):
        assert counted.tolist() == expected.tolist()


def test_dense_features_have_no_gate_record() -> None:
    encoder = GatedResNet18(EncoderConfig(width=4), image_size=16)
    found = extract_features(encoder, np.zeros((2, 3, 16, 16), np.uint8), "dense")
    assert found.gates is None
    assert found.features.shape == (2, 32)


def test_channel_usage_by_hand() -> None:
    record = GateRecord(
        ("layer1.0", "layer1.1"),
        (np.array([4, 4, 0, 1]), np.array([0, 0, 3, 2])),
        macs=np.zeros(4),
    )
    first, second = channel_usage(record)
    assert (first.always_on, first.always_off, first.dependent) == (2, 1, 1)
    assert (second.always_on, second.always_off, second.dependent) == (0, 2, 2)
    assert first.mean_open == pytest.approx(9 / 16)
