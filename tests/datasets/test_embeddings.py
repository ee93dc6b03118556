"""Features as a Parquet file, read by other tools, and encoders that runs have left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from kedro.io import DatasetError

from ssl_kedro.core.names import Names
from ssl_kedro.datasets import embeddings
from ssl_kedro.datasets.embeddings import EmbeddingsDataset, ImageFilesDataset, LeftEncoderDataset
from ssl_kedro.encoders.bundle import save_encoder
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.retrieval.embeddings import Embeddings


def test_a_table_is_what_pandas_reads_and_rows_are_read_as_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embeddings, "_ROWS", 16)
    vectors = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    names = [f"a/ä {number}.png" for number in range(49)] + ["odd\udcff.png"]
    dataset = EmbeddingsDataset(filepath=str(tmp_path / "all.parquet"))
    dataset.save(Embeddings(Names.of(names), vectors, {"branch": "dense", "folder": "x\udcff"}))
    table = pd.read_parquet(tmp_path / "all.parquet")
    assert table["path"].tolist() == [*names[:49], "odd\\xff.png"]
    assert np.array_equal(np.stack(table["vector"].to_list()), vectors)
    found = dataset.load()
    assert found.facts == {"branch": "dense", "folder": "x\\xff"}
    assert list(found.names) == table["path"].tolist()
    rows = found.vectors
    assert rows.shape == (50, 6) and len(rows) == 50
    for key in (slice(0, 50), slice(10, 40), np.array([49, 0, 17, 17, 3]), slice(48, 99)):
        assert np.array_equal(rows[key], vectors[key])
    pd.DataFrame({"path": ["a"], "vector": [1.0]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(DatasetError, match="expected a table of features"):
        EmbeddingsDataset(filepath=str(tmp_path / "other.parquet")).load()


def left(folder: Path, **of: object) -> LeftEncoderDataset:
    names = ["p.nested", "p.budget_[0-9][0-9]", "p.plain"]
    return LeftEncoderDataset(**({"init": None, "filepath": str(folder), "names": names} | of))


def test_the_encoder_of_an_earlier_run_is_found_in_order(tmp_path: Path) -> None:
    torch.manual_seed(0)
    made = GatedResNet18(EncoderConfig("cifar_pad1", 4), image_size=16)
    empty = left(tmp_path)
    assert not empty.exists()
    with pytest.raises(DatasetError, match="no earlier run has left one"):
        empty.load()
    budgets = ("budget_10", "budget_30", "budget_50", "budget_30.gating")
    for name in ("plain", *budgets, "nested"):
        save_encoder(made, tmp_path / f"p.{name}/encoder")
        found = left(tmp_path)
        assert found.exists()
        expected = {"budget_50": "budget_30", "budget_30": "budget_30", "budget_10": "budget_10",
                    "budget_30.gating": "budget_30"}  # fmt: skip
        if name == "budget_30":
            continue  # of two either may be it
        assert found.load().place == str(tmp_path / f"p.{expected.get(name, name)}/encoder")  # type: ignore[attr-defined]
    given = left(tmp_path, init=str(tmp_path / "p.plain/encoder"))
    assert given.load().place.endswith("p.plain/encoder")  # type: ignore[attr-defined]


def test_files_at_hand_are_counted_and_not_decoded(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/1.png").write_bytes(b"never opened")
    found = ImageFilesDataset(place=str(tmp_path), key="k")
    assert found.look() == 1 and list(found.load().names) == ["a/1.png"]
    one = ImageFilesDataset(place=str(tmp_path / "a/1.png"), key="k").load()
    assert one.root == tmp_path / "a" and list(one.names) == ["1.png"]
    assert not ImageFilesDataset(place=None, key="k").exists()
