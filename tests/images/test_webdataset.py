"""Tar files of images: the same images as in a folder, and a fate for whatever else is in them."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import tarfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import fsspec
import numpy as np
import pytest
from PIL import Image

from ssl_kedro.core.config import ConfigError
from ssl_kedro.datasets.sources import ImageSourceDataset
from ssl_kedro.images import partial
from ssl_kedro.images.decode import decoded_inside
from ssl_kedro.images.files import UnreadableImageError
from ssl_kedro.images.load import DataConfig, ImageSourceError, count_images, load_images
from ssl_kedro.images.sources.webdataset import _braces
from ssl_kedro.images.tar_index import tar_index

Entry = tuple[str, bytes]


def png(grey: int, side: int = 8) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((side, side, 3), grey, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def write_tar(path: Path, entries: Iterable[Entry | tarfile.TarInfo]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                tar.addfile(entry)
                continue
            info = tarfile.TarInfo(entry[0])
            info.size = len(entry[1])
            tar.addfile(info, io.BytesIO(entry[1]))
    return path


def labelled(first: int, count: int, classes: int = 2) -> list[Entry]:
    """Images of greys ``first`` on, whose label is the grey modulo ``classes``."""
    return [
        entry
        for grey in range(first, first + count)
        for entry in (
            (f"{grey:06d}.png", png(grey)),
            (f"{grey:06d}.cls", str(grey % classes).encode()),
        )
    ]


def config_of(root: Path | str, **options: object) -> DataConfig:
    return DataConfig(source="webdataset", root=str(root), **{"size": 8, **options})


def greys(config: DataConfig, split: str = "train", seed: int = 0) -> list[int]:
    return [int(image[0, 0, 0]) for image in load_images(config, split, seed).images]


def refusal(config: DataConfig, split: str = "train") -> str:
    with pytest.raises(ImageSourceError) as caught:
        load_images(config, split, 0)
    return str(caught.value)


def test_parts_by_the_first_word_of_a_name(tmp_path: Path) -> None:
    write_tar(tmp_path / "train-0000.tar", labelled(0, 10))
    write_tar(tmp_path / "train-0001.tar", labelled(10, 5))
    write_tar(tmp_path / "val-0000.tar", labelled(50, 4))
    config = config_of(tmp_path)
    train, held = (load_images(config, split, 0) for split in ("train", "eval"))
    assert greys(config) == list(range(15))
    assert train.labels is not None
    assert train.labels.tolist() == [grey % 2 for grey in range(15)]
    assert train.class_names == held.class_names == ("0", "1")
    assert greys(config, "eval") == [50, 51, 52, 53]
    assert count_images(config, "train", 0) == 15


def test_the_word_of_a_part_stands_anywhere_in_a_name(tmp_path: Path) -> None:
    write_tar(tmp_path / "a/imagenet1k-train-0000.tar", labelled(0, 6))
    write_tar(tmp_path / "a/imagenet1k_validation_00.tar", labelled(50, 4))
    assert greys(config_of(tmp_path / "a")) == list(range(6))
    assert greys(config_of(tmp_path / "a"), "eval") == [50, 51, 52, 53]
    write_tar(tmp_path / "b/train/0.tar", labelled(0, 6))
    write_tar(tmp_path / "b/validation/val-0.tar", labelled(50, 4))
    assert greys(config_of(tmp_path / "b"), "eval") == [50, 51, 52, 53]
    write_tar(tmp_path / "b/train/test-0.tar", labelled(90, 4))
    assert "both train and test, train/test-0.tar" in refusal(config_of(tmp_path / "b"))
    # No part is said by a word within another one.
    write_tar(tmp_path / "c/constraints.tar", labelled(0, 6))
    write_tar(tmp_path / "c/latest.tar", labelled(6, 4))
    assert len(greys(config_of(tmp_path / "c"))) == 8


def test_parts_by_folder_and_pattern(tmp_path: Path) -> None:
    write_tar(tmp_path / "train/a.tar", labelled(0, 4))
    write_tar(tmp_path / "test/a.tar", labelled(4, 4))
    assert greys(config_of(tmp_path), "eval") == [4, 5, 6, 7]
    for number in range(3):
        write_tar(tmp_path / f"flat/x-{number:03d}.tar", labelled(10 * number, 10))
    for pattern, kept in (("x-{000..001}.tar", 20), ("x-{000,002}.tar", 20), ("x-*.tar", 30)):
        config = config_of(tmp_path / "flat" / pattern)
        assert len(greys(config)) + len(greys(config, "eval")) == kept


def test_a_file_that_a_pattern_names_has_to_be_there(tmp_path: Path) -> None:
    for number in (0, 1, 3):
        write_tar(tmp_path / f"train-{number:03d}.tar", labelled(10 * number, 10))
    text = refusal(config_of(tmp_path / "train-{000..004}.tar"))
    assert "no train-002.tar, train-004.tar in" in text
    assert len(greys(config_of(tmp_path / "{train,val}-*.tar"))) == 24


def test_braces_are_those_of_a_shell() -> None:
    assert list(_braces("a-{08..11}-{x,y}.tar")) == [
        f"a-{number}-{letter}.tar" for number in ("08", "09", "10", "11") for letter in "xy"
    ]
    assert list(_braces("{9..10}")) == ["9", "10"]


def test_a_share_of_each_class_is_held_out(tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", labelled(0, 30, classes=3))
    config = config_of(tmp_path, eval_fraction=0.3)
    parts = [load_images(config, split, 5) for split in ("train", "eval")]
    assert Counter(parts[1].labels.tolist()) == {0: 3, 1: 3, 2: 3}  # type: ignore[union-attr]
    assert sorted(greys(config, seed=5) + greys(config, "eval", 5)) == list(range(30))


def test_the_same_images_are_chosen_as_of_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    entries = []
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for index in range(20):
            grey = index + 100 * (name == "b")
            (folder / name / f"{index:03d}.png").write_bytes(png(grey))
            entries += [
                (f"{name}/{index:03d}.png", png(grey)),
                (f"{name}/{index:03d}.cls", name.encode()),
            ]
    write_tar(tmp_path / "tars/0.tar", entries)
    for limit in (None, 7):
        both = [
            load_images(DataConfig(source=source, root=str(root), size=8, limit=limit), "train", 3)
            for source, root in (("folder", folder), ("webdataset", tmp_path / "tars"))
        ]
        assert both[0].fingerprint() == both[1].fingerprint()
        assert both[0].class_names == both[1].class_names


def test_labels_of_every_kind(tmp_path: Path) -> None:
    def shards(name: str, ending: str, contents: list[bytes]) -> Path:
        entries = [(f"{i}.png", png(i)) for i in range(len(contents))]
        labels = [(f"{i}.{ending}", content) for i, content in enumerate(contents)]
        mixed = [entry for pair in zip(entries, labels, strict=True) for entry in pair]
        return write_tar(tmp_path / name / "train-0.tar", mixed).parent

    def labels_of(root: Path, **options: object) -> tuple[list[int] | None, tuple[str, ...]]:
        write_tar(root / "test-0.tar", tarfile_entries(root))
        found = load_images(config_of(root, **options), "train", 0)
        return None if found.labels is None else found.labels.tolist(), found.class_names

    def tarfile_entries(root: Path) -> list[Entry]:
        with tarfile.open(root / "train-0.tar") as tar:
            return [(m.name, tar.extractfile(m).read()) for m in tar.getmembers()]  # type: ignore[union-attr]

    assert labels_of(shards("numbers", "cls", [b"10\n", b"9", b"10"])) == ([1, 0, 1], ("9", "10"))
    texts = shards("texts", "txt", [b"owl", b"cat", b"owl"])
    assert labels_of(texts) == (None, ())
    assert labels_of(texts, label_key="txt") == ([1, 0, 1], ("cat", "owl"))
    values = [json.dumps({"label": n, "kind": k}).encode() for n, k in ((1, "x"), (0, "y"))]
    assert labels_of(shards("json", "json", values)) == ([1, 0], ("0", "1"))
    assert labels_of(shards("key", "json", values), label_key="kind") == ([0, 1], ("x", "y"))
    named = shards("named", "cls", [b"2", b"0"])
    (named / "classnames.txt").write_text("cat\ndog\nowl\n")
    assert labels_of(named) == ([2, 0], ("cat", "dog", "owl"))
    (named / "classnames.txt").write_text("cat\ndog\n")
    assert "'2'" in refusal(config_of(named)) or "2" in refusal(config_of(named))
    (named / "classnames.txt").unlink()
    (named / "classnames.json").write_text('{"0": "a", "1": "b", "2": "c"}')
    assert labels_of(named)[1] == ("a", "b", "c")
    (named / "classnames.json").write_text("[1]")
    assert "classnames.json" in refusal(config_of(named))
    assert "label_key" in refusal(config_of(shards("none", "txt", [b"a", b"b"]), label_key="cls"))


@pytest.mark.parametrize("key", ["TXT", ".txt", "txt"])
def test_keys_in_any_case_and_with_their_dot(tmp_path: Path, key: str) -> None:
    entries = [(f"{i}.{end}", text) for i in range(4) for end, text in (("TXT", b"ab"[i % 2 :]),)]
    mixed = [both for i in range(4) for both in ((f"{i}.JPG", png(i)), entries[i])]
    write_tar(tmp_path / "0.tar", mixed)
    found = load_images(config_of(tmp_path, label_key=key, image_key=".JPG"), "train", 0)
    assert found.class_names == ("ab", "b")
    assert found.passed_over == {}


def test_labels_that_are_none_are_lost(tmp_path: Path) -> None:
    odd = {
        "a": ("cls", b"1" * 5000),
        "b": ("json", json.dumps({"label": "1" * 5000}).encode()),
        "c": ("json", b'{"label": ""}'),
        "d": ("cls", b" "),
        "e": ("json", b'{"label": 0.0}'),
    }
    entries = [
        entry
        for name, (ending, text) in odd.items()
        for entry in ((f"{name}.png", png(0)), (f"{name}.{ending}", text))
    ]
    write_tar(tmp_path / "some/train-0.tar", [*labelled(0, 6), *entries])
    write_tar(tmp_path / "some/test-0.tar", labelled(0, 4))
    found = load_images(config_of(tmp_path / "some", max_skipped=0.9), "train", 0)
    assert found.class_names == ("0", "1")
    assert {file.path[-1]: file.reason for file in found.skipped} == {
        "a": "its label is a number of 5000 digits",
        "b": "its label is a number of 5000 digits",
        "c": "its label is empty",
        "d": "its label is empty",
        "e": "its label is neither a whole number nor a name: 0.0",
    }
    write_tar(tmp_path / "none/0.tar", entries)
    text = refusal(config_of(tmp_path / "none"))
    assert "no images in train that can be read: 0.tar/a (its label is a number of" in text


def test_corrected_class_names_reach_a_store_that_is_there(tmp_path: Path) -> None:
    write_tar(tmp_path / "s/0.tar", labelled(0, 10))
    config = config_of(tmp_path / "s", memory_limit_mb=1e-4, cache_dir=str(tmp_path / "cache"))
    assert load_images(config, "train", 0).class_names == ("0", "1")
    for names in (("cat", "dgo"), ("cat", "dog")):
        (tmp_path / "s/classnames.txt").write_text("\n".join(names))
        assert load_images(config, "train", 0).class_names == names


def special(name: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd"
    return info


def test_fates_of_odd_members(tmp_path: Path) -> None:
    entries: list[Entry | tarfile.TarInfo] = [
        special("folder", tarfile.DIRTYPE),
        ("../../escape.png", png(1)),
        ("../../escape.cls", b"0"),
        ("/etc/absolute.png", png(2)),
        ("/etc/absolute.cls", b"1"),
        special("link.png", tarfile.SYMTYPE),
        special("hard.png", tarfile.LNKTYPE),
        special("pipe.png", tarfile.FIFOTYPE),
        ("bare.cls", b"0"),
        ("twice.png", png(3)),
        ("twice.png", png(4)),
        ("twice.cls", b"0"),
        ("two.png", png(5)),
        ("two.jpg", b"other"),
        ("two.cls", b"1"),
        ("nolabel.png", png(6)),
        ("long.png", png(7)),
        ("long.cls", b"1" * (2**20 + 1)),
        ("deep.png", png(8)),
        ("deep.json", b"[" * 100_000),
        ("broken.png", b"no image"),
        ("broken.cls", b"1"),
        ("._hidden.png", b"x"),
        ("__MACOSX/a.png", b"x"),
        ("notes.heic", b"x"),
        ("last.png", png(9)),
        ("last.cls", b"0"),
    ]
    write_tar(tmp_path / "train-0.tar", entries)
    write_tar(tmp_path / "test-0.tar", labelled(0, 4))
    before = sorted(tmp_path.rglob("*"))
    found = load_images(config_of(tmp_path, max_skipped=0.9), "train", 0)
    assert [int(image[0, 0, 0]) for image in found.images] == [1, 2, 3, 5, 9]
    assert found.labels is not None
    assert found.labels.tolist() == [0, 1, 0, 1, 0]
    reasons = {file.path.removeprefix("train-0.tar/"): file.reason for file in found.skipped}
    assert set(reasons) == {
        *("link", "hard", "pipe", "bare", "twice.png", "nolabel.png", "long", "deep"),
        *("broken.png", "notes"),
    }
    assert "link" in reasons["link"]
    assert reasons["bare"] == "no image beside it"
    assert reasons["nolabel.png"] == "no label"
    assert found.passed_over == {".jpg": 1}
    assert sorted(tmp_path.rglob("*")) == before  # nothing was unpacked
    assert "files that cannot be read" in refusal(config_of(tmp_path))


@pytest.mark.parametrize(
    "damage",
    [
        *("data", "header", "boundary", "flipped", "no tar", "empty", "zeros", "two tars"),
    ],
)
def test_a_damaged_shard_is_told_and_the_others_are_read(tmp_path: Path, damage: str) -> None:
    write_tar(tmp_path / "train-0.tar", labelled(0, 6))
    bad = write_tar(tmp_path / "train-1.tar", labelled(10, 6))
    write_tar(tmp_path / "train-2.tar", labelled(20, 6))
    write_tar(tmp_path / "test-0.tar", labelled(0, 4))
    data = bad.read_bytes()
    # A header, an image in one block, a header, a label: 2,048 bytes a sample.
    cut = {"data": 2048 + 530, "header": 2048 + 100, "boundary": 2 * 2048}
    if damage in cut:
        bad.write_bytes(data[: cut[damage]])
    elif damage == "zeros":
        bad.write_bytes(data[:2048] + bytes(512) + data[2560:])
    elif damage == "two tars":
        bad.write_bytes(data + write_tar(tmp_path / "other.tar_", labelled(30, 6)).read_bytes())
    elif damage == "flipped":
        bad.write_bytes(data[:2048] + b"\xff" * 512 + data[2560:])
    else:
        bad.write_bytes(b"" if damage == "empty" else b"no tar at all" * 100)
    config = config_of(tmp_path, max_skipped=0.2)
    found = load_images(config, "train", 0)
    whole = {"boundary": [10, 11], "no tar": [], "empty": [], "two tars": list(range(10, 16))}
    read = whole.get(damage, [10])
    assert greys(config) == [*range(6), *read, *range(20, 26)]
    (skipped,) = found.skipped
    assert skipped.path == "train-1.tar"
    assert f"{len(read)} images before that" in skipped.reason
    assert "train-1.tar" in refusal(config_of(tmp_path))


def test_a_header_that_claims_to_be_huge_or_negative(tmp_path: Path) -> None:
    for size in (2**40, -512):
        info = tarfile.TarInfo("a" * 10)
        info.type, info.size = tarfile.GNUTYPE_LONGNAME, size
        path = tmp_path / "a.tar"
        path.write_bytes(labelled_bytes(tmp_path) + info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
        began = time.perf_counter()
        index = tar_index(tmp_path, ("a.tar",), None, None, lambda _: None)
        assert time.perf_counter() - began < 5
        assert len(index.names) == 3
        assert [file.path for file in index.lost] == ["a.tar"]


def test_no_damage_is_more_than_a_lost_shard(tmp_path: Path) -> None:
    whole = bytearray(write_tar(tmp_path / "a.tar", labelled(0, 8)).read_bytes())
    generator = np.random.default_rng(0)
    expected = [png(grey) for grey in range(8)]
    for _ in range(150):
        data = whole.copy()
        # In headers, where it matters most: the first 512 of each 1,024 bytes.
        for place in generator.integers(0, 512, generator.integers(1, 8)):
            data[1024 * int(generator.integers(0, 16)) + int(place)] = generator.integers(0, 256)
        (tmp_path / "a.tar").write_bytes(data[: generator.integers(1, len(data))])
        index = tar_index(tmp_path, ("a.tar",), None, None, lambda _: None)
        spans = [bytes(data[start : start + size]) for start, size in index.spans]
        assert len(spans) == len(index.names) == len(index.codes)
        assert [span for span in spans if span in expected] == [
            image for image in expected if image in spans
        ]
        assert len(spans) == 8 or index.lost


def test_an_image_whose_file_was_cut_since(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(bytes(100) + png(5))
    assert decoded_inside(tmp_path / "a.tar", 100, len(png(5)), 8).max() == 5
    with pytest.raises(UnreadableImageError, match="10 bytes too early"):
        decoded_inside(tmp_path / "a.tar", 100, len(png(5)) + 10, 8)


def test_shards_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    system = fsspec.filesystem("memory")
    system.pipe("/shards/train-0.tar", write_tar(tmp_path / "a.tar", labelled(0, 6)).read_bytes())
    system.pipe("/shards/test-0.tar", write_tar(tmp_path / "b.tar", labelled(9, 4)).read_bytes())
    config = config_of("memory://shards")
    assert greys(config) == [0, 1, 2, 3, 4, 5]
    assert greys(config, "eval") == [9, 10, 11, 12]
    assert (
        ImageSourceDataset(split="eval", data=dataclasses.asdict(config)).load().labels is not None
    )


def labelled_bytes(tmp_path: Path) -> bytes:
    """A tar of three samples without its end."""
    return write_tar(tmp_path / "three.tar", labelled(0, 3)).read_bytes()[: 3 * 2048]


def test_index_lies_right_in_every_format(tmp_path: Path) -> None:
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        path = tmp_path / f"{form}.tar"
        with tarfile.open(path, "w", format=form) as tar:
            for number in range(5):
                name = f"{'d' * 60}/{'e' * 60}/{number}.png"
                info = tarfile.TarInfo(name)
                info.size = len(png(number))
                tar.addfile(info, io.BytesIO(png(number)))
        index = tar_index(tmp_path, (path.name,), None, None, lambda _: None)
        data = path.read_bytes()
        parts = [data[start : start + size] for start, size in index.spans]
        assert parts == [png(number) for number in range(5)]
        assert index.codes.tolist() == [-1] * 5


def test_a_killed_store_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        write_tar(tmp_path / f"s/{number}.tar", labelled(50 * number, 50))
    whole = load_images(config_of(tmp_path / "s"), "train", 0)
    config = config_of(tmp_path / "s", memory_limit_mb=1e-3, cache_dir=str(tmp_path / "cache"))
    monkeypatch.setattr(partial, "_KEPT_EVERY_S", 0.0)
    original, calls = partial.PartialStore.add, []

    def stopped(store: partial.PartialStore, *block: object) -> None:
        calls.append(store.done)
        if len(calls) == 2:
            raise KeyboardInterrupt
        original(store, *block)  # type: ignore[arg-type]

    monkeypatch.setattr(partial.PartialStore, "add", stopped)
    with pytest.raises(KeyboardInterrupt):
        load_images(config, "train", 0)
    mapped = load_images(config, "train", 0)
    assert calls[:3] == [0, 64, 64]
    assert mapped.fingerprint() == whole.fingerprint()
    os.utime(tmp_path / "s/0.tar", (1, 1))
    load_images(config, "train", 0)
    assert calls.count(0) == 2  # a changed shard is noticed


def test_what_is_refused(tmp_path: Path) -> None:
    assert "no such folder" in refusal(config_of(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    assert "no .tar files" in refusal(config_of(tmp_path / "empty"))
    (tmp_path / "empty/a.tar.gz").write_bytes(b"x")
    assert "packed ones (a.tar.gz" in refusal(config_of(tmp_path / "empty"))
    os.mkfifo(tmp_path / "empty/b.tar")
    assert "no .tar files" in refusal(config_of(tmp_path / "empty"))
    write_tar(tmp_path / "one/0.tar", labelled(0, 6, classes=1))
    assert "1 class" in refusal(config_of(tmp_path / "one"))
    write_tar(tmp_path / "mixed/train-0.tar", labelled(0, 6))
    write_tar(tmp_path / "mixed/extra-0.tar", labelled(0, 6))
    assert "extra-0.tar" in refusal(config_of(tmp_path / "mixed"))
    write_tar(tmp_path / "nothing/0.tar", [("a.txt", b"x")])
    assert "no images" in refusal(config_of(tmp_path / "nothing"))
    write_tar(tmp_path / "differ/train-0.tar", labelled(0, 6))
    write_tar(tmp_path / "differ/test-0.tar", labelled(0, 6, classes=3))
    assert "only in test" in refusal(config_of(tmp_path / "differ"))
    with pytest.raises(ConfigError, match="no such option"):
        DataConfig(source="folder", root="x", label_key="cls")
