"""Data sets as the ``datasets`` package leaves them on a disk."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ssl_kedro.core.config import ConfigError
from ssl_kedro.images import partial
from ssl_kedro.images.load import DataConfig, ImageSourceError, count_images, load_images

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package leaves locks in its cache, else in the user's home."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hub")


def png(grey: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), grey, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def rows(greys: list[int], labels: list[Any], kind: Any = None) -> Any:
    """Images of those greys, None for none, with their labels."""
    kind = kind or datasets.ClassLabel(names=["cat", "dog"])
    values = [None if grey < 0 else {"bytes": png(grey), "path": None} for grey in greys]
    features = datasets.Features({"image": datasets.Image(), "label": kind})
    return datasets.Dataset.from_dict({"image": values, "label": labels}, features=features)


@pytest.fixture
def made(tmp_path: Path) -> dict[str, Any]:
    train = rows(list(range(150)), [grey % 2 for grey in range(150)])
    return {"train": train, "test": rows([200, 201, 202, 203], [0, 1, 0, 1])}


def parquet(root: Path, parts: dict[str, Any], shards: int = 2) -> Path:
    (root / "data").mkdir(parents=True)
    for name, part in parts.items():
        for shard in range(shards):
            path = root / f"data/{name}-{shard:05d}-of-{shards:05d}.parquet"
            part.shard(shards, shard, contiguous=True).to_parquet(path)
    return root


def config_of(root: Path | str, **options: Any) -> DataConfig:
    return DataConfig(source="huggingface", root=str(root), **{"size": 8, "workers": 2, **options})


def greys(config: DataConfig, split: str = "train") -> list[int]:
    return [int(image[0, 0, 0]) for image in load_images(config, split, 0).images]


def refusal(config: DataConfig) -> str:
    with pytest.raises(ImageSourceError) as caught:
        load_images(config, "train", 0)
    return str(caught.value)


@pytest.mark.parametrize("form", ["parquet", "saved", "class folders"])
def test_every_form_gives_the_same(tmp_path: Path, made: dict[str, Any], form: str) -> None:
    root = tmp_path / "set"
    if form == "parquet":
        parquet(root, made)
    elif form == "saved":
        datasets.DatasetDict(made).save_to_disk(root)
    else:
        for name, part in made.items():
            for row in part.cast_column("image", datasets.Image(decode=False)):
                folder = root / name / ("cat", "dog")[row["label"]]
                folder.mkdir(parents=True, exist_ok=True)
                grey = np.asarray(Image.open(io.BytesIO(row["image"]["bytes"])))[0, 0, 0]
                (folder / f"{grey:03d}.png").write_bytes(row["image"]["bytes"])
    config = config_of(root)
    train, held = (load_images(config, split, 0) for split in ("train", "eval"))
    assert train.class_names == held.class_names == ("cat", "dog")
    assert sorted(greys(config)) == list(range(150))
    assert sorted(greys(config, "eval")) == [200, 201, 202, 203]
    assert train.labels is not None
    assert train.labels.tolist() == [int(image[0, 0, 0]) % 2 for image in train.images]
    assert count_images(config, "train", 0) == 150


def test_limit_and_held_out_share(tmp_path: Path, made: dict[str, Any]) -> None:
    root = parquet(tmp_path / "set", {"train": made["train"]})
    config = config_of(root, limit=11, eval_fraction=0.2)
    train, held = (load_images(config, split, 0) for split in ("train", "eval"))
    assert Counter(held.labels.tolist()) == {0: 15, 1: 15}  # type: ignore[union-attr]
    assert sorted(Counter(train.labels.tolist()).values()) == [5, 6]  # type: ignore[union-attr]
    both = {int(image[0, 0, 0]) for image in train.images} & {
        int(image[0, 0, 0]) for image in held.images
    }
    assert not both
    assert [int(i[0, 0, 0]) % 2 for i in train.images] == train.labels.tolist()  # type: ignore[union-attr]


def test_columns_and_splits_by_name(tmp_path: Path) -> None:
    names = rows([1, 2, 3, 4], ["owl", "cat", "owl", "cat"], datasets.Value("string"))
    both = names.add_column("fine", [5, 7, 5, 7])
    twice = both.add_column("other", [0, 0, 0, 0]).rename_column("image", "photo")
    root = parquet(tmp_path / "set", {"train": twice, "test": twice, "odd": twice}, shards=1)
    found = load_images(config_of(root), "train", 0)
    assert (found.labels.tolist(), found.class_names) == ([1, 0, 1, 0], ("cat", "owl"))  # type: ignore[union-attr]
    found = load_images(config_of(root, label_key="fine", image_key="photo"), "train", 0)
    assert (found.labels.tolist(), found.class_names) == ([0, 1, 0, 1], ("5", "7"))  # type: ignore[union-attr]
    assert len(load_images(config_of(root, eval_split="odd"), "eval", 0)) == 4
    assert "photo, label, fine, other" in refusal(config_of(root, label_key="nothing"))
    assert "train, test, odd" in refusal(config_of(root, train_split="trian"))
    assert "1 class" in refusal(config_of(root, label_key="other"))


def test_labels_of_none_are_those_of_a_split_without(tmp_path: Path, made: dict[str, Any]) -> None:
    parts = {
        "train": made["train"],
        "test": rows([1, 2], [-1, -1]),
        "validation": rows([5, 6, 7], [0, 1, -1]),
    }
    config = config_of(parquet(tmp_path / "set", parts, shards=1), max_skipped=0.5)
    held = load_images(config, "eval", 0)
    assert held.labels is not None
    assert [int(image[0, 0, 0]) for image in held.images] == [5, 6]
    assert [file.path for file in held.skipped] == ["validation, row 2"]


def test_fates_of_odd_images(tmp_path: Path) -> None:
    part = rows([1, -1, 2, 3, 4, 5], [0, 1, 0, 1, 0, 1]).cast_column(
        "image", datasets.Image(decode=False)
    )
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    odd = {
        2: {"bytes": b"no image", "path": None},
        3: {"bytes": None, "path": str(pipe)},
        4: {"bytes": None, "path": "http://127.0.0.1:9/x.png"},
    }

    def changed(row: dict[str, Any], index: int) -> dict[str, Any]:
        return {**row, "image": odd.get(index, row["image"])}

    part = part.map(changed, with_indices=True).cast_column("image", datasets.Image())
    root = parquet(tmp_path / "set", {"test": rows([1, 2], [0, 1])})
    pq.write_table(part.data.table, root / "data/train-00000-of-00001.parquet")
    found = load_images(config_of(root, max_skipped=0.9), "train", 0)
    assert [int(image[0, 0, 0]) for image in found.images] == [1, 5]
    assert {file.path: file.reason for file in found.skipped} == {
        "train, row 1": "no image",
        "train, row 2": "not an image of a known format, or a broken header",
        "train, row 3": "cannot be read: not a regular file",
        "train, row 4": "it lies elsewhere than the data set",
    }
    assert "4 of 6 files" in refusal(config_of(root, max_skipped=0.1))


def test_labels_of_parts_that_name_classes_in_another_order(tmp_path: Path) -> None:
    kinds = [datasets.ClassLabel(names=names) for names in (["a", "b"], ["b", "a"])]
    parts = {"train": rows([1, 2], [0, 1], kinds[0]), "test": rows([1, 2], [1, 0], kinds[1])}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "set")
    train, held = (load_images(config_of(tmp_path / "set"), part, 0) for part in ("train", "eval"))
    assert train.class_names == held.class_names == ("a", "b")
    assert train.labels is not None
    assert held.labels is not None
    assert held.labels.tolist() == train.labels.tolist() == [0, 1]


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="Linux tells what was read")
def test_of_parquet_the_labels_are_read_alone(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    values = [{"bytes": generator.bytes(100_000), "path": None} for _ in range(40)]
    part = datasets.Dataset.from_dict(
        {"image": values, "label": [row % 2 for row in range(40)]},
        features=rows([1, 2], [0, 1]).features,
    )
    root = parquet(tmp_path / "set", {"train": part, "test": part})
    size = sum(path.stat().st_size for path in root.rglob("*.parquet"))
    # What the package itself reads is read by then.
    first = parquet(tmp_path / "first", {"train": rows([1, 2, 3, 4], [0, 1, 0, 1])})
    count_images(config_of(first), "train", 0)
    before = bytes_read()
    assert count_images(config_of(root), "train", 0) == 40
    assert size > 8_000_000
    assert bytes_read() - before < size / 10


def bytes_read() -> int:
    return int(Path("/proc/self/io").read_text().split("rchar:")[1].split()[0])


def test_images_as_bytes_and_as_other_programs_write_them(tmp_path: Path) -> None:
    numbers = {"label": [0, 1] * 3, "number": list(range(6))}
    for kind, values in (
        ("bytes", [png(grey) for grey in range(6)]),
        ("struct", [{"bytes": png(grey), "path": None} for grey in range(6)]),
    ):
        root = tmp_path / kind / "data"
        root.mkdir(parents=True)
        for name in ("train", "test"):
            table = pa.table({"picture": values, **numbers})
            pq.write_table(table, root / f"{name}-00000-of-00001.parquet")
        config = config_of(root.parent, image_key="picture")
        assert greys(config) == list(range(6))
        text = refusal(config_of(root.parent, image_key="number"))
        assert "data.image_key = 'number'" in text


def test_a_label_column_without_labels_is_refused(tmp_path: Path) -> None:
    root = parquet(tmp_path / "set", {"train": rows([1, 2, 3], [None, None, None])}, shards=1)
    assert "data.label_key = 'label'" in refusal(config_of(root, label_key="label"))
    assert load_images(config_of(root), "train", 0).labels is None


@pytest.mark.parametrize("cut", ["footer", "data"])
def test_a_damaged_file_is_told(tmp_path: Path, made: dict[str, Any], cut: str) -> None:
    root = parquet(tmp_path / "set", made)
    path = root / "data/train-00001-of-00002.parquet"
    content = bytearray(path.read_bytes())
    if cut == "footer":
        path.write_bytes(content[: len(content) // 2])
    else:
        content[4 : len(content) // 2] = bytes(len(content) // 2 - 4)
        path.write_bytes(content)
    text = refusal(config_of(root, max_skipped=0.9))
    assert "data.root" in text
    assert "split train that cannot be read to its end" in text


def test_a_killed_store_goes_on(
    tmp_path: Path, made: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = parquet(tmp_path / "set", made)
    whole = load_images(config_of(root), "train", 0)
    config = config_of(root, memory_limit_mb=1e-3, cache_dir=str(tmp_path / "cache"))
    original, calls = partial.PartialStore.add, []

    def stopped(store: partial.PartialStore, *block: Any) -> None:
        calls.append(store.done)
        if len(calls) == 2:
            raise KeyboardInterrupt
        original(store, *block)

    monkeypatch.setattr(partial.PartialStore, "add", stopped)
    with pytest.raises(KeyboardInterrupt):
        load_images(config, "train", 0)
    assert load_images(config, "train", 0).fingerprint() == whole.fingerprint()
    assert calls[:3] == [0, 64, 64]
    shutil.copy(
        root / "data/test-00000-of-00002.parquet", root / "data/test-00001-of-00002.parquet"
    )
    load_images(config, "train", 0)
    assert calls.count(0) == 2  # changed files are noticed


def test_what_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no such folder" in refusal(config_of(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    assert "cannot be opened" in refusal(config_of(tmp_path / "empty"))
    bare = datasets.Dataset.from_dict({"label": [1, 2]})
    assert "0 columns of images" in refusal(config_of(parquet(tmp_path / "bare", {"train": bare})))
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ConfigError, match=r"pip install 'ssl_kedro\[huggingface\]'"):
        config_of(tmp_path)
