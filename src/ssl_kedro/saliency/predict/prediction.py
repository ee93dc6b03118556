"""Where people will look: a trained model on an image, a folder or a video.

Predictions stream: the next images are decoded while the network works, and only a few batches
are in memory at a time, however large the folder or long the video.
"""

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import islice, repeat
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ssl_kedro.core.ahead import computed_ahead
from ssl_kedro.core.config import PROBABILITY, Config, ConfigError, Range
from ssl_kedro.core.devices import resolved_device
from ssl_kedro.core.remote import check_scheme
from ssl_kedro.images.decode import Resize
from ssl_kedro.images.files import UnreadableImageError
from ssl_kedro.images.photographs import Unreadable, batches
from ssl_kedro.saliency.predict.budget import GatedFrames, gated_encoder
from ssl_kedro.saliency.predict.inputs import PanoramaFiles, PredictionInput, Unpredicted
from ssl_kedro.saliency.sources.config import MAX_MEGAPIXELS
from ssl_kedro.saliency.sources.errors import SaliencyDataError
from ssl_kedro.saliency.video import VideoFrame, resized_frame, taken_frames
from ssl_kedro.spherical.sphere import pixel_solid_angles

T = TypeVar("T")
Output = Literal["map", "heat_map", "overlay"]


@dataclass(frozen=True)
class PredictConfig(Config):
    """What to predict for, and what to write.

    Args:
        input: path of a panorama, a video, or a folder of them.
        output: folder to write to; made where there is none.
        outputs: "map": densities as ``.npy``; "heat_map": a PNG of the map alone (images
            only); "overlay": the panorama under its map, a JPEG, for a video an MP4.
        resolution: of the maps: "model" = as the network gives them, "panorama" = enlarged to
            the panorama's own size (images only).
        batch_size: images that the network takes at a time.
        frames_per_second: of videos; None, or more than a video has, = every frame.
        budget: of videos: share of the dense encoder's cost that a frame may take on average; a
            frame beyond it takes the map of the one before. None = every frame is computed. For
            models on a gated encoder.
        opacity: of overlays where a map is at its peak.
        overlay_width: widest overlay or heat map in px; larger panoramas are brought to it.
        max_megapixels: larger images, in million pixels, end the run before the model works.
        device: "auto" = CUDA where there is one.

    Raises:
        ConfigError: a value outside its range, or nothing to write.
    """

    input: str | None = None
    output: str = "data/07_model_output/saliency360/predictions"
    outputs: tuple[Output, ...] = ("map", "heat_map", "overlay")
    resolution: Literal["model", "panorama"] = "model"
    batch_size: Annotated[int, Range(at_least=1, at_most=1024)] = 8
    frames_per_second: Annotated[float | None, Range(above=0)] = None
    budget: Annotated[float | None, Range(above=0, at_most=1)] = None
    opacity: Annotated[float, PROBABILITY] = 0.8
    overlay_width: Annotated[int, Range(at_least=64, at_most=32_768)] = 2048
    max_megapixels: Annotated[float, Range(above=0)] = MAX_MEGAPIXELS
    device: str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_scheme("input", self.input)
        if not self.outputs:
            raise ConfigError("outputs", self.outputs, "at least one of map, heat_map, overlay")


@dataclass(frozen=True)
class Prediction:
    """What the model says of one image or frame.

    Args:
        name: of the file, relative to the input.
        saliency: the model's map as it is, float32 (h, w) in (0, 1).
        frame: of a video, its pixels at most ``overlay_width`` wide; None for an image.
        macs: of a video, what a gated encoder took; 0 where it is the map of the frame before,
            None of other encoders.
    """

    name: str
    saliency: np.ndarray
    frame: VideoFrame | None = None
    macs: float | None = None


def density(saliency: np.ndarray) -> np.ndarray:
    """A map as gaze density per steradian, float32 (h, w).

    The sum of density times :func:`pixel_solid_angles` is 1; a uniform map is 1 / (4 pi) at
    every pixel. The density itself does not sum to 1, which is what a sum over pixels of a
    panorama would mean: pixels near the poles are smaller.

    Raises:
        ValueError: a negative or not finite value, or nothing above zero.
    """
    values = saliency.astype(np.float64)
    total = float((values * pixel_solid_angles(*values.shape).numpy()).sum())
    if not np.isfinite(total) or total <= 0 or values.min() < 0:
        raise ValueError(
            "expected a map of finite values, none negative and some above zero, found "
            f"{values.min():g} to {values.max():g}; a model that gives such a map has not been "
            "trained, or has diverged"
        )
    return np.asarray(values / total, dtype=np.float32)


def overlay_shape(height: int, width: int, widest: int) -> tuple[int, int]:
    """Size of the overlay of a panorama: its own, at most ``widest`` wide, sides even.

    MP4 files need even sides; images have them too, so that both agree.
    """
    scale = min(1.0, widest / width)
    return max(2, 2 * round(height * scale / 2)), max(2, 2 * round(width * scale / 2))


