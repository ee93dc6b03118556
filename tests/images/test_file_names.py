r"""Files whose names are no UTF-8, and files that are no images, in every folder that is read.

The first are shown as "bro\xffken.jpg" wherever names are told; the second are counted by kind.
"""

import csv
import dataclasses
import json
import logging
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from ssl_kedro.core.errors import UserError, shown
from ssl_kedro.datasets.files import RecordDataset
from ssl_kedro.images.decode import Resize
from ssl_kedro.images.files import counted_kinds, passed_over
from ssl_kedro.images.load import DataConfig, load_images
from ssl_kedro.pipelines.gated.preparation import summarise_data
from ssl_kedro.pipelines.retrieval_eval.nodes import _summary
from ssl_kedro.reporting.html import Report, rendered
from ssl_kedro.reporting.run_sections import passed_over_by, skipped_section
from ssl_kedro.retrieval.sets import RetrievalDataConfig, retrieval_set
from ssl_kedro.saliency.predict.files import write_predictions
from ssl_kedro.saliency.predict.prediction import PredictConfig
from ssl_kedro.saliency.sources.config import SourceConfig
from ssl_kedro.saliency.sources.open import JoinedSources, open_source
from ssl_kedro.saliency.store import PanoramaStore

SHOWN = r"bro\xffken.png"
NAME = os.fsdecode(b"bro\xffken.png")
FOREIGN = {".heic": 12, ".avif": 2, ".jp2": 1, "": 3}
COUNTED = "12 .heic files, 3 files without an ending, 2 .avif files, 1 .jp2 file"


def picture(path: Path, width: int = 16, height: int = 16, *, whole: bool = True) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    with path.open("wb") as file:
        Image.fromarray(pixels).save(file, "PNG")
    if not whole:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def foreign(folder: Path) -> None:
    """Files that nothing reads, one of them below, and hidden ones."""
    (folder / "below").mkdir(parents=True, exist_ok=True)
    for ending, count in FOREIGN.items():
        for number in range(count):
            (folder / ("below" if number else ".") / f"{number}{ending.upper()}").write_bytes(b"x")
    (folder / ".hidden.heic").write_bytes(b"x")


def classes(root: Path, bad: str = NAME) -> Path:
    """Two classes of three images and a damaged one each, one class with a name of its own."""
    for name in ("a", os.fsdecode(b"cl\xe9")):
        for number in range(3):
            picture(root / name / f"{number}.png")
        picture(root / name / bad, whole=False)
    return root


def test_names_are_shown() -> None:
    assert shown(NAME) == SHOWN
    assert shown("plain ü \U0001f600") == "plain ü \U0001f600"
    assert shown("\ud800").encode() == b"\\ud800"
    assert str(UserError(f"{NAME}: wrong")) == f"{SHOWN}: wrong"


@pytest.mark.parametrize("memory_limit_mb", [2048.0, 1e-6], ids=["memory", "map"])
def test_images_in_class_folders(tmp_path: Path, memory_limit_mb: float) -> None:
    config = DataConfig(
        source="folder",
        root=str(classes(tmp_path / "images")),
        size=16,
        max_skipped=0.5,
        workers=1,
        memory_limit_mb=memory_limit_mb,
        cache_dir=str(tmp_path / "cache"),
    )
    foreign(tmp_path / "images/a")
    for _ in range(2):  # the second time from the map
        parts = [load_images(config, split, 0) for split in ("pretrain", "train", "eval")]
    assert parts[0].class_names == ("a", r"cl\xe9")
    assert parts[0].passed_over == FOREIGN
    summary = summarise_data(*parts)
    assert [path for path, _ in summary.skipped] == [f"a/{SHOWN}", rf"cl\xe9/{SHOWN}"]
    record = RecordDataset(
        filepath=str(tmp_path / "data.json"),
        record="ssl_kedro.pipelines.gated.records.DataSummary",
    )
    record.save(summary)
    assert record.load() == summary
    page = rendered(Report("t", [], sections=skipped_section({"data": vars(summary)})))
    assert f"a/{SHOWN}" in page
    assert COUNTED in page
    page.encode()
    # Records written before know nothing of files passed over.
    path = tmp_path / "data.json"
    old = {key: value for key, value in json.loads(path.read_text()).items() if "over" not in key}
    path.write_text(json.dumps(old))
    assert record.load() == dataclasses.replace(summary, passed_over={})
    assert skipped_section({"data": {"skipped": []}}) == []


