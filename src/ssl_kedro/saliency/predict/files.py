"""Predictions as files: maps, heat maps, overlays, videos, and a table of what was written."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from itertools import chain, groupby
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image
from torch import nn

from ssl_kedro.core.ahead import computed_ahead
from ssl_kedro.core.files import replaced_file
from ssl_kedro.core.progress import progress_bar
from ssl_kedro.core.stores import GrowingArray
from ssl_kedro.images.errors import UnreadableImageError
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
from ssl_kedro.saliency.predict.video_files import VideoWriter, taken_rate
from ssl_kedro.saliency.video import Video

SUMMARY = "predictions.csv"
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


def write_predictions(model: nn.Module, config: PredictConfig) -> list[Written]:
    """Predict for an image, a video or a folder, and write what the configuration asks for.

    ``a/b.jpg`` becomes ``a/b_map.npy``, ``a/b_heat_map.png`` and ``a/b_overlay.jpg`` in the
    output folder, ``c.mp4`` becomes ``c_map.npy``, ``c_overlay.mp4`` and ``c_frames.csv``;
    where two inputs differ in their extension only, all names keep theirs. Existing files of
    these names are replaced. ``predictions.csv`` lists the files, and inputs left out.

    Args:
        model: images float (N, 3, H, W) in [0, 1] to maps (N, 1, h, w) in (0, 1).
        config: what to read and write.

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
    output.mkdir(parents=True, exist_ok=True)
    stems = _stems(files.names)
    rows: list[Written] = []
    with (
        closing(predictions(model, files, config)) as found,
        progress_bar(len(files.names), "predicting", "files") as bar,
    ):
        for row in _written(found, files, config, output, stems):
            rows.append(row)
            bar.update()
    rows += [Written(broken.name, skipped=broken.reason) for broken in files.broken]
    if not any(row.frames for row in rows):
        broken = [Unpredicted(row.input, row.skipped) for row in rows]
        raise nothing_readable(config.input, broken)
    write_table(output / SUMMARY, [asdict(row) for row in rows], [f.name for f in fields(Written)])
    return rows


