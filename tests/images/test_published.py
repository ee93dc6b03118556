"""CIFAR and STL-10 in their published file formats, at a small scale.

The files are made here, so their MD5 sums are not the published ones; torchvision's list of
sums is replaced by theirs, and its comparison stays in force.
"""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import CIFAR10, CIFAR100, STL10

from ssl_kedro.images.load import DataConfig, ImageSourceError, load_images


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def cifar_rows(count: int, seed: int) -> np.ndarray:
    """A row an image: 1024 red, 1024 green, 1024 blue values, each row by row."""
    return np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)


@pytest.fixture
def cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()

    def write(name: str, content: dict[str, object]) -> list[str]:
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, md5(folder / name)]

    def batch(name: str, seed: int) -> list[str]:
        return write(name, {"data": cifar_rows(10, seed), "labels": list(range(10))})

    monkeypatch.setattr(CIFAR10, "train_list", [batch(f"data_batch_{n}", n) for n in (1, 2)])
    monkeypatch.setattr(CIFAR10, "test_list", [batch("test_batch", 9)])
    names = [f"name {number}" for number in range(10)]
    _, checksum = write("batches.meta", {"label_names": names})
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": checksum})
    return tmp_path


@pytest.fixture
def stl10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    sums = {}
    generator = np.random.default_rng(0)
    for split, count in (("train", 20), ("test", 10), ("unlabeled", 5)):
        # Published column by column: the last axis runs down the image.
        pixels = generator.integers(0, 256, (count, 3, 96, 96), dtype=np.uint8)
        (folder / f"{split}_X.bin").write_bytes(pixels.tobytes())
        if split != "unlabeled":
            labels = (np.arange(count) % 10 + 1).astype(np.uint8)
            (folder / f"{split}_y.bin").write_bytes(labels.tobytes())
    for path in folder.iterdir():
        sums[path.name] = md5(path)
    for attribute in ("train_list", "test_list"):
        listed = [[name, sums[name]] for name, _ in getattr(STL10, attribute)]
        monkeypatch.setattr(STL10, attribute, listed)
    return tmp_path


def refusal(config: DataConfig, split: str = "train") -> str:
    with pytest.raises(ImageSourceError) as caught:
        load_images(config, split, 0)
    return str(caught.value)


def test_cifar10(cifar10: Path) -> None:
    config = DataConfig(source="cifar10", root=str(cifar10))
    train, held = (load_images(config, split, 0) for split in ("train", "eval"))
    rows = np.concatenate([cifar_rows(10, 1), cifar_rows(10, 2)])
    assert np.array_equal(train.images.reshape(20, 3072), rows)
    assert np.array_equal(held.images.reshape(10, 3072), cifar_rows(10, 9))
    assert train.labels.tolist() == [*range(10), *range(10)]
    assert train.class_names[3] == "name 3"
    few = DataConfig(source="cifar10", root=str(cifar10), limit=10)
    assert sorted(load_images(few, "train", 0).labels.tolist()) == list(range(10))
    smaller = DataConfig(source="cifar10", root=str(cifar10), size=16)
    assert load_images(smaller, "pretrain", 0).images.shape == (20, 3, 16, 16)


def test_changed_cifar_batch_is_not_unpickled(cifar10: Path, tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "attacked",)

    (cifar10 / "cifar-10-batches-py" / "data_batch_1").write_bytes(pickle.dumps(Attack()))
    text = refusal(DataConfig(source="cifar10", root=str(cifar10)))
    assert "differ from the published ones" in text
    assert not (tmp_path / "attacked").exists()


@pytest.mark.parametrize(
    ("source", "kind"), [("cifar10", CIFAR10), ("cifar100", CIFAR100), ("stl10", STL10)]
)
def test_data_set_that_is_not_there(source: str, kind: type, tmp_path: Path) -> None:
    for root in (None, str(tmp_path / "nothing"), str(tmp_path)):
        text = refusal(DataConfig(source=source, root=root))
        assert f"data.root = {root!r}" in text
        assert f"{kind.base_folder}/" in text
        assert kind.url in text
        assert "set data.root" in text


def test_cifar100_has_a_hundred_fine_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    batch = {"data": cifar_rows(100, 0), "fine_labels": list(range(100))}
    for name in ("train", "test"):
        (folder / name).write_bytes(pickle.dumps(batch))
        monkeypatch.setattr(CIFAR100, f"{name}_list", [[name, md5(folder / name)]])
    names = {"fine_label_names": [f"fine {number}" for number in range(100)]}
    (folder / "meta").write_bytes(pickle.dumps(names))
    monkeypatch.setattr(CIFAR100, "meta", {**CIFAR100.meta, "md5": md5(folder / "meta")})
    images = load_images(DataConfig(source="cifar100", root=str(tmp_path)), "eval", 0)
    assert images.class_names[99] == "fine 99"
    assert images.labels.tolist() == list(range(100))
    assert images.source == "cifar100"


@pytest.mark.parametrize(
    ("split", "published"), [("pretrain", "unlabeled"), ("train", "train"), ("eval", "test")]
)
def test_stl10_agrees_with_torchvision(stl10: Path, split: str, published: str) -> None:
    images = load_images(DataConfig(source="stl10", root=str(stl10), size=96), split, 0)
    oracle = STL10(stl10, split=published)
    assert len(images) == len(oracle)
    assert np.array_equal(images.images, oracle.data)
    if split == "pretrain":
        assert images.labels is None
        assert images.class_names == ()
    else:
        assert images.labels.tolist() == oracle.labels.tolist()
        assert images.class_names[0] == "airplane"
        assert len(images.class_names) == 10


def test_stl10_at_another_size_and_in_a_memory_map(stl10: Path, tmp_path: Path) -> None:
    options = {"source": "stl10", "root": str(stl10), "size": 32, "limit": 10}
    plain = load_images(DataConfig(**options), "train", 0)
    small = DataConfig(**options, memory_limit_mb=0.01, cache_dir=str(tmp_path / "cache"))
    mapped = load_images(small, "train", 0)
    assert plain.images.shape == (10, 3, 32, 32)
    assert sorted(plain.labels.tolist()) == list(range(10))
    assert isinstance(mapped.images, np.memmap)
    assert np.array_equal(mapped.images, plain.images)


def test_stl10_files_that_are_missing_or_changed(stl10: Path) -> None:
    config = DataConfig(source="stl10", root=str(stl10))
    labels = stl10 / "stl10_binary" / "train_y.bin"
    labels.write_bytes(b"\1" * 20)
    assert "train_y.bin that is not the published one" in refusal(config)
    labels.unlink()
    assert "no stl10_binary/train_y.bin" in refusal(config)
    # The parts do not need one another's files.
    assert len(load_images(config, "eval", 0)) == 10
