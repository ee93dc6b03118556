"""Predictions as files: maps, heat maps, overlays, videos, and a table of what was written."""

import csv
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from io import BytesIO
from itertools import chain, groupby
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image
from torch import nn

from ssl_kedro.core.ahead import computed_ahead
from ssl_kedro.core.errors import shown
from ssl_kedro.core.files import (
    StorageError,
    free_bytes,
    replaced_file,
    size_of,
    storage_told,
)
from ssl_kedro.core.progress import progress_bar
from ssl_kedro.core.stores import GrowingArray
from ssl_kedro.images.files import UnreadableImageError
from ssl_kedro.saliency.predict.inputs import (
    PanoramaFiles,
    PredictionInput,
    PredictionInputError,
    Unpredicted,
    found_input,
    image_size,
    nothing_readable,
)
from ssl_kedro.saliency.predict.overlays import heat_map, overlay, resized_map
from ssl_kedro.saliency.predict.prediction import (
    PredictConfig,
    Prediction,
    density,
    overlay_shape,
    predictions,
)
from ssl_kedro.saliency.sources.errors import SaliencyDataError
from ssl_kedro.saliency.video import Video, opencv, taken_rate

SUMMARY = "predictions.csv"
# Ends of the names of an image's files and of a video's, by what is asked for.
_OF_IMAGE = {"map": "_map.npy", "heat_map": "_heat_map.png", "overlay": "_overlay.jpg"}
_OF_VIDEO = {"map": "_map.npy", "overlay": "_overlay.mp4", "times": "_frames.csv"}
# Encoding a large overlay takes as long as predicting it: two threads keep up with most networks.
_WRITERS = 2
_JPEG_QUALITY = 92


@dataclass(frozen=True)
class Written:
    """One row of the summary: an input and the files made of it, relative to the output folder.

    Args:
        input: name of the image or video, relative to the input.
        frames: 1 for an image; those predicted of a video; 0 = none, ``skipped`` says why.
        map: densities per steradian, float32 (h, w), or (T, h, w) of a video; "" = not written.
        heat_map: a PNG of the map alone.
        overlay: a JPEG, or an MP4 of a video.
        times: a table of a video's frames: row of the map, frame number, time in s.
        skipped: why there is no prediction.
    """

    input: str
    frames: int = 0
    map: str = ""
    heat_map: str = ""
    overlay: str = ""
    times: str = ""
    skipped: str = ""

    def readable(self) -> "Written":
        """The same with names as tables take them, where some are no UTF-8."""
        texts: dict[str, Any] = {k: shown(v) for k, v in vars(self).items() if isinstance(v, str)}
        return replace(self, **texts)


def write_predictions(model: nn.Module, config: PredictConfig, width: int) -> list[Written]:
    """Predict for an image, a video or a folder, and write what the configuration asks for.

    ``a/b.jpg`` becomes ``a/b_map.npy``, ``a/b_heat_map.png`` and ``a/b_overlay.jpg`` in the
    output folder, ``c.mp4`` becomes ``c_map.npy``, ``c_overlay.mp4`` and ``c_frames.csv``;
    where two inputs differ in their extension only, all names keep theirs. Existing files of
    these names are replaced. ``predictions.csv`` lists the files, and inputs left out.

    Args:
        model: images float (N, 3, H, W) in [0, 1] to maps (N, 1, h, w) in (0, 1).
        config: what to read and write.
        width: of the images that the model is given, in px, even; they are half as high.

    Returns:
        The rows of ``predictions.csv``: images, videos, then what was broken from the start.

    Raises:
        PredictionInputError: an input that cannot be predicted for (before the model runs),
            an output folder inside it, or not one file that could be decoded.
        ValueError: the model gives something else than a map an image.
        OSError: a file cannot be written.
    """
    files = found_input(config.input, config.max_megapixels)
    _check_output(files, config)
    output = Path(config.output).expanduser()
    with storage_told(output):
        output.mkdir(parents=True, exist_ok=True)
    rows: list[Written] = []
    with (
        closing(predictions(model, files, config, width)) as found,
        progress_bar(len(files.images) + len(files.videos), "predicting", "files") as bar,
    ):
        tasks = _tasks(found, files, config, output)
        done = computed_ahead(lambda task: task() if callable(task) else task, tasks, _WRITERS, 2)
        for row in done:
            rows.append(row)
            bar.update()
    rows += [Written(broken.name, skipped=broken.reason) for broken in files.broken]
    if not any(row.frames for row in rows):
        raise nothing_readable(config.input, [Unpredicted(row.input, row.skipped) for row in rows])
    rows = [row.readable() for row in rows]
    _write_table(output / SUMMARY, [asdict(row) for row in rows])
    return rows


