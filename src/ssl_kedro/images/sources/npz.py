"""Arrays in one NumPy .npz file: x_train, x_test and, where labelled, y_train, y_test."""

import zipfile
from pathlib import Path

import numpy as np

from ssl_kedro.core.errors import first_line
from ssl_kedro.images.arrays import images_from_arrays
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.images.load import DataConfig, ImageSource, ImageSourceError, Split
from ssl_kedro.images.subsets import limited_count

_EXPECTED = (
    "an .npz file with x_train and x_test (uint8, (N, H, W), (N, H, W, 1), (N, H, W, 3) or "
    "(N, 3, H, W)) and, where there are labels, y_train and y_test (whole numbers, (N,))"
)
_REMEDY = "write the file with numpy.savez(path, x_train=..., y_train=..., x_test=..., y_test=...)"


def _load(config: DataConfig, split: Split, seed: int) -> ImageSet:
    """Images of the .npz file ``root``; pickled objects in it are refused."""
    training = split != "eval"
    path = _existing_file(config)
    images, labels, class_names = _part(path, "train" if training else "test", config)
    state = path.stat()
    return images_from_arrays(
        config,
        images,
        labels,
        class_names,
        training=training,
        seed=seed,
        identity=(str(path.resolve()), state.st_size, state.st_mtime_ns),
    )


def _error(config: DataConfig, found: str) -> ImageSourceError:
    return config.error("root", found, _EXPECTED, _REMEDY)


def _existing_file(config: DataConfig) -> Path:
    if config.root is None or not config.root.strip():
        raise _error(config, "no file given")
    path = Path(config.root).expanduser()
    if not path.is_file():
        found = "a folder" if path.is_dir() else f"no such file (looked for {path.absolute()})"
        raise _error(config, found)
    return path


def _part(
    path: Path, part: str, config: DataConfig
) -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]:
    """Images (N, 3, H, W), labels 0 to C-1 and class names of one part."""
    try:
        file = np.load(path, allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise _error(config, "a single array")
        with file:
            if f"x_{part}" not in file.files:
                raise _error(config, f"no x_{part}; the keys are {', '.join(file.files) or 'none'}")
            wanted = {f"x_{part}", "y_train", "y_test"} & {*file.files}
            arrays = {name: np.asarray(file[name]) for name in wanted}
    except ImageSourceError:
        raise
    except Exception as error:  # zip archives and headers that are damaged raise any kind
        raise _error(config, f"a file that cannot be read ({first_line(error)})") from error
    images = _channels_first(arrays.pop(f"x_{part}"), f"x_{part}", config)
    if len(images) == 0:
        raise _error(config, f"no images in x_{part}")
    if f"y_{part}" not in arrays:
        return images, None, ()
    every = {name: _whole_numbers(array, name, config) for name, array in arrays.items()}
    labels = every[f"y_{part}"]
    if len(labels) != len(images):
        found = f"{len(images)} images in x_{part} and {len(labels)} labels in y_{part}"
        raise _error(config, found)
    # Those of the training part, where there is one; the test part may have no others.
    known = np.unique(every.get("y_train", labels))
    strange = np.setdiff1d(every.get("y_test", known), known)
    if len(strange):
        raise _error(config, f"labels in y_test that y_train does not have: {strange[:5].tolist()}")
    if len(known) < 2:
        raise _error(config, f"a single class, {known.tolist()}; evaluation needs at least two")
    return images, np.searchsorted(known, labels), tuple(map(str, known))


def _whole_numbers(labels: np.ndarray, name: str, config: DataConfig) -> np.ndarray:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise _error(config, f"{name} of {labels.dtype} {labels.shape}")
    return labels.astype(np.int64)


def _channels_first(images: np.ndarray, name: str, config: DataConfig) -> np.ndarray:
    if images.dtype != np.uint8:
        raise _error(config, f"{name} of {images.dtype}, not uint8")
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim == 4 and images.shape[1] == 3 and images.shape[3] != 3:
        return images
    if images.ndim == 4 and images.shape[3] in (1, 3) and min(images.shape[1:3]) > 0:
        channels_first = images.transpose(0, 3, 1, 2)
        return np.broadcast_to(channels_first, (len(images), 3, *images.shape[1:3]))
    raise _error(config, f"{name} of shape {images.shape}")


def _count(config: DataConfig, split: Split, _seed: int) -> int:
    """From the header of the images, and the labels."""
    training, path = split != "eval", _existing_file(config)
    part = "train" if training else "test"
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"x_{part}.npy") as file:
            form = np.lib.format
            first = form.read_magic(file) == (1, 0)
            read = form.read_array_header_1_0 if first else form.read_array_header_2_0
            shape, _, _ = read(file)
        with np.load(path, allow_pickle=False) as arrays:
            classes = len(np.unique(arrays[f"y_{part}"])) if f"y_{part}" in arrays else 0
    except Exception:  # as above: of any kind where the file is damaged
        _part(path, part, config)  # says what is wrong
        raise
    return limited_count(config, training, shape[0] if shape else 0, classes)


SOURCE = ImageSource(("npz",), _load, count=_count)
