"""Run time of a saliency model per image, stage by stage (thesis Table 4.2)."""

import itertools
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ssl_kedro.core.config import Config, ConfigError, Range
from ssl_kedro.core.devices import limited_threads, resolved_device
from ssl_kedro.core.files import storage_told
from ssl_kedro.images.decode import Resize
from ssl_kedro.saliency.predict.inputs import PanoramaFiles
from ssl_kedro.saliency.predict.prediction import density, model_at_work

# The last is the four together, whose median is not their sum.
STAGES = ("decode", "encoder", "decoder", "post", "total")


@dataclass(frozen=True)
class RuntimeConfig(Config):
    """How to measure.

    Args:
        batch_sizes: images at a time; each is measured for itself.
        repetitions: of which the median is taken; the batch sizes take turns, so that a
            machine that grows slower meanwhile does so for all.
        warm_up: repetitions before, which do not count.
        threads: of PyTorch; None = as they are.
        width: of the images that the network is given, in px, even; they are half as high.
        device: "auto" = CUDA where there is one.

    Raises:
        ConfigError: a value outside its range, or batch sizes that are none or not different.
    """

    batch_sizes: tuple[Annotated[int, Range(at_least=1)], ...] = (1, 16)
    repetitions: Annotated[int, Range(at_least=15)] = 15
    warm_up: Annotated[int, Range(at_least=1)] = 3
    threads: Annotated[int | None, Range(at_least=1)] = None
    width: Annotated[int, Range(at_least=32, at_most=2**14)] = 320
    device: str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.batch_sizes or len(set(self.batch_sizes)) < len(self.batch_sizes):
            raise ConfigError("batch_sizes", self.batch_sizes, "different numbers, at least one")


@dataclass(frozen=True)
class Runtime:
    """Time of one stage, per image.

    Args:
        stage: one of :data:`STAGES`.
        batch_size: images at a time.
        milliseconds: median over the repetitions.
        low_ms, high_ms: lower and upper quartile.
        repetitions: how many.
        device: as it calls itself.
        threads: of PyTorch; decoding always takes one.
    """

    stage: str
    batch_size: int
    milliseconds: float
    low_ms: float
    high_ms: float
    repetitions: int
    device: str
    threads: int


def runtimes_on(
    model: nn.Module, images: Sequence[np.ndarray], config: RuntimeConfig
) -> list[Runtime]:
    """See :func:`runtimes`; for pictures uint8 (3, H, W), made JPEGs of their size first."""
    place = Path(tempfile.gettempdir())
    with storage_told(place), tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{index}.jpg" for index in range(len(images))]
        for path, image in zip(paths, images, strict=True):
            picture = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
            picture.save(path, quality=90)
        return runtimes(model, paths, config)


def runtimes(model: nn.Module, paths: Sequence[Path], config: RuntimeConfig) -> list[Runtime]:
    """Measure decoding, encoder, decoder and post-processing.

    "decode" reads files in one thread up to uint8 at the network's size; "encoder"
    begins with moving them to the device and scaling them to [0, 1]; "post" moves
    maps to the CPU and makes densities of them. Writing files and drawing are left out, as
    in the published times. On CUDA every stage ends when the device has finished it.

    Args:
        model: has parts ``encoder`` and ``decoder``; maps are decoder(encoder(images)). It is
            left as it was.
        paths: panoramas, used in turn; the files are in the system's cache after the warm-up.
        config: how to measure.

    Returns:
        All :data:`STAGES` for each batch size.

    Raises:
        ValueError: no paths, or a model without these parts.
        UnreadableImageError: a file cannot be decoded.
    """
    if not paths:
        raise ValueError("expected at least one panorama to measure with, found none")
    for name in ("encoder", "decoder"):
        if not isinstance(getattr(model, name, None), nn.Module):
            raise ValueError(f"expected a model with parts encoder and decoder, found no {name}")
    device = resolved_device(config.device)
    photographs = PanoramaFiles(paths, [str(path) for path in paths])
    turns = itertools.cycle(range(len(photographs)))
    taken: dict[int, list[np.ndarray]] = {size: [] for size in config.batch_sizes}
    threads = config.threads or torch.get_num_threads()
    with limited_threads(threads), model_at_work(model, device), torch.inference_mode():
        for at in range(config.warm_up + config.repetitions):
            for size in config.batch_sizes:
                indices = list(itertools.islice(turns, size))
                seconds = _stage_seconds(model, photographs, indices, config.width, device)
                if at >= config.warm_up:
                    taken[size].append(1e3 * np.append(seconds, seconds.sum()) / size)
    called = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    found = []
    for size, measured in taken.items():
        quartiles = np.quantile(measured, (0.25, 0.5, 0.75), axis=0).T.tolist()
        for stage, (low, median, high) in zip(STAGES, quartiles, strict=True):
            found.append(Runtime(stage, size, median, low, high, len(measured), called, threads))
    return found


def _stage_seconds(
    model: nn.Module,
    photographs: PanoramaFiles,
    indices: Sequence[int],
    width: int,
    device: torch.device,
) -> np.ndarray:
    """Seconds of each stage for one batch, (4,)."""

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    marks = [now()]
    images = np.stack([photographs.decoded(index, Resize(width)) for index in indices])
    marks.append(now())
    features: Tensor = model.get_submodule("encoder")(
        torch.from_numpy(images).to(device).float() / 255
    )
    marks.append(now())
    maps: Tensor = model.get_submodule("decoder")(features)
    marks.append(now())
    for saliency in maps[:, 0].float().cpu().numpy():
        density(saliency)
    return np.diff([*marks, now()])
