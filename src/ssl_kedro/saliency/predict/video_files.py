"""Predictions of a video as files: its maps, an overlay, a table of frames, what each cost."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from ssl_kedro.core.files import StorageError, free_bytes, size_of, storage_told
from ssl_kedro.core.stores import GrowingArray
from ssl_kedro.saliency.predict.budget import cost_plot
from ssl_kedro.saliency.predict.inputs import Unpredicted
from ssl_kedro.saliency.predict.overlays import overlay
from ssl_kedro.saliency.predict.prediction import PredictConfig, Prediction, density
from ssl_kedro.saliency.predict.written import Written, write_table
from ssl_kedro.saliency.sources.errors import SaliencyDataError
from ssl_kedro.saliency.video import Video, opencv, taken_rate

# Ends of the names of a video's files, by what is asked for.
_OF_VIDEO = {
    **{"map": "_map.npy", "overlay": "_overlay.mp4"},
    **{"times": "_frames.csv", "cost": "_cost.png"},
}


def write_video(
    name: str,
    found: Iterator[Prediction | Unpredicted],
    path: Path,
    config: PredictConfig,
    output: Path,
    stem: str,
    dense: float | None,
) -> Written:
    """All files of one video, renamed when the last frame is written."""
    rate = taken_rate(Video(path), config.frames_per_second)
    wanted = (*config.outputs, "times", *(["cost"] if dense else []))
    names = {kind: f"{stem}{end}" for kind, end in _OF_VIDEO.items() if kind in wanted}
    # A folder, since OpenCV chooses the format by the name's end.
    with storage_told(output / stem):
        place = (output / stem).parent
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".predicting-", dir=place) as folder:
            unfinished = {kind: Path(folder, f"made{_OF_VIDEO[kind]}") for kind in names}
            times = _write_frames(found, unfinished, rate, config.opacity)
            write_table(unfinished["times"], times)
            if dense:
                costs = [1e9 * float(str(row["encoder_gmac"])) for row in times]
                shown_s = [float(str(row["time_s"])) for row in times]
                cost_plot(costs, shown_s, dense, str(unfinished["cost"]))
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
            row = {"row": len(times), "frame": item.frame.number, "time_s": time_s}
            cost = {} if item.macs is None else {"encoder_gmac": f"{item.macs / 1e9:.6f}"}
            times.append({**row, **cost})
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