def _write_table(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """A CSV file with a header, replaced when complete."""
    with (
        replaced_file(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _check_output(files: PredictionInput, config: PredictConfig) -> None:
    output, root = Path(config.output).expanduser().resolve(), files.root.resolve()
    given = Path(config.input or "").expanduser()
    refused = partial(PredictionInputError, "output", config.output)
    if given.is_dir() and (output == root or root in output.parents):
        raise refused(
            f"a folder inside the input {config.input!r}",
            "one outside, since the next run would take these overlays for panoramas",
            "set predict.output to another folder",
        )
    if output.exists() and not output.is_dir():
        raise refused("a file", "a folder", "set predict.output to another name")


def _stems(names: Sequence[str]) -> dict[str, str]:
    """Begin of the output names of each input, without its extension where that is enough."""
    stems = {name: str(PurePosixPath(name).with_suffix("")) for name in names}
    # Compared without case, for file systems that do not tell it apart.
    alone = len({stem.casefold() for stem in stems.values()}) == len(names)
    return stems if alone else {name: name for name in names}


def _tasks(
    found: Iterator[Prediction | Unpredicted],
    files: PredictionInput,
    config: PredictConfig,
    output: Path,
) -> Iterator[Written | Callable[[], Written]]:
    """What writes an image's files, and the rows of videos, whose files are written here."""
    stems = _stems(files.images + files.videos)
    for name, group in groupby(found, key=lambda item: item.name):
        first, path = next(group), files.root / name
        if isinstance(first, Unpredicted):
            yield Written(name, skipped=first.reason)
        elif first.frame is None:
            yield partial(_write_image, first, path, config, output, stems[name])
        else:
            frames = chain([first], group)  # noqa: B031  goes on after the first
            yield _write_video(name, frames, path, config, output, stems[name])


def _write_image(
    found: Prediction, path: Path, config: PredictConfig, output: Path, stem: str
) -> Written:
    """All files of one image, or in the row why there are none."""
    try:
        width, height = image_size(path)
        size = overlay_shape(height, width, config.overlay_width)
        picture = None
        if "overlay" in config.outputs:
            photograph = PanoramaFiles([path], [found.name], config.max_megapixels)
            picture = photograph.picture(0, *size)
    except UnreadableImageError as error:  # readable at a reduced scale, or changed meanwhile
        return Written(found.name, skipped=str(error))
    names = {kind: f"{stem}{_OF_IMAGE[kind]}" for kind in config.outputs}
    saliency = found.saliency
    for kind, name in names.items():
        with replaced_file(output / name) as temporary, temporary.open("wb") as file:
            if picture is not None and kind == "overlay":
                drawn = overlay(picture, saliency, config.opacity)
                file.write(_encoded(drawn, "JPEG", quality=_JPEG_QUALITY))
            elif kind == "heat_map":
                file.write(_encoded(heat_map(saliency, *size), "PNG"))
            else:
                whole = config.resolution == "panorama"
                values = resized_map(saliency, height, width) if whole else saliency
                np.save(file, density(values), allow_pickle=False)
    return Written(found.name, 1, **names)


def _encoded(picture: np.ndarray, kind: str, **options: int) -> bytes:
    """A picture (3, H, W) as a file of a kind; Pillow does not notice a disk that takes a part."""
    buffer = BytesIO()
    Image.fromarray(picture.transpose(1, 2, 0)).save(buffer, kind, **options)
    return buffer.getvalue()


def _write_video(
    name: str,
    found: Iterator[Prediction | Unpredicted],
    path: Path,
    config: PredictConfig,
    output: Path,
    stem: str,
) -> Written:
    """All files of one video, renamed when the last frame is written."""
    rate = taken_rate(Video(path), config.frames_per_second)
    wanted = (*config.outputs, "times")
    names = {kind: f"{stem}{end}" for kind, end in _OF_VIDEO.items() if kind in wanted}
    # A folder, since OpenCV chooses the format by the name's end.
    with storage_told(output / stem):
        place = (output / stem).parent
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".predicting-", dir=place) as folder:
            unfinished = {kind: Path(folder, f"made{_OF_VIDEO[kind]}") for kind in names}
            times = _write_frames(found, unfinished, rate, config.opacity)
            _write_table(unfinished["times"], times)
            for kind, file in unfinished.items():
                file.replace(output / names[kind])
    return Written(name, len(times), **names)


def _write_frames(
    found: Iterator[Prediction | Unpredicted], paths: dict[str, Path], rate: float, opacity: float
) -> list[dict[str, object]]:
    """Write the maps and the overlays of a video; rows of its table of frames."""
    times: list[dict[str, object]] = []
    video: VideoWriter | None = None
    with ExitStack() as stack:
        maps: GrowingArray | None = None
        for item in found:
            if isinstance(item, Unpredicted) or item.frame is None:
                break
            height, width, _ = item.frame.pixels.shape
            if not times and "map" in paths:
                maps = stack.enter_context(GrowingArray(paths["map"], item.saliency.shape, "<f4"))
            if not times and "overlay" in paths:
                video = VideoWriter(paths["overlay"], height, width, rate)
                stack.callback(video.close)
            if maps is not None:
                maps.add(density(item.saliency)[None])
            if video is not None:
                picture = item.frame.pixels.transpose(2, 0, 1)
                video.add(overlay(picture, item.saliency, opacity))
            time_s = f"{item.frame.shown_s:.4f}"
            times.append({"row": len(times), "frame": item.frame.number, "time_s": time_s})
    if video is not None:
        _check_whole(paths["overlay"])
    return times


def _check_whole(path: Path) -> None:
    """Refuse a video whose end OpenCV could not write, of which it says nothing."""
    try:
        Video(path)
    except SaliencyDataError as error:
        raise StorageError.of(
            path, "the video is cut off", size_of(path), free_bytes(path)
        ) from error


class VideoWriter:
    """A file .mp4 (MPEG-4 part 2, which OpenCV writes without further libraries), sides even.

    Raises:
        ValueError: an odd height or width.
        OSError: the file cannot be made.
    """

    def __init__(self, path: Path, height: int, width: int, frames_per_second: float) -> None:
        if height % 2 or width % 2:
            raise ValueError(f"expected an even height and width, found {height} x {width}")
        self._shape = (3, height, width)
        self._cv2 = cv2 = opencv()
        code = cv2.VideoWriter.fourcc(*"mp4v")
        self._file = cv2.VideoWriter(str(path), code, frames_per_second, (width, height))
        if not self._file.isOpened():
            raise OSError(f"{path}: OpenCV cannot write an MP4 video there")

    def add(self, picture: np.ndarray) -> None:
        """Append a frame, uint8 (3, H, W) RGB.

        Raises:
            ValueError: another shape than the file's.
        """
        if picture.shape != self._shape:
            raise ValueError(f"expected a frame of shape {self._shape}, found {picture.shape}")
        pixels = np.ascontiguousarray(picture.transpose(1, 2, 0))
        self._file.write(self._cv2.cvtColor(pixels, self._cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        """The file is whole."""
        self._file.release()
