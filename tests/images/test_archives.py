"""Archives of images: what comes out, where to, and what does not."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from images.test_folder import greys
from ssl_kedro.images.archives import is_archive, unpacked
from ssl_kedro.images.load import DataConfig, ImageSourceError, load_images, source_of

LAYOUT = {"train/cat": 2, "train/dog": 2, "test/cat": 1, "test/dog": 1}


def config_of(path: Path, tmp_path: Path, **options: object) -> DataConfig:
    cache = str(tmp_path / "cache")
    return DataConfig(source="folder", root=str(path), size=8, cache_dir=cache, **options)


@pytest.fixture(params=["zip", "tar", "tar.gz"])
def archive(request, make_folder, tmp_path: Path) -> Path:
    """An archive of a folder of two classes in two parts, with that folder's name in front."""
    root = make_folder(LAYOUT)
    (root / "readme.txt").write_text("no image")
    path = tmp_path / f"images.{request.param}"
    if request.param == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
            for file in sorted(root.rglob("*.*")):
                made.write(file, file.relative_to(tmp_path))
    else:
        with tarfile.open(path, "w:gz" if request.param.endswith("gz") else "w") as made:
            made.add(root, "images")
    return path


def test_an_archive_reads_as_the_folder_in_it(archive: Path, make_folder, tmp_path: Path) -> None:
    config, folder = (config_of(path, tmp_path) for path in (archive, tmp_path / "images"))
    for split in ("train", "eval"):
        one, other = load_images(config, split, 0), load_images(folder, split, 0)
        assert one.fingerprint() == other.fingerprint()
        assert one.class_names == ("cat", "dog")
    assert source_of(archive) == "folder"
    assert not list((tmp_path / "cache").rglob("readme.txt"))


def test_it_is_unpacked_once_and_anew_when_it_changes(archive: Path, tmp_path: Path) -> None:
    config = config_of(archive, tmp_path)
    folder = unpacked(archive, config)
    dated = folder.stat().st_mtime_ns
    assert unpacked(archive, config) == folder
    assert folder.stat().st_mtime_ns == dated
    with archive.open("ab") as file:
        file.write(b"\0" * 512)
    assert unpacked(archive, config) != folder


def test_what_lies_outside_or_is_no_file_stays_in_the_archive(tmp_path: Path) -> None:
    path = tmp_path / "evil.tar"
    with tarfile.open(path, "w") as made:
        for name in ("../up.png", "/abs.png", "a/../../up2.png", ".hidden/x.png", "in/side.png"):
            info = tarfile.TarInfo(name)
            info.size = 3
            made.addfile(info, io.BytesIO(b"abc"))
        link = tarfile.TarInfo("in/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        made.addfile(link)
    folder = unpacked(path, config_of(path, tmp_path))
    assert [file.name for file in folder.rglob("*.png")] == ["side.png"]
    assert not list(tmp_path.glob("up*.png"))


@pytest.mark.parametrize("name", ["broken.zip", "broken.tar.gz"])
def test_a_damaged_archive_is_told_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"no archive at all" * 100)
    with pytest.raises(ImageSourceError, match="cannot be read"):
        load_images(config_of(tmp_path / name, tmp_path), "train", 0)
    assert not list((tmp_path / "cache").glob("unpacked*"))


def test_an_archive_without_images(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "texts.zip", "w") as made:
        made.writestr("a.txt", "a")
    with pytest.raises(ImageSourceError, match="no image in it"):
        load_images(config_of(tmp_path / "texts.zip", tmp_path), "train", 0)


def test_only_files_are_archives(tmp_path: Path) -> None:
    (tmp_path / "folder.zip").mkdir()
    assert not is_archive(tmp_path / "folder.zip")
    assert is_archive(tmp_path / "Images.ZIP")


def test_images_at_any_depth_without_classes(make_folder, tmp_path: Path) -> None:
    root = make_folder({"2021/may": 3, "2022": 2, ".": 1})
    config = config_of(root, tmp_path, labels="none", eval_fraction=0.5)
    train, held = (load_images(config, split, 0) for split in ("train", "eval"))
    assert train.labels is None
    assert sorted(greys(train) + greys(held)) == [0, 1, 2, 37, 38, 74]