def predictions(
    model: nn.Module, files: PredictionInput, config: PredictConfig, width: int
) -> Generator[Prediction | Unpredicted, None, None]:
    """Maps of all images, then of all videos frame by frame, in the order of their names.

    Args:
        model: images float (N, 3, H, W) in [0, 1] to maps (N, 1, h, w) in (0, 1). It is moved
            to the device and put to evaluation; afterwards it is as it was.
        files: what :func:`~ssl_kedro.saliency.predict.inputs.found_input` found.
        config: sizes, rate and device.
        width: of the images that the model is given, in px, even; they are half as high.

    Yields:
        A prediction, or what is wrong with a file that cannot be decoded after all.

    Raises:
        ValueError: the model gives something else than a map an image.
    """
    with model_at_work(model, resolved_device(config.device)) as device:
        yield from _of_images(model, files, config, width, device)
        for name in files.videos:
            yield from _of_video(model, files.root / name, name, config, width, device)


def _of_images(
    model: nn.Module,
    files: PredictionInput,
    config: PredictConfig,
    width: int,
    device: torch.device,
) -> Iterator[Prediction | Unpredicted]:
    paths = [files.root / name for name in files.images]
    photographs = PanoramaFiles(paths, files.images, config.max_megapixels)
    for found in batches(photographs, Resize(width), config.batch_size):
        if isinstance(found, Unreadable):
            yield Unpredicted(files.images[found.index], found.reason)
            continue
        for index, saliency in zip(found.indices, _maps(model, found.images, device), strict=True):
            yield Prediction(files.images[index], saliency)


def _of_video(
    model: nn.Module,
    path: Path,
    name: str,
    config: PredictConfig,
    width: int,
    device: torch.device,
) -> Iterator[Prediction | Unpredicted]:
    def prepared() -> Generator[tuple[VideoFrame, np.ndarray], None, None]:
        any_taken = False
        try:
            for frame in taken_frames(path, config.frames_per_second):
                any_taken = True
                height, across, _ = frame.pixels.shape
                shape = overlay_shape(height, across, config.overlay_width)
                shown = resized_frame(frame.pixels, *shape).transpose(1, 2, 0)
                image = resized_frame(frame.pixels, width // 2, width)
                yield replace(frame, pixels=shown), image
        except UnreadableImageError:
            if not any_taken:
                raise
            # The file breaks off here: what came before is kept.

    missing = "a video without a frame that can be decoded"
    counted = config.budget is not None or gated_encoder(model) is not None
    gated = GatedFrames(model, config.budget) if counted else None

    def frames(images: np.ndarray) -> Iterable[tuple[np.ndarray, float | None]]:
        if gated is None:
            return ((one, None) for one in _maps(model, images, device))
        return gated(torch.from_numpy(images).to(device).float() / 255)

    try:
        with closing(ahead(prepared(), config.batch_size)) as coming:
            while part := list(islice(coming, config.batch_size)):
                missing = ""
                images = np.stack([image for _, image in part])
                for (frame, _), (saliency, macs) in zip(part, frames(images), strict=True):
                    yield Prediction(name, saliency, frame, macs)
    except (SaliencyDataError, UnreadableImageError) as error:
        missing = getattr(error, "found", str(error))
    if missing:
        yield Unpredicted(name, missing)


def ahead(items: Generator[T, None, None], count: int) -> Generator[T, None, None]:
    """Items of a generator that a thread runs, up to ``count`` before they are asked for."""
    end: Any = object()
    coming = computed_ahead(lambda _: next(items, end), repeat(None), 1, count)
    with closing(items), closing(coming):
        yield from iter(lambda: next(coming), end)


def _maps(model: nn.Module, images: np.ndarray, device: torch.device) -> np.ndarray:
    """Maps float32 (N, h, w) of images uint8 (N, 3, H, W)."""
    with torch.inference_mode():
        found: Tensor = model(torch.from_numpy(images).to(device).float() / 255)
    if found.ndim != 4 or found.shape[:2] != (len(images), 1):
        raise ValueError(
            f"expected the model to give maps of shape ({len(images)}, 1, h, w), found "
            f"{tuple(found.shape)}"
        )
    return np.asarray(found[:, 0].float().cpu().numpy())


@contextmanager
def model_at_work(model: nn.Module, device: torch.device) -> Iterator[torch.device]:
    """A model on a device and in evaluation mode; afterwards it is where and how it was."""
    training = {module: module.training for module in model.modules()}
    tensor = next(iter(model.parameters()), None)
    home = device if tensor is None else tensor.device
    model.to(device).eval()
    try:
        yield device
    finally:
        model.to(home)
        for module, was in training.items():
            module.training = was
