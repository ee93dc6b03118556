"""Records of chapters 5 and 6: files written before load, and new ones hold the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kedro.io import DatasetError

from ssl_kedro.datasets.files import RecordDataset
from ssl_kedro.pipelines.gated import records
from ssl_kedro.pipelines.gated.inference import records as inference_records

# As the pipeline wrote it when nodes passed dictionaries.
TRAINING = {
    "epochs": 2,
    "seconds": 1.5,
    "images_per_second": 812.5,
    "macs": 123456789,
    "collapsed": False,
}
EVALUATION: dict[str, Any] = {
    "method": "dual_gating",
    "budget": 0.3,
    "seed": 0,
    "branches": {
        "dense": {"knn_top1": 0.5, "knn_normalised_top1": 0.25, "linear_top1": [0.75, 0.5]},
        "gated": {"knn_top1": 0.5, "knn_normalised_top1": 0.25},
    },
    "macs": {"dense": 1000, "own": 1000, "gated_mean": 300.5, "flop_reduction": 0.6995},
    "channel_usage": [
        {
            "block": "layer1.0",
            "channels": 8,
            "always_on": 1,
            "always_off": 2,
            "dependent": 5,
            "mean_open": 0.5,
        }
    ],
    "parameters": 4321,
    "training": TRAINING,
}
COMPACT = {"path": "a/compact", "bytes": 9, "images": 20, "difference": 1e-6, "largest": 2.5}


def dataset(path: Path, record: str) -> RecordDataset:
    room = records if hasattr(records, record) else inference_records
    return RecordDataset(filepath=str(path), record=f"{room.__name__}.{record}")


@pytest.mark.parametrize(
    ("record", "written"),
    [
        ("Evaluation", EVALUATION),
        ("Evaluation", EVALUATION | {"budget": None, "branches": {"dense": {}}}),
        ("Evaluations", {"dual.budget_30": EVALUATION}),
        ("TrainingRecord", TRAINING | {"history": [{"loss": 2.5, "epoch": 1}]}),
        ("TransferAccuracies", {"dense": [0.5, 0.25]}),
        (
            "Export",
            {
                "folder": "a",
                "files": {
                    "compact": COMPACT,
                    "gated": COMPACT
                    | {"path": "a/gated.onnx", "opset": 18, "undecided": 0, "precision": "int8"},
                },
                "static_share": 0.3,
            },
        ),
    ],
)
def test_what_was_written_is_read_and_written_alike(
    tmp_path: Path, record: str, written: dict[str, Any]
) -> None:
    first, again = tmp_path / "first.json", tmp_path / "again.json"
    first.write_text(json.dumps(written))
    dataset(again, record).save(dataset(first, record).load())
    assert json.loads(again.read_text()) == written


def test_a_file_of_something_else_is_named(tmp_path: Path) -> None:
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps(EVALUATION | {"macs": {"dense": "many"}}))
    with pytest.raises(DatasetError, match=r"'many' at macs\.dense.*Evaluation"):
        dataset(path, "Evaluation").load()
