"""docs/embed.md: its Python is run as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ssl_kedro as ssl
from oracles.norms import with_used_norms
from ssl_kedro.core.names import Names
from ssl_kedro.datasets.embeddings import EmbeddingsDataset
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.retrieval.embeddings import Embeddings

PAGE = Path(__file__).parents[1] / "docs/embed.md"


def test_both_ways_to_the_vectors_give_the_encoders_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos/deep").mkdir(parents=True)
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(f"photos/{('', 'deep/')[number % 2]}{number}.png")
    torch.manual_seed(0)
    encoder = with_used_norms(GatedResNet18(EncoderConfig("cifar_pad1", 4), image_size=16))
    ssl.save_encoder(encoder, "data/06_models/dual_gating.vicreg/encoder")
    in_memory, from_file = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    found: dict[str, object] = {}
    exec(in_memory, found)
    assert found["paths"] == ["0.png", "2.png", "deep/1.png", "deep/3.png"]
    own = encoder.eval().dense([f"photos/{path}" for path in found["paths"]]).numpy()  # type: ignore[attr-defined]
    np.testing.assert_allclose(found["vectors"], own, rtol=1e-4, atol=1e-6)  # type: ignore[arg-type]
    made = Embeddings(Names.of(found["paths"]), found["vectors"])  # type: ignore[arg-type]
    file = "data/07_model_output/dual_gating/embeddings.parquet"
    EmbeddingsDataset(filepath=file).save(made)
    again: dict[str, object] = {}
    exec(from_file, again)
    assert np.array_equal(again["vectors"], found["vectors"])  # type: ignore[arg-type]
