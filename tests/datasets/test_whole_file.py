"""Results that Kedro's own datasets write are there whole, as they were, or not at all."""

from __future__ import annotations

import os
import pickle
from base64 import b64decode
from inspect import signature
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from kedro.io import DatasetError
from matplotlib.figure import Figure

from ssl_kedro.datasets.files import WholeFileDataset
from warm import run_module

# A small value, then a large one where no file may grow beyond 2,000 bytes: the system ends the
# write in the middle, as on a full disk.
FULL = """
import resource, signal, sys
import pandas as pd
from matplotlib.figure import Figure
from ssl_kedro.datasets.files import WholeFileDataset
kind, path = sys.argv[1:]
figure = Figure()
figure.subplots().plot(range(100))
values = {
    "json.JSON": ({"a": 1}, {"a": list(range(5000))}),
    "pandas.CSV": (pd.DataFrame({"a": [1]}), pd.DataFrame({"a": range(5000)})),
    "text.Text": ("small", "large " * 5000),
    "matplotlib.Matplotlib": (Figure(figsize=(0.1, 0.1)), figure),
}
dataset = WholeFileDataset(filepath=path, dataset={"type": f"{kind}Dataset"})
small, large = values[kind]
dataset.save(small)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    dataset.save(large)
except Exception as error:
    print(type(error).__name__)
else:
    print("written")
"""
KINDS = ["json.JSON", "pandas.CSV", "text.Text", "matplotlib.Matplotlib"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_leaves_the_earlier_result(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "results" / "found"
    (tmp_path / "full.py").write_text(FULL)
    done = run_module("full", kind, str(path), folder=tmp_path, environment=os.environ)
    assert done.stdout.strip() == "DatasetError", done.stdout + done.stderr
    before = path.read_bytes()
    assert 0 < len(before) < 2000
    assert [one.name for one in path.parent.iterdir()] == ["found"]
    WholeFileDataset(filepath=str(tmp_path / "again"), dataset={"type": f"{kind}Dataset"})


def test_a_value_that_cannot_be_written_leaves_the_earlier_result(tmp_path: Path) -> None:
    dataset = WholeFileDataset(
        filepath=str(tmp_path / "a.json"), dataset={"type": "json.JSONDataset"}
    )
    dataset.save({"a": 1})
    with pytest.raises(DatasetError, match="not JSON serializable"):
        dataset.save({"a": list(range(5000)), "b": object()})
    assert dataset.load() == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def made(kind: str, path: Path) -> Any:
    return WholeFileDataset(filepath=str(path), dataset={"type": f"{kind}Dataset"})


def kind_of_preview(dataset: Any) -> str:
    """As Kedro-Viz asks for it."""
    kind = signature(dataset.preview).return_annotation
    return getattr(kind, "__name__", str(kind))


def test_viz_is_shown_what_the_other_dataset_shows(tmp_path: Path) -> None:
    table = made("pandas.CSV", tmp_path / "a.csv")
    table.save(pd.DataFrame({"x": [1, 2, 3]}))
    assert "x" in str(table.preview(nrows=2))
    picture = made("matplotlib.Matplotlib", tmp_path / "a.png")  # written, never read
    picture.save(Figure())
    assert kind_of_preview(picture) == "ImagePreview"
    assert b64decode(picture.preview()) == (tmp_path / "a.png").read_bytes()
    assert not hasattr(made("text.Text", tmp_path / "a.txt"), "preview")
    assert made("pandas.CSV", tmp_path / "none_yet.csv").preview() is None


def test_viz_is_shown_what_the_catalog_names_instead(tmp_path: Path) -> None:
    path = "ssl_kedro.reporting.previews.metric_table"
    dataset = WholeFileDataset(
        filepath=str(tmp_path / "a.json"), dataset={"type": "json.JSONDataset"}, preview=path
    )
    assert dataset.preview() is None
    dataset.save({"a.x": 1})
    assert dataset.preview()["data"] == [["a", 1]]
    assert kind_of_preview(dataset) == "TablePreview"
    assert pickle.loads(pickle.dumps(dataset)).preview() == dataset.preview()


def test_arguments_reach_the_other_dataset(tmp_path: Path) -> None:
    dataset = WholeFileDataset(
        filepath=str(tmp_path / "a.csv"),
        dataset={"type": "pandas.CSVDataset", "save_args": {"index": False, "sep": ";"}},
    )
    dataset.save(pd.DataFrame({"x": [1], "y": [2]}))
    assert (tmp_path / "a.csv").read_text().splitlines() == ["x;y", "1;2"]
