"""Fates of odd files, against pixel values worked out by hand."""

from __future__ import annotations

import os
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from time import monotonic, sleep

import numpy as np
import pytest
from PIL import Image, ImageFile

from ssl_kedro.images import decode
from ssl_kedro.images.decode import decoded_image
from ssl_kedro.images.files import UnreadableImageError
from ssl_kedro.saliency.predict.inputs import image_size
from ssl_kedro.saliency.sources.values import opened

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def pixel(images: np.ndarray, row: int = 0, column: int = 0) -> tuple[int, ...]:
    return tuple(int(value) for value in images[:, row, column])


def test_result_is_channels_first_rgb_with_row_0_at_the_top(tmp_path: Path) -> None:
    image = Image.new("RGB", (2, 2), RED)
    image.putpixel((1, 0), GREEN)  # (x, y): right of the top row
    image.putpixel((0, 1), BLUE)
    result = decoded_image(saved(tmp_path / "a.png", image), 2)
    assert result.dtype == np.uint8
    assert result.shape == (3, 2, 2)
    assert result.flags.c_contiguous
    assert [pixel(result, *at) for at in ((0, 0), (0, 1), (1, 0), (1, 1))] == [
        RED,
        GREEN,
        BLUE,
        RED,
    ]


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.pgm", "a.gif"])
def test_grey_becomes_three_equal_channels(tmp_path: Path, name: str) -> None:
    result = decoded_image(saved(tmp_path / name, Image.new("L", (4, 4), 100)), 4)
    assert (result == 100).all()


def test_lossy_formats_keep_a_plain_colour(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.webp"):
        image = Image.new("RGB", (16, 16), (200, 100, 50))
        result = decoded_image(saved(tmp_path / name, image, quality=95), 16).astype(int)
        assert np.abs(result - np.array([200, 100, 50])[:, None, None]).max() <= 3


def test_one_bit_is_black_and_white(tmp_path: Path) -> None:
    image = Image.new("1", (2, 2), 0)
    image.putpixel((1, 0), 1)
    result = decoded_image(saved(tmp_path / "a.png", image), 2)
    assert pixel(result, 0, 0) == (0, 0, 0)
    assert pixel(result, 0, 1) == WHITE


@pytest.mark.parametrize(
    ("name", "byte_order"),
    [("a.png", "<"), ("a.tif", "<"), ("big_endian.tif", ">"), ("a.pgm", "<")],
)
def test_16_bit_grey_is_scaled_by_257_and_rounded(
    tmp_path: Path, name: str, byte_order: str
) -> None:
    # 25700 = 100 * 257; 128 above it is still nearest to 100, 129 above it to 101.
    values = np.array([[0, 25700], [25828, 25829]], dtype=np.uint16)
    if byte_order == ">":
        mode, data = "I;16B", values.astype(">u2").tobytes()
    else:
        mode, data = "I;16", values.astype("<u2").tobytes()
    image = Image.frombytes(mode, (2, 2), data)
    result = decoded_image(saved(tmp_path / name, image), 2)
    assert result[0].tolist() == [[0, 100], [100, 101]]
    assert (result == result[0]).all()


def test_16_bit_white_is_white(tmp_path: Path) -> None:
    image = Image.fromarray(np.full((2, 2), 65535, dtype=np.uint16))
    assert (decoded_image(saved(tmp_path / "a.png", image), 2) == 255).all()


def test_16_bit_colour_png_keeps_the_high_byte(tmp_path: Path) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        checked = kind + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    row = b"\0" + struct.pack(">HHH", 0x1234, 0xFFFF, 0x80FF)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    data += chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(data)
    assert pixel(decoded_image(tmp_path / "a.png", 1)) == (0x12, 0xFF, 0x80)


@pytest.mark.parametrize(
    ("ink", "expected"),
    [((0, 0, 0, 0), WHITE), ((255, 0, 0, 0), (0, 255, 255)), ((0, 0, 0, 255), (0, 0, 0))],
)
def test_cmyk(tmp_path: Path, ink: tuple[int, ...], expected: tuple[int, ...]) -> None:
    image = Image.new("CMYK", (16, 16), ink)
    assert pixel(decoded_image(saved(tmp_path / "a.tif", image), 16)) == expected
    jpeg = decoded_image(saved(tmp_path / "a.jpg", image, quality=95), 16).astype(int)
    assert np.abs(jpeg[:, 5, 5] - np.array(expected)).max() <= 3


def test_palette_is_looked_up(tmp_path: Path) -> None:
    image = Image.new("P", (2, 2), 1)
    image.putpalette([*WHITE, *BLUE, 10, 20, 30])
    image.putpixel((0, 0), 2)
    result = decoded_image(saved(tmp_path / "a.png", image), 2)
    assert pixel(result, 0, 0) == (10, 20, 30)
    assert pixel(result, 1, 1) == BLUE


@pytest.mark.parametrize("name", ["a.png", "a.gif"])
def test_transparent_palette_entry_is_white(tmp_path: Path, name: str) -> None:
    image = Image.new("P", (2, 2), 1)
    image.putpalette([*RED, *BLUE])
    image.putpixel((0, 0), 0)
    result = decoded_image(saved(tmp_path / name, image, transparency=0), 2)
    assert pixel(result, 0, 0) == WHITE
    assert pixel(result, 1, 1) == BLUE


def test_alpha_is_composited_on_white(tmp_path: Path) -> None:
    # 0 * 128/255 + 255 * 127/255 = 127
    half_red = Image.new("RGBA", (2, 2), (255, 0, 0, 128))
    assert pixel(decoded_image(saved(tmp_path / "a.png", half_red), 2)) == (255, 127, 127)
    half_black = Image.new("LA", (2, 2), (0, 128))
    assert pixel(decoded_image(saved(tmp_path / "b.png", half_black), 2)) == (127, 127, 127)
    invisible = Image.new("RGBA", (2, 2), (1, 2, 3, 0))
    assert pixel(decoded_image(saved(tmp_path / "c.png", invisible), 2)) == WHITE


@pytest.mark.parametrize(("mode", "colour"), [("RGB", (9, 8, 7)), ("L", 9)])
def test_transparent_colour_of_a_png_is_white(
    tmp_path: Path, mode: str, colour: int | tuple[int, ...]
) -> None:
    image = Image.new(mode, (2, 2), colour)
    path = saved(tmp_path / "a.png", image, transparency=colour)
    assert pixel(decoded_image(path, 2)) == WHITE


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, "ab/cd"),
        (2, "ba/dc"),
        (3, "dc/ba"),
        (4, "cd/ab"),
        (5, "ac/bd"),
        (6, "ca/db"),
        (7, "db/ca"),
        (8, "bd/ac"),
    ],
)
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
def test_exif_orientation_is_applied(
    tmp_path: Path, name: str, orientation: int, expected: str
) -> None:
    grey = {"a": 10, "b": 80, "c": 160, "d": 240}
    stored = np.kron([[10, 80], [160, 240]], np.ones((16, 16))).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(stored).convert("RGB")
    result = decoded_image(saved(tmp_path / name, image, exif=exif), 32)
    found = [[int(result[0, row, column]) for column in (8, 24)] for row in (8, 24)]
    wanted = [[grey[letter] for letter in line] for line in expected.split("/")]
    assert np.abs(np.array(found) - np.array(wanted)).max() <= 6


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp", "a.tif"])
def test_first_frame_of_several(tmp_path: Path, name: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in (GREEN, RED, BLUE)]
    options = {"lossless": True} if name.endswith("webp") else {}
    path = tmp_path / name
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)
    with Image.open(path) as image:
        assert image.n_frames == 3
    assert pixel(decoded_image(path, 8)) == GREEN


