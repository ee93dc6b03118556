"""Sources of all pipelines whose files lie elsewhere: as those beside them on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from PIL import Image

import ssl_kedro as ssl
from ssl_kedro.core.remote import RemoteError
from ssl_kedro.datasets.sources import (
    FrozenEncoderDataset,
    ImageSourceDataset,
    PanoramaSourceDataset,
    RetrievalSetDataset,
)
from ssl_kedro.encoders.bundle import save_bundle
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.images.load import ImageSourceError
from ssl_kedro.saliency.predict.inputs import found_input


@pytest.fixture(autouse=True)
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.chdir(tmp_path)
    system = fsspec.filesystem("memory")
    yield system
    system.rm("/", recursive=True)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder on this machine; what a test has written there is then elsewhere as well."""
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


def uploaded(memory: Any, here: Path) -> str:
    for path in (path for path in here.rglob("*") if path.is_file()):
        memory.pipe(f"/store/{path.relative_to(here).as_posix()}", path.read_bytes())
    return "memory://store"


def picture(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 32), (shade, shade, shade)).save(path)


def test_images(memory: Any, here: Path) -> None:
    for number in range(6):
        picture(here / "ab"[number % 2] / f"{number}.png", 40 * number)
    place = uploaded(memory, here)
    found = [
        ImageSourceDataset(
            split="train", data={"source": "folder", "root": root, "size": 8, "eval_fraction": 0.4}
        ).load()
        for root in (str(here), place)
    ]
    assert found[0].fingerprint() == found[1].fingerprint()
    front = [ssl.load_images(root, size=8, eval_fraction=0.4) for root in (str(here), place)]
    assert front[0].fingerprint() == front[1].fingerprint() == found[0].fingerprint()


def test_an_array_file(memory: Any, here: Path) -> None:
    images = np.arange(4 * 8 * 8, dtype=np.uint8).reshape(4, 8, 8)
    np.savez(here / "x.npz", x_train=images, x_test=images[:2])
    place = uploaded(memory, here)
    found = ssl.load_images(f"{place}/x.npz", size=8)
    assert np.array_equal(found.images[:, 0], images)


def test_what_is_wrong_with_images_is_said_as_ever(memory: Any, here: Path) -> None:
    (here / "notes.txt").write_text("no image")
    place = uploaded(memory, here)
    with pytest.raises(ImageSourceError, match=r"data/01_raw/downloads/.*store'?: found no images"):
        ssl.load_images(place, size=8)


def retrieval(root: str, **fields: object) -> RetrievalSetDataset:
    task = {"source": "folder", "root": root, **fields}
    return RetrievalSetDataset(name="own", datasets={"own": task}, dataset={})


def test_a_retrieval_task(memory: Any, here: Path) -> None:
    for number in range(4):
        picture(here / "photos" / "ab"[number % 2] / f"{number}.png", 40 * number)
    place = uploaded(memory, here)
    tasks = [retrieval(f"{root}/photos").load() for root in (here, place)]
    assert tasks[0].truth is not None
    assert tasks[0].truth.database == tasks[1].truth.database  # type: ignore[union-attr]
    assert [path.read_bytes() for path in tasks[0].database.paths] == [  # type: ignore[union-attr]
        path.read_bytes()
        for path in tasks[1].database.paths  # type: ignore[union-attr]
    ]


def test_a_ground_truth_comes_without_images_where_none_are_needed(memory: Any, here: Path) -> None:
    (here / "truth").mkdir()
    for kind, names in {"good": "a", "ok": "b", "junk": "c"}.items():
        (here / f"truth/all_souls_1_{kind}.txt").write_text(f"{names}\n")
    (here / "truth/all_souls_1_query.txt").write_text("oxc1_a 1 2 30 20\n")
    for name in "abcd":
        picture(here / f"photos/{name}.jpg", 100)
    place = uploaded(memory, here)
    fields = {"source": "published", "ground_truth": f"{place}/truth"}
    task = retrieval(f"{place}/photos", **fields).load()
    assert task.truth is not None
    assert task.truth.database == ("a", "b", "c", "d")


@pytest.mark.parametrize("source", ["folder", "manifest"])
def test_panoramas(source: str, memory: Any, here: Path) -> None:
    for name in "abcd":
        picture(here / f"images/{name}.png", 90)
        picture(here / f"saliency/{name}.png", 50)
    lines = [f"images/{name}.png,saliency/{name}.png,,train" for name in "abcd"]
    (here / "manifest.csv").write_text("\n".join(["image,saliency,fixations,split", *lines]))
    place = uploaded(memory, here)
    end = "/manifest.csv" if source == "manifest" else ""
    found = [
        PanoramaSourceDataset(name="own", own="own", data={"source": source, "root": root}).load()
        for root in (f"{here}{end}", f"{place}{end}", place)
    ]
    for other in found[1:]:
        assert other.names == found[0].names
        assert other.splits == found[0].splits
        assert np.array_equal(other.image(0, 16, 32), found[0].image(0, 16, 32))
        assert np.array_equal(other.saliency(0), found[0].saliency(0))  # type: ignore[arg-type]


def test_an_encoder(memory: Any, here: Path) -> None:
    torch.manual_seed(0)
    encoder = GatedResNet18(EncoderConfig(width=4), image_size=16).eval()
    save_bundle(encoder, here / "encoder")
    place = uploaded(memory, here)
    dataset = FrozenEncoderDataset(
        name="own", encoders={"own": {"kind": "bundle", "file": f"{place}/encoder"}}
    )
    assert dataset.exists()
    images = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        maps = dataset.load()(images)
        assert torch.allclose(maps.mean((2, 3)), encoder.dense(images), atol=1e-5)


def test_what_is_not_there_is_said(memory: Any) -> None:
    with pytest.raises(RemoteError, match=r"memory://store: found nothing there"):
        ssl.load_images("memory://store", size=8)


def test_what_to_predict_for(memory: Any, here: Path) -> None:
    picture(here / "new/a.png", 90)
    found = found_input(f"{uploaded(memory, here)}/new")
    assert list(found.images) == ["a.png"]
    assert found.root.name == "new"