@pytest.mark.parametrize("source", ["folder", "images"])
def test_retrieval_sets(source: str, tmp_path: Path) -> None:
    root = classes(tmp_path / "images")
    foreign(root)
    (root / "notes.csv").write_text("of the user")
    found = retrieval_set("own", RetrievalDataConfig(source=source, root=str(root)), 0)  # type: ignore[arg-type]
    assert found.database is not None
    assert rf"cl\xe9/{SHOWN}" in found.database.names
    assert len(found.database.fingerprint()) == 16
    assert found.database.decoded(0, Resize(16)).shape == (3, 16, 16)
    if found.truth is not None:
        assert found.truth.database == found.database.names
    json.dumps(dataclasses.asdict(_summary(found, 0)), ensure_ascii=False).encode()
    assert _summary(found, 0).passed_over == FOREIGN


def test_panoramas(tmp_path: Path) -> None:
    root = tmp_path / "images"
    picture(root / "good.png", 64, 32)
    picture(root / NAME, 64, 32, whole=False)
    foreign(root)
    source = open_source(SourceConfig(source="folder", root=str(root)))
    assert source.names == (r"bro\xffken", "good")
    assert source.passed_over == FOREIGN
    joined = JoinedSources({"own": source})
    store = PanoramaStore(tmp_path / "store")
    made = store.fill(joined, [0, 1], (16, 32), label="own", max_skipped=0.5)
    assert store.description() == made
    ((name, reason),) = made.skipped
    assert name == r"own/bro\xffken"
    assert SHOWN in reason
    json.dumps(dataclasses.asdict(made), ensure_ascii=False).encode()
    assert len(joined.fingerprint) == 16


class Grey(nn.Module):
    """Brightness as saliency."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(images.mean(dim=1, keepdim=True), 2)


def test_predictions(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root, output = tmp_path / "images", tmp_path / "out"
    picture(root / os.fsdecode(b"g\xf6od.png"), 128, 64)
    picture(root / NAME, 128, 64, whole=False)
    (root / os.fsdecode(b"v\xefdeo.mp4")).write_bytes(b"none")
    foreign(root)
    config = PredictConfig(input=str(root), output=str(output), device="cpu")
    rows = write_predictions(Grey(), config, 64)
    with (output / "predictions.csv").open(encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert [row.input for row in rows] == [row["input"] for row in table]
    told = {row["input"]: row["skipped"] for row in table}
    assert set(told) == {SHOWN, r"g\xf6od.png", r"v\xefdeo.mp4"}
    assert told[r"g\xf6od.png"] == ""
    assert "not UTF-8" in told[r"v\xefdeo.mp4"]
    assert (output / os.fsdecode(b"g\xf6od_overlay.jpg")).is_file()
    json.dumps([dataclasses.asdict(row) for row in rows], ensure_ascii=False).encode()
    assert COUNTED in caplog.text


def test_kinds_are_counted_and_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    foreign(tmp_path)
    picture(tmp_path / "read.png")
    with caplog.at_level(logging.WARNING):
        assert passed_over(tmp_path) == passed_over(tmp_path) == FOREIGN
    assert caplog.messages == [f"Passed over in {tmp_path}: {COUNTED}"]
    assert counted_kinds({f".{number}": 2 for number in range(12)}).endswith("and 2 more")
    assert passed_over_by([{".heic": 1}, {".heic": 2, "": 1}, {}]) == {".heic": 3, "": 1}
    assert passed_over(tmp_path / "nowhere") == {}


def test_a_refusal_names_files_as_they_are_shown(tmp_path: Path) -> None:
    config = DataConfig(source="folder", root=str(classes(tmp_path)), size=16, workers=1)
    with pytest.raises(UserError, match=r"a/bro\\xffken\.png") as found:
        load_images(config, "train", 0)
    str(found.value).encode()