def write_table(path: Path, rows: Sequence[dict[str, object]], columns: Sequence[str]) -> None:
    """A CSV file with a header, replaced when complete."""
    with (
        replaced_file(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def _check_output(files: PredictionInput, config: PredictConfig) -> None:
    output, root = Path(config.output).expanduser().resolve(), files.root.resolve()
    given = Path(config.input or "").expanduser()
    if given.is_dir() and (output == root or root in output.parents):
        raise PredictionInputError(
            "output",
            config.output,
            f"a folder inside the input {config.input!r}",
            "one outside, since the next run would take these overlays for panoramas",
            "set predict.output to another folder",
        )
    if output.exists() and not output.is_dir():
        raise PredictionInputError(
            "output", config.output, "a file", "a folder", "set predict.output to another name"
        )


def _stems(names: Sequence[str]) -> dict[str, str]:
    """Begin of the output names of each input, without its extension where that is enough."""
    stems = {name: str(PurePosixPath(name).with_suffix("")) for name in names}
    # Compared without case, for file systems that do not tell it apart.
    if len({stem.casefold() for stem in stems.values()}) == len(names):
        return stems
    return {name: name for name in names}


def _written(
    found: Iterator[Prediction | Unpredicted],
    files: PredictionInput,
    config: PredictConfig,
    output: Path,
    stems: dict[str, str],
) -> Iterator[Written]:
    """Rows in the order of predictions; images are written in threads, videos here."""
    images = _ImageFiles(files, config, output)

    def tasks() -> Iterator[Callable[[], Written]]:
        for name, group in groupby(found, key=lambda item: item.name):
            first = next(group)
            if isinstance(first, Unpredicted):
                yield partial(Written, name, skipped=first.reason)
            elif first.frame is None:
                yield partial(images.write, first, stems[name])
            else:
                of_video = chain([first], group)  # noqa: B031  goes on after the first
                row = _write_video(name, of_video, files.root / name, config, output / stems[name])
                yield partial(_placed, row, output)

    yield from computed_ahead(lambda task: task(), tasks(), _WRITERS, 2)


class _ImageFiles:
    """Writes the files of one image.

    Args:
        files: of the input.
        config: what to write.
        output: folder to write to.
    """

    def __init__(self, files: PredictionInput, config: PredictConfig, output: Path) -> None:
        self._config = config
        self._output = output
        self._index = {name: index for index, name in enumerate(files.images)}
        paths = [files.root / name for name in files.images]
        self._photographs = PanoramaFiles(paths, files.images, config.max_megapixels)

    def write(self, found: Prediction, stem: str) -> Written:
        """All files of one prediction, or in the row why there are none."""
        config = self._config
        index = self._index[found.name]
        try:
            width, height = image_size(self._photographs.paths[index])
            shown = overlay_shape(height, width, config.overlay_width)
            picture = None
            if "overlay" in config.outputs:
                picture = self._photographs.picture(index, *shown)
        except UnreadableImageError as error:  # readable at a reduced scale, or changed meanwhile
            return Written(found.name, skipped=str(error))
        names: dict[str, str] = {}
        if "map" in config.outputs:
            names["map"] = f"{stem}_map.npy"
            saliency = found.saliency
            if config.resolution == "panorama":
                saliency = resized_map(saliency, height, width)
            with replaced_file(self._output / names["map"]) as temporary:
                _save_array(temporary, density(saliency))
        if "heat_map" in config.outputs:
            names["heat_map"] = f"{stem}_heat_map.png"
            self._save(heat_map(found.saliency, *shown), names["heat_map"], "PNG")
        if picture is not None:
            names["overlay"] = f"{stem}_overlay.jpg"
            drawn = overlay(picture, found.saliency, config.opacity)
            self._save(drawn, names["overlay"], "JPEG", quality=_JPEG_QUALITY)
        return Written(found.name, 1, **names)

    def _save(self, picture: np.ndarray, name: str, kind: str, **options: int) -> None:
        with replaced_file(self._output / name) as temporary:
            Image.fromarray(picture.transpose(1, 2, 0)).save(temporary, kind, **options)


def _save_array(path: Path, values: np.ndarray) -> None:
    with path.open("wb") as file:  # numpy would add .npy to a path
        np.save(file, values, allow_pickle=False)


def _write_video(
    name: str,
    found: Iterable[Prediction | Unpredicted],
    path: Path,
    config: PredictConfig,
    target: Path,
) -> Written:
    """All files of one video, renamed when the last frame is written; paths are absolute."""
    rate = taken_rate(Video(path), config.frames_per_second)
    target.parent.mkdir(parents=True, exist_ok=True)
    names = {"times": f"{target.name}_frames.csv"}
    if "map" in config.outputs:
        names["map"] = f"{target.name}_map.npy"
    if "overlay" in config.outputs:
        names["overlay"] = f"{target.name}_overlay.mp4"
    # A folder, since OpenCV chooses the format by the name's end.
    with tempfile.TemporaryDirectory(prefix=".predicting-", dir=target.parent) as folder:
        unfinished = {kind: Path(folder) / file for kind, file in names.items()}
        times = _write_frames(found, unfinished, rate, config.opacity)
        write_table(unfinished["times"], times, ("row", "frame", "time_s"))
        for kind, file in unfinished.items():
            file.replace(target.parent / names[kind])
    placed = {kind: str(target.parent / file) for kind, file in names.items()}
    return Written(name, len(times), **placed)


def _write_frames(
    found: Iterable[Prediction | Unpredicted], paths: dict[str, Path], rate: float, opacity: float
) -> list[dict[str, object]]:
    """Write the maps and the overlays of a video; rows of its table of frames."""
    times: list[dict[str, object]] = []
    with ExitStack() as stack:
        maps: GrowingArray | None = None
        video: VideoWriter | None = None
        for item in found:
            if isinstance(item, Unpredicted) or item.frame is None:
                break
            saliency, picture = item.saliency, item.frame.picture
            if not times and "map" in paths:
                maps = stack.enter_context(GrowingArray(paths["map"], saliency.shape, "<f4"))
            if not times and "overlay" in paths:
                height, width = picture.shape[1:]
                video = stack.enter_context(VideoWriter(paths["overlay"], height, width, rate))
            if maps is not None:
                maps.add(density(saliency)[None])
            if video is not None:
                video.add(overlay(picture, saliency, opacity))
            number, time_s = item.frame.number, f"{item.frame.time_s:.4f}"
            times.append({"row": len(times), "frame": number, "time_s": time_s})
    return times


def _placed(row: Written, output: Path) -> Written:
    """A row with paths relative to the output folder."""

    def relative(path: str) -> str:
        return Path(path).relative_to(output).as_posix() if path else ""

    return replace(
        row, map=relative(row.map), overlay=relative(row.overlay), times=relative(row.times)
    )
