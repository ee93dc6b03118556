from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssl_kedro.images.decode import Resize, decoded_part
from ssl_kedro.images.files import UnreadableImageError
from ssl_kedro.images.photographs import (
    ArrayPhotographs,
    Batch,
    FilePhotographs,
    Unreadable,
    batches,
)


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    generator = np.random.default_rng(seed)
    return Image.fromarray(generator.integers(0, 256, (height, width, 3), np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index in range(12):
        picture(40, 30 if index < 7 else 50, index).save(tmp_path / f"{index:02d}.png")
    return tmp_path


def photographs(folder: Path, boxes: np.ndarray | None = None) -> FilePhotographs:
    paths = sorted(folder.glob("*.png"))
    return FilePhotographs(paths, [path.name for path in paths], boxes)


def test_a_box_is_cut_out_before_resizing(folder: Path) -> None:
    whole = np.asarray(Image.open(folder / "00.png")).transpose(2, 0, 1)
    found = decoded_part(folder / "00.png", Resize(10), (4.4, 2.6, 14.4, 12.6))
    assert np.array_equal(found, whole[:, 3:13, 4:14])
    # beyond the edges, as published boxes are now and then
    assert decoded_part(folder / "00.png", Resize(8), (-5, -5, 500, 500)).shape == (3, 8, 8)
    with pytest.raises(UnreadableImageError, match="no pixel"):
        decoded_part(folder / "00.png", Resize(8), (41, 2, 60, 9))


def test_a_box_is_in_pixels_of_the_full_jpeg(tmp_path: Path) -> None:
    image = np.zeros((800, 800, 3), np.uint8)
    image[400:, 400:] = 255
    Image.fromarray(image).save(tmp_path / "a.jpg", quality=95)
    found = decoded_part(tmp_path / "a.jpg", Resize(16), (400, 400, 800, 800))
    assert found[:, 1:, 1:].min() > 240


@pytest.mark.parametrize(("keep", "shape"), [(False, (3, 20, 20)), (True, (3, 15, 20))])
def test_shape_of_the_result(folder: Path, keep: bool, shape: tuple[int, int, int]) -> None:
    assert decoded_part(folder / "00.png", Resize(20, keep)).shape == shape


def test_batches_hold_images_of_one_shape_in_order(folder: Path) -> None:
    taken = list(batches(photographs(folder), Resize(20, keep_aspect=True), 4, workers=3))
    assert all(isinstance(batch, Batch) for batch in taken)
    found = [b for b in taken if isinstance(b, Batch)]
    assert [b.indices.tolist() for b in found] == [[0, 1, 2, 3], [4, 5, 6], [7, 8, 9, 10], [11]]
    assert [b.images.shape[2:] for b in found] == [(15, 20), (15, 20), (20, 16), (20, 16)]
    for batch in found:
        for index, image in zip(batch.indices, batch.images, strict=True):
            direct = decoded_part(folder / f"{index:02d}.png", Resize(20, keep_aspect=True))
            assert np.array_equal(image, direct)


def test_a_broken_file_is_named_and_the_others_come(folder: Path) -> None:
    (folder / "03.png").write_bytes(b"no image")
    (folder / "05.png").write_bytes(b"")
    taken = list(batches(photographs(folder), Resize(16), 32))
    broken = {item.index: item.reason for item in taken if isinstance(item, Unreadable)}
    assert set(broken) == {3, 5}
    assert broken[5] == "empty file"
    indices = [i for item in taken if isinstance(item, Batch) for i in item.indices]
    assert indices == [0, 1, 2, 4, 6, 7, 8, 9, 10, 11]


def test_only_a_few_images_are_decoded_ahead() -> None:
    decoded: list[int] = []
    lock = threading.Lock()

    class Counted(ArrayPhotographs):
        def decoded(self, index: int, resize: Resize) -> np.ndarray:
            with lock:
                decoded.append(index)
            return super().decoded(index, resize)

    made = Counted(np.zeros((500, 3, 8, 8), np.uint8), [str(i) for i in range(500)])
    running = batches(made, Resize(8), 4, workers=2)
    next(running)
    assert len(decoded) < 60
    running.close()  # type: ignore[attr-defined]
    assert len(decoded) < 60


def test_the_fingerprint_follows_names_boxes_and_content(folder: Path) -> None:
    first = photographs(folder).fingerprint()
    assert photographs(folder).fingerprint() == first
    boxes = np.full((12, 4), np.nan)
    assert photographs(folder, boxes).fingerprint() == first
    boxes[2] = (0, 0, 5, 5)
    boxed = photographs(folder, boxes).fingerprint()
    assert boxed != first
    picture(41, 30).save(folder / "00.png")
    assert photographs(folder).fingerprint() != first
    a = ArrayPhotographs(np.zeros((2, 3, 4, 4), np.uint8), ["a", "b"])
    b = ArrayPhotographs(np.ones((2, 3, 4, 4), np.uint8), ["a", "b"])
    assert a.fingerprint() != b.fingerprint()