@pytest.mark.parametrize("upright", [False, True])
def test_not_square_keeps_the_central_square(tmp_path: Path, upright: bool) -> None:
    image = Image.new("RGB", (30, 10), RED)
    image.paste(GREEN, (10, 0, 20, 10))
    image.paste(BLUE, (20, 0, 30, 10))
    if upright:
        image = image.transpose(Image.Transpose.ROTATE_90)
    result = decoded_image(saved(tmp_path / "a.png", image), 10)
    assert (result == np.array(GREEN)[:, None, None]).all()


def triangle_resized(values: np.ndarray, size: int) -> np.ndarray:
    """Antialiased bilinear resize along the first axis, one output at a time."""
    scale = len(values) / size
    support = max(scale, 1.0)
    rows = []
    for index in range(size):
        centre = (index + 0.5) * scale
        weights = np.array(
            [max(0.0, 1 - abs((at + 0.5 - centre) / support)) for at in range(len(values))]
        )
        rows.append(np.tensordot(weights / weights.sum(), values, axes=1))
    return np.array(rows)


@pytest.mark.parametrize(("side", "size"), [(24, 8), (20, 8), (11, 16)])
def test_resize_is_an_antialiased_triangle_kernel(tmp_path: Path, side: int, size: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    result = decoded_image(saved(tmp_path / "a.png", Image.fromarray(pixels)), size)
    down = triangle_resized(pixels.astype(float), size)
    expected = triangle_resized(down.transpose(1, 0, 2), size).transpose(2, 1, 0)
    assert np.abs(result - expected).max() <= 1.0


def test_large_jpeg_decoded_at_a_reduced_scale_agrees_with_full_decoding(tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 512)
    pixels = np.stack([*np.meshgrid(ramp, ramp), np.full((512, 512), 90.0)], axis=-1)
    image = Image.fromarray(pixels.astype(np.uint8))
    path = saved(tmp_path / "a.jpg", image, quality=95)
    result = decoded_image(path, 32).astype(int)
    block_means = pixels.reshape(32, 16, 32, 16, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
    # Edge pixels see half a kernel, so that a ramp is displaced there.
    assert np.abs(result - block_means)[:, 1:-1, 1:-1].max() <= 3


def test_name_does_not_decide_the_format(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), BLUE).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert pixel(decoded_image(tmp_path / "a.jpg", 4)) == BLUE


# Unreadable files ------------------------------------------------------------------------


def noisy_image() -> Image.Image:
    values = np.random.default_rng(1).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    return Image.fromarray(values)


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    with pytest.raises(UnreadableImageError, match="empty file"):
        decoded_image(tmp_path / "a.jpg", 8)


@pytest.mark.parametrize("content", [b"not an image at all", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"])
def test_not_an_image(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(UnreadableImageError):
        decoded_image(tmp_path / "a.jpg", 8)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.bmp", "a.tif", "a.gif", "a.ppm"])
def test_truncated(tmp_path: Path, name: str, share: float) -> None:
    data = saved(tmp_path / name, noisy_image()).read_bytes()
    (tmp_path / name).write_bytes(data[: int(share * len(data))])
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    with pytest.raises(UnreadableImageError):
        decoded_image(tmp_path / name, 8)


def test_missing_file_gives_the_systems_reason(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError, match="No such file"):
        decoded_image(tmp_path / "gone.png", 8)


def test_a_pipe_called_jpg_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    os.mkfifo(path)
    for read in (lambda: decoded_image(path, 8), lambda: image_size(path)):
        with pytest.raises(UnreadableImageError, match="not a regular file"):
            read()
    with pytest.raises(UnreadableImageError, match=r"x\.jpg: .*not a regular file"), opened(path):
        pass


def test_postscript_called_jpg_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\nshowpage\n")
    with pytest.raises(UnreadableImageError, match="known format"):
        decoded_image(tmp_path / "a.jpg", 8)


@pytest.mark.parametrize("limit", [400, 600])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_over_the_pixel_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    # Pillow itself refuses above twice the limit only; 30 * 30 = 900 pixels.
    path = saved(tmp_path / "a.png", Image.new("RGB", (30, 30)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(UnreadableImageError, match="pixels"):
        decoded_image(path, 8)


def test_float_and_wide_integer_pixels_have_no_white(tmp_path: Path) -> None:
    wide = saved(tmp_path / "a.tif", Image.fromarray(np.full((4, 4), 70000, dtype=np.int32)))
    with pytest.raises(UnreadableImageError, match="outside 0 to 65535"):
        decoded_image(wide, 4)
    real = saved(tmp_path / "b.tif", Image.fromarray(np.ones((4, 4), dtype=np.float32)))
    with pytest.raises(UnreadableImageError, match="floating-point"):
        decoded_image(real, 4)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.bmp", "a.tif", "a.gif", "a.ppm"])
def test_damage_of_any_kind_ends_in_an_image_or_a_reason(tmp_path: Path, name: str) -> None:
    data = saved(tmp_path / name, noisy_image()).read_bytes()
    generator = np.random.default_rng(2)
    refused = 0
    for _ in range(150):
        damaged = bytearray(data)
        # Half of the damage in the header, where it is most varied.
        reach = 64 if generator.random() < 0.5 else len(damaged)
        for position in generator.integers(0, min(reach, len(damaged)), 3):
            damaged[position] = generator.integers(0, 256)
        (tmp_path / name).write_bytes(bytes(damaged))
        try:
            result = decoded_image(tmp_path / name, 8)
        except UnreadableImageError as error:
            refused += 1
            assert str(error)
        else:
            assert result.shape == (3, 8, 8)
    assert refused > 0


@pytest.mark.parametrize(
    ("large_px", "options", "most"),
    [(600, {}, 4), (599, {}, 1), (599, {"quality": 90}, 4), (599, {"progressive": True}, 1)],
)
def test_large_images_are_decoded_one_at_a_time(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    large_px: int,
    options: dict[str, object],
    most: int,
) -> None:
    """What counts is what is decoded: a JPEG at a reduced scale, unless it is progressive."""
    path = tmp_path / ("a.jpg" if options else "a.png")
    Image.new("RGB", (30, 20)).save(path, **options)
    monkeypatch.setattr(decode, "_LARGE_PX", large_px)
    lock, at_work, seen = Lock(), 0, []

    def slow(image: Image.Image) -> Image.Image:
        nonlocal at_work
        with lock:
            at_work += 1
            seen.append(at_work)
        # As long as it takes the others to come, on a machine that does other work too.
        deadline = monotonic() + (0.05 if most == 1 else 5)
        while max(seen) < 4 and monotonic() < deadline:
            sleep(0.005)
        with lock:
            at_work -= 1
        image.load()
        return image

    monkeypatch.setattr(decode, "_upright", slow)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: decode.decoded_part(path, decode.Resize(2)), range(4)))
    assert max(seen) == most
