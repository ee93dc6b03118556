"""Saliency maps from pictures, arrays and raw floats.

A map is a density on the sphere in equirectangular projection: what looks uniform is uniform on
the sphere. All the public data sets publish such maps, since they spread each fixation with a
kernel on the sphere; a map that was spread in the plane has to be made again from its fixations.

Maps for two eyes ((2, H, W) in an array, ``..._WxHx2_32b.bin`` in raw floats) become the mean of
both, each of equal weight. Longer sequences are videos, which belong to no single panorama.
"""

import math
import re
from pathlib import Path

import numpy as np

from ssl_kedro.images.files import UnreadableImageError
from ssl_kedro.saliency.sources.errors import SaliencyDataError
from ssl_kedro.saliency.sources.values import grey_values, mapped_array, opened

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff"})
EXTENSIONS = PICTURES | {".npy", ".bin"}

# Hsalmap_50_2048x1024_32b.bin: width, height, perhaps the number of maps, bits of a value.
_RAW_NAME = re.compile(r"_(\d+)x(\d+)(?:x(\d+))?_(32|64)b(?:_\w+)?$")
# Densities whose peak lies outside are scaled: in single precision they would vanish or overflow.
_SMALLEST, _LARGEST = 1e-30, 1e30


def read_saliency(path: Path, *, any_size: bool = False) -> np.ndarray:
    """One map, float32 (h, 2h), not negative, not all zero.

    Accepted are grey pictures of 8 or 16 bits, ``.npy`` (H, W) or (2, H, W), and ``.bin``: raw
    little-endian floats by rows, zenith first, whose name says width, height and bits
    (``NAME_WxH_32b.bin``); where it does not, float32 or float64 of a map twice as wide as high.

    Args:
        path: of the file.
        any_size: take a map of other sides too, (h, w): many predictors give the whole panorama
            at the size that their network takes.

    Raises:
        SaliencyDataError: not 2:1, negative, not finite, all zero, of the wrong length.
        UnreadableImageError: a picture that cannot be decoded.
    """
    check_saliency(path, any_size=any_size)
    kind = path.suffix.lower()
    if kind == ".npy":
        maps = mapped_array(path)
    elif kind == ".bin":
        shape, dtype = _raw_layout(path)
        maps = np.fromfile(path, dtype=dtype).reshape(shape)
    else:
        maps = grey_values(path)
    maps = np.asarray(maps, dtype=np.float64).reshape(-1, *maps.shape[-2:])
    for values in maps:
        _check_values(path, values)
    mean = maps[0] if len(maps) == 1 else np.mean([each / each.sum() for each in maps], axis=0)
    peak = float(mean.max())
    if not _SMALLEST < peak < _LARGEST:
        mean = mean / peak
    return np.ascontiguousarray(mean.astype(np.float32))


def check_saliency(path: Path, *, any_size: bool = False) -> None:
    """Refuse a map whose header, length or shape shows that it cannot be used.

    Args:
        path: of the file.
        any_size: as for :func:`read_saliency`.

    Raises:
        SaliencyDataError: as :func:`read_saliency`.
        UnreadableImageError: as :func:`read_saliency`.
    """
    kind = path.suffix.lower()
    if not path.is_file():
        raise SaliencyDataError(path, "no such file", "a saliency map", "correct its name")
    if kind == ".npy":
        _check_shape(path, mapped_array(path).shape, any_size)
    elif kind == ".bin":
        _check_shape(path, _raw_layout(path)[0], any_size)
    elif kind in PICTURES:
        if path.stat().st_size == 0:
            raise UnreadableImageError(f"{path}: empty file")
        with opened(path) as image:
            shape = (image.height, image.width)
        _check_shape(path, shape, any_size)
    else:
        raise SaliencyDataError(
            path,
            found=f"the ending {kind!r}",
            expected=f"one of {', '.join(sorted(EXTENSIONS))}",
            remedy="convert the map to .npy or to a grey PNG",
        )


def stem(path: Path) -> str:
    """Name of a file without its ending and without the layout in a raw map's name."""
    return _RAW_NAME.sub("", path.stem) if path.suffix.lower() == ".bin" else path.stem


def _raw_layout(path: Path) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    """Shape and type of raw floats, checked against the length of the file."""
    length = path.stat().st_size
    found = _RAW_NAME.search(path.stem)
    if found:
        width, height, count = int(found[1]), int(found[2]), int(found[3] or 1)
        dtype = np.dtype(f"<f{int(found[4]) // 8}")
        if length != count * height * width * dtype.itemsize:
            raise SaliencyDataError(
                path,
                found=f"{length} bytes",
                expected=f"{count * height * width * dtype.itemsize}, as {count} map of {width} x "
                f"{height} values of {found[4]} bits has by its name",
                remedy="fetch the file again, or correct its name",
            )
        return (height, width) if count == 1 else (count, height, width), dtype
    for bytes_of_one in (4, 8):
        height = math.isqrt(length // (2 * bytes_of_one))
        if height and 2 * height * height * bytes_of_one == length:
            return (height, 2 * height), np.dtype(f"<f{bytes_of_one}")
    raise SaliencyDataError(
        path,
        found=f"{length} bytes of unknown layout",
        expected="float32 or float64 of a map twice as wide as high",
        remedy="name the file NAME_WIDTHxHEIGHT_32b.bin (or 64b)",
    )


def _check_shape(path: Path, shape: tuple[int, ...], any_size: bool) -> None:
    if len(shape) == 3 and shape[0] not in (1, 2):
        raise SaliencyDataError(
            path,
            found=f"{shape[0]} maps of {shape[2]} x {shape[1]}",
            expected="one map, or two for two eyes",
            remedy="take the frames apart and give each its map",
        )
    whole = len(shape) in (2, 3) and shape[-2] >= 1
    if not whole or not (any_size or shape[-1] == 2 * shape[-2]):
        size = " x ".join(str(side) for side in reversed(shape))
        raise SaliencyDataError(
            path,
            found=f"a map of {size}",
            expected="a map twice as wide as high",
            remedy="give the map of the whole panorama in equirectangular projection",
        )


def _check_values(path: Path, values: np.ndarray) -> None:
    wrong = np.flatnonzero(~(values >= 0) | np.isinf(values))
    if len(wrong):
        row, column = divmod(int(wrong[0]), values.shape[1])
        raise SaliencyDataError(
            path,
            found=f"{values[row, column]:g} in row {row}, column {column}, and {len(wrong)} such "
            "values in all",
            expected="finite values of at least 0",
            remedy="write the map again; a logarithm of a density has to be undone",
        )
    if not (values > 0).any():
        raise SaliencyDataError(
            path,
            found="a map that is 0 everywhere",
            expected="a value above 0 where somebody looked",
            remedy="remove the map, or write it again",
        )
