"""Folders of image files: layouts, splits, limits, errors."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ssl_kedro.images import decode_files
from ssl_kedro.images.image_set import ImageSet, SkippedFile
from ssl_kedro.images.load import DataConfig, ImageSourceError, load_images

THREE = {"train/cat": 4, "train/dog": 4, "train/owl": 4, "test/cat": 2, "test/dog": 2}
THREE |= {"test/owl": 2}


def folder_config(root: Path, **options: object) -> DataConfig:
    return DataConfig(source="folder", root=str(root), **{"size": 8, **options})


def greys(images: ImageSet) -> list[int]:
    """Grey of each plain image, which says which file it is."""
    return [int(image[0, 0, 0]) for image in images.images]


def refusal(config: DataConfig, split: str = "train") -> str:
    with pytest.raises(ImageSourceError) as caught:
        load_images(config, split, 0)
    return str(caught.value)


def test_train_and_test_folders(make_folder) -> None:
    config = folder_config(make_folder(THREE))
    train, held = (load_images(config, split, 0) for split in ("train", "eval"))
    assert train.class_names == held.class_names == ("cat", "dog", "owl")
    assert train.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert train.labels.dtype == np.int64
    # Greys are 37 * folder + file, in the order the folders were made.
    assert greys(train) == [0, 1, 2, 3, 37, 38, 39, 40, 74, 75, 76, 77]
    assert held.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert greys(held) == [111, 112, 148, 149, 185, 186]
    assert train.images.shape == (12, 3, 8, 8)
    assert train.source == "folder"


def test_pretrain_part_is_the_training_part(make_folder) -> None:
    config = folder_config(make_folder(THREE))
    pretrain, train = (load_images(config, split, 0) for split in ("pretrain", "train"))
    assert pretrain.fingerprint() == train.fingerprint()


@pytest.mark.parametrize("part", ["test", "val", "validation", "eval"])
def test_names_of_the_evaluation_part(make_folder, part: str) -> None:
    root = make_folder({"train/a": 2, "train/b": 2, f"{part}/a": 1, f"{part}/b": 1})
    assert greys(load_images(folder_config(root), "eval", 0)) == [74, 111]


def test_labelled_val_goes_before_unlabelled_test(make_folder) -> None:
    counts = {"train/a": 2, "train/b": 2, "test": 3, "val/a": 1, "val/b": 1}
    held = load_images(folder_config(make_folder(counts)), "eval", 0)
    assert held.labels.tolist() == [0, 1]


@pytest.mark.parametrize("prefix", ["", "train/"])
def test_class_folders_alone_are_split_by_class(make_folder, prefix: str) -> None:
    root = make_folder({f"{prefix}a": 10, f"{prefix}b": 20})
    config = folder_config(root, eval_fraction=0.3)
    train, held = (load_images(config, split, 5) for split in ("train", "eval"))
    assert Counter(held.labels.tolist()) == {0: 3, 1: 6}
    assert Counter(train.labels.tolist()) == {0: 7, 1: 14}
    together = sorted(greys(train) + greys(held))
    assert together == sorted([*range(10), *range(37, 57)])
    assert greys(load_images(config, "eval", 5)) == greys(held)
    assert greys(load_images(config, "eval", 6)) != greys(held)


def test_flat_folder_is_unlabelled_with_a_held_out_part(make_folder) -> None:
    config = folder_config(make_folder({"": 10}))
    train, held = (load_images(config, split, 0) for split in ("train", "eval"))
    assert train.labels is None
    assert train.class_names == ()
    assert len(held) == 2
    assert sorted(greys(train) + greys(held)) == list(range(10))


def test_flat_train_and_test_folders(make_folder) -> None:
    config = folder_config(make_folder({"train": 3, "test": 2}))
    train, held = (load_images(config, split, 0) for split in ("train", "eval"))
    assert (train.labels, greys(train), greys(held)) == (None, [0, 1, 2], [37, 38])


def test_a_class_may_be_called_train(make_folder) -> None:
    config = folder_config(make_folder({"bus": 5, "car": 5, "train": 5}))
    assert load_images(config, "train", 0).class_names == ("bus", "car", "train")


def test_folders_inside_class_folders_and_odd_names(make_folder) -> None:
    root = make_folder({"a/deep/deeper": 3, "a": 1, "b": 3, ".hidden": 2, "__MACOSX/b": 2})
    (root / "notes").mkdir()
    (root / "notes" / "readme.txt").write_text("no image")
    (root / "labels.json").write_text("{}")
    (root / "b" / ".DS_Store").write_bytes(b"x")
    (root / "b" / "._0000.png").write_bytes(b"x")
    (root / "b" / "0000.png").rename(root / "b" / "0000.PNG")
    config = folder_config(root, eval_fraction=0.25)
    parts = [load_images(config, split, 0) for split in ("train", "eval")]
    labels = Counter(np.concatenate([part.labels for part in parts]).tolist())
    assert labels == {0: 4, 1: 3}
    assert parts[0].class_names == ("a", "b")
    assert parts[0].skipped == ()


def test_class_folder_may_be_a_link(make_folder, tmp_path: Path) -> None:
    outside = make_folder({"": 4}, name="elsewhere")
    root = make_folder({"a": 4})
    (root / "b").symlink_to(outside, target_is_directory=True)
    assert load_images(folder_config(root), "train", 0).class_names == ("a", "b")


def test_links_to_nothing_are_skipped_by_name(make_folder) -> None:
    for counts in ({"a": 4, "b": 4}, {"": 4}):
        root = make_folder(counts, name=f"images{len(counts)}")
        place = root / "a" if "a" in counts else root
        (place / "9999.png").symlink_to(root / "gone.png")
        config = folder_config(root, max_skipped=0.9, eval_fraction=0.01)
        parts = [load_images(config, split, 0) for split in ("train", "eval")]
        (skipped,) = [file for part in parts for file in part.skipped]
        assert skipped.path.endswith("9999.png")
        assert "No such file" in skipped.reason


# Limits ----------------------------------------------------------------------------------


def test_limit_is_balanced_seeded_and_taken_before_decoding(
    make_folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder({"train/a": 30, "train/b": 30, "test/a": 5, "test/b": 5})
    decoded: list[Path] = []
    original = decode_files.decoded_image

    def counted(path: Path, size: int) -> np.ndarray:
        decoded.append(path)
        return original(path, size)

    monkeypatch.setattr(decode_files, "decoded_image", counted)
    config = folder_config(root, limit=10, eval_limit=4, workers=1)
    train = load_images(config, "train", 0)
    assert len(decoded) == 10
    assert Counter(train.labels.tolist()) == {0: 5, 1: 5}
    assert greys(train) == sorted(greys(train))
    assert greys(load_images(config, "train", 0)) == greys(train)
    assert greys(load_images(config, "train", 1)) != greys(train)
    assert Counter(load_images(config, "eval", 0).labels.tolist()) == {0: 2, 1: 2}


def test_limit_of_unlabelled_images(make_folder) -> None:
    config = folder_config(make_folder({"": 20}), limit=6)
    assert len(load_images(config, "pretrain", 0)) == 6


# Parallel decoding -----------------------------------------------------------------------


@pytest.fixture
def always_parallel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_files, "_FEW_FILES", 0)


def test_order_and_pixels_do_not_depend_on_workers(make_folder, always_parallel: None) -> None:
    # More files than one process takes at a time, times the tasks in the making.
    root = make_folder({"train/a": 400, "train/b": 400, "test/a": 1, "test/b": 1})
    (root / "train/a/0100.png").write_bytes(b"broken")
    serial, parallel = (
        load_images(folder_config(root, workers=workers), "train", 0) for workers in (1, 2)
    )
    assert np.array_equal(serial.images, parallel.images)
    assert np.array_equal(serial.labels, parallel.labels)
    assert serial.skipped == parallel.skipped
    expected = [grey for grey in range(400) if grey != 100]
    assert greys(parallel)[:399] == [grey % 256 for grey in expected]


def test_processes_know_the_pixel_limit(
    make_folder, always_parallel: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder({"train/a": 100, "train/b": 100, "test/a": 1, "test/b": 1})
    Image.new("L", (20, 20)).save(root / "train/b/0000.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300)
    (skipped,) = load_images(folder_config(root, workers=2), "train", 0).skipped
    assert skipped.path == "train/b/0000.png"
    assert "limit of 300" in skipped.reason


def test_process_that_ends_is_noticed(
    make_folder, always_parallel: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder({"train/a": 100, "train/b": 100, "test/a": 1, "test/b": 1})
    original = decode_files._Worker.decoded

    def killing(worker: decode_files._Worker, paths: list[str]) -> object:
        worker._process.kill()
        return original(worker, paths)

    monkeypatch.setattr(decode_files._Worker, "decoded", killing)
    text = refusal(folder_config(root, workers=2))
    assert "ended with code -9 at one of train/a/0000.png" in text
    assert "set data.workers to 1" in text


def test_interruption_ends_the_processes(
    make_folder, always_parallel: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[decode_files._Worker] = []
    original = decode_files._Worker.__init__

    def noted(worker: decode_files._Worker, *given: Any) -> None:
        original(worker, *given)
        started.append(worker)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(decode_files._Worker, "__init__", noted)
    monkeypatch.setattr(decode_files._Worker, "decoded", interrupted)
    root = make_folder({"train/a": 300, "train/b": 300, "test/a": 1, "test/b": 1})
    with pytest.raises(KeyboardInterrupt):
        load_images(folder_config(root, workers=2), "train", 0)
    assert len(started) == 2
    assert all(worker._process.returncode is not None for worker in started)


def test_skipped_files_are_listed_and_leave_labels_in_step(make_folder) -> None:
    root = make_folder({"train/a": 100, "train/b": 100, "test/a": 2, "test/b": 2})
    (root / "train/a/0007.png").write_bytes(b"")
    data = (root / "train/b/0009.png").read_bytes()
    (root / "train/b/0009.png").write_bytes(data[: len(data) // 2])
    train = load_images(folder_config(root), "train", 0)
    assert [file.path for file in train.skipped] == ["train/a/0007.png", "train/b/0009.png"]
    assert train.skipped[0] == SkippedFile("train/a/0007.png", "empty file")
    assert Counter(train.labels.tolist()) == {0: 99, 1: 99}
    wanted = [g for g in range(100) if g != 7] + [37 + g for g in range(100) if g != 9]
    assert greys(train) == wanted


def test_too_many_unreadable_files_end_the_run(make_folder) -> None:
    root = make_folder({"train/a": 50, "train/b": 50, "test/a": 2, "test/b": 2})
    for index in (3, 4):
        (root / f"train/a/000{index}.png").write_bytes(b"")
    text = refusal(folder_config(root))
    for part in (
        "data.root",
        "2 of 100 files",
        "train/a/0003.png (empty file)",
        "train/a/0004.png",
        "1.00%",
        "data.max_skipped",
    ):
        assert part in text
    assert len(load_images(folder_config(root, max_skipped=0.02), "train", 0)) == 98


# Errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize("root", [None, "", "  "])
def test_no_root(root: str | None) -> None:
    text = refusal(DataConfig(source="folder", root=root))
    assert f"data.root = {root!r}" in text
    assert "no folder given" in text
    assert "set data.root" in text


def test_missing_root_and_file_as_root(tmp_path: Path) -> None:
    assert "no such folder" in refusal(folder_config(tmp_path / "nothing"))
    (tmp_path / "file").touch()
    assert "a file, not a folder" in refusal(folder_config(tmp_path / "file"))


def test_empty_folder(make_folder, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "no images" in refusal(folder_config(tmp_path / "empty"))
    root = make_folder(THREE)
    shutil.rmtree(root / "test")
    (root / "test").mkdir()
    assert "no images in test" in refusal(folder_config(root))


def test_one_class(make_folder) -> None:
    text = refusal(folder_config(make_folder({"cat": 5})))
    for part in ("data.root", "1 class folder, 'cat'", "at least two classes", "without labels"):
        assert part in text


def test_one_class_that_holds_the_classes(make_folder) -> None:
    root = make_folder({"photos/cat": 5, "photos/dog": 5})
    assert f"set data.root to {(root / 'photos').as_posix()!r}" in refusal(folder_config(root))


def test_class_of_one_image_cannot_be_split(make_folder) -> None:
    text = refusal(folder_config(make_folder({"cat": 5, "dog": 1})))
    assert "1 image in class 'dog'" in text
    assert "at least 2" in text
    assert "1 image" in refusal(folder_config(make_folder({"": 1}, name="flat")))


def test_classes_of_train_and_test_differ(make_folder) -> None:
    root = make_folder({"train/cat": 2, "train/dog": 2, "test/cat": 2, "test/cow": 2})
    text = refusal(folder_config(root))
    assert "'dog' only in train" in text
    assert "'cow' only in test" in text


def test_images_beside_class_folders(make_folder) -> None:
    text = refusal(folder_config(make_folder({"cat": 5, "dog": 5, "": 3})))
    assert "3 images beside them" in text


@pytest.mark.parametrize(("split", "key"), [("train", "limit"), ("eval", "eval_limit")])
def test_limit_below_the_number_of_classes(make_folder, split: str, key: str) -> None:
    text = refusal(folder_config(make_folder(THREE), **{key: 2}), split)
    assert f"data.{key} = 2" in text
    assert "3 classes" in text
    assert f"raise data.{key}" in text


def test_unknown_split(make_folder) -> None:
    with pytest.raises(ValueError, match="pretrain, train, eval"):
        load_images(folder_config(make_folder(THREE)), "test", 0)
