"""What is kept of a picture: torchvision's evaluation crop, or the whole of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms.v2 import functional as v2

from ssl_kedro.core.config import ConfigError
from ssl_kedro.core.form import Form, is_whole, pixels_of, sides_of, with_sides
from ssl_kedro.images import decode_files
from ssl_kedro.images.decode import decoded_image
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.images.load import DataConfig, load_images

SHAPES = [(90, 70), (70, 90), (64, 64), (301, 97), (97, 302), (50, 61), (40, 33), (128, 65)]


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """Smooth noise, so that a resize is no matter of single pixels."""
    draw = np.random.default_rng(seed)
    small = draw.integers(0, 256, (max(2, height // 6), max(2, width // 6), 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def folder_of_pictures(root: Path, count: int = 6) -> Path:
    for part in ("train", "val"):
        for name in ("a", "b"):
            (root / part / name).mkdir(parents=True)
            for index in range(count // 2):
                shape = SHAPES[index % len(SHAPES)]
                picture(*shape, seed=index).save(root / part / name / f"{index}.png")
    return root


@pytest.mark.parametrize(("width", "height"), SHAPES)
@pytest.mark.parametrize(("size", "resize"), [(56, 64), (32, 32), (31, 40)])
def test_evaluation_sees_what_torchvision_resizes_and_crops(
    width: int, height: int, size: int, resize: int
) -> None:
    image = picture(width, height)
    wanted = v2.center_crop(v2.resize(image, [resize]), [size, size])
    found = decoded_image(image, Form(size, resize))
    difference = found.astype(int) - np.asarray(wanted).transpose(2, 0, 1)
    assert np.abs(difference).max() <= 1  # Pillow rounds between its two passes


def test_the_central_square_is_that_of_before() -> None:
    image = picture(90, 70)
    assert np.array_equal(decoded_image(image, 32), decoded_image(image, Form(32)))
    assert not np.array_equal(decoded_image(image, 32), decoded_image(image, Form(32, 40)))


@pytest.mark.parametrize(("width", "height"), SHAPES)
def test_a_whole_picture_keeps_its_pixels_and_its_shape(width: int, height: int) -> None:
    image, form = picture(width, height), Form(32, 40, whole=True)
    row = decoded_image(image, form)
    assert row.shape == form.row_shape == (3 * 40 * 40 + 4,)
    squeezed = np.asarray(image.resize((40, 40), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert np.array_equal(pixels_of(row[None])[0], squeezed)
    (found_height,), (found_width,) = sides_of(row[None])
    assert (found_width, found_height) == (width, height)


@pytest.mark.parametrize(
    ("sides", "kept"), [((65_535, 256), (65_535, 256)), ((80_000, 500), (40_000, 250))]
)
def test_sides_beyond_two_bytes_keep_their_ratio(
    sides: tuple[int, int], kept: tuple[int, int]
) -> None:
    height, width = sides_of(with_sides(np.zeros((3, 8, 8), np.uint8), *sides)[None])
    assert (width[0], height[0]) == kept


def test_only_what_is_trained_on_stays_whole(tmp_path: Path) -> None:
    root = folder_of_pictures(tmp_path / "pictures")
    config = DataConfig("folder", str(root), 32, resize=40, cache_dir=str(tmp_path / "cache"))
    whole = load_images(config, "pretrain", 0)
    assert whole.images.shape == (6, 3 * 40 * 40 + 4)
    assert is_whole(whole.images)
    for split in ("train", "eval"):
        images = load_images(config, split, 0)  # type: ignore[arg-type]
        assert images.images.shape == (6, 3, 32, 32)
        first = decoded_image(root / "train/a/0.png", Form(32, 40))
        assert np.array_equal(images.images[0], first)


def test_a_memory_map_holds_whole_pictures(tmp_path: Path) -> None:
    root = folder_of_pictures(tmp_path / "pictures")
    options = {"root": str(root), "size": 32, "resize": 40, "cache_dir": str(tmp_path / "cache")}
    mapped = DataConfig("imagenet100", **options)  # type: ignore[arg-type]
    found, again = (load_images(mapped, "pretrain", 0) for _ in range(2))
    assert isinstance(again.images, np.memmap)
    in_memory = load_images(DataConfig("folder", **options), "pretrain", 0)  # type: ignore[arg-type]
    assert np.array_equal(found.images, in_memory.images)
    assert np.array_equal(again.images, in_memory.images)
    assert load_images(mapped, "train", 0).images.shape == (6, 3, 32, 32)


def test_processes_decode_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder_of_pictures(tmp_path / "pictures")
    config = DataConfig("folder", str(root), 32, resize=40, workers=2)
    alone = load_images(config, "pretrain", 0)
    monkeypatch.setattr(decode_files, "_FEW_FILES", 0)
    monkeypatch.setattr(decode_files, "MOST_IMAGES_A_TASK", 2)
    assert np.array_equal(load_images(config, "pretrain", 0).images, alone.images)


def test_statistics_are_those_of_the_pixels() -> None:
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (5, 3, 8, 8), dtype=np.uint8)
    rows = np.stack([with_sides(one, 255 * 256, 255) for one in pixels])
    found, wanted = (ImageSet(images, None, (), "test") for images in (rows, pixels))
    assert found.channel_statistics() == wanted.channel_statistics()
    assert found.fingerprint() != wanted.fingerprint()


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least size, 32 px"):
        DataConfig("folder", "somewhere", 32, resize=30)
    with pytest.raises(ConfigError, match="no such option"):
        DataConfig("textures", size=32, resize=40)
