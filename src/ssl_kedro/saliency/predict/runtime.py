"""Run time of a saliency model per image, stage by stage (thesis Table 4.2)."""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ssl_kedro.core.config import Config, ConfigError, Range
from ssl_kedro.core.devices import resolved_device
from ssl_kedro.images.decode import Resize
from ssl_kedro.saliency.predict.inputs import PanoramaFiles
from ssl_kedro.saliency.predict.prediction import density, model_at_work

Stage = Literal["decode and resize", "encoder", "decoder", "post-processing", "all"]
STAGES: tuple[Stage, ...] = ("decode and resize", "encoder", "decoder", "post-processing")

_FEWEST = 15
_USUAL_SIZE = (2048, 1024)


@dataclass(frozen=True)
class RuntimeConfig(Config):
    """How to measure.

    Args:
        batch_sizes: images at a time; each is measured for itself.
        repetitions: of which the median is taken; the batch sizes take turns, so that a
            machine that grows slower meanwhile does so for all.
        warm_up: repetitions before, which do not count.
        height: of the network's input in px.
        width: of the network's input in px, twice the height.
        threads: of PyTorch; None = as they are.
        device: "auto" = CUDA where there is one.

    Raises:
        ConfigError: a value outside its range.
    """

    batch_sizes: tuple[Annotated[int, Range(at_least=1)], ...] = (1, 16)
    repetitions: Annotated[int, Range(at_least=_FEWEST)] = 15
    warm_up: Annotated[int, Range(at_least=1)] = 3
    height: Annotated[int, Range(at_least=16)] = 160
    width: Annotated[int, Range(at_least=32)] = 320
    threads: Annotated[int | None, Range(at_least=1)] = None
    device: str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width != 2 * self.height:
            raise ConfigError("width", self.width, f"{2 * self.height}, twice the height")
        if not self.batch_sizes or len(set(self.batch_sizes)) < len(self.batch_sizes):
            raise ConfigError("batch_sizes", self.batch_sizes, "different numbers, at least one")


@dataclass(frozen=True)
class Runtime:
    """Time of one stage, per image.

    Args:
        stage: of the work; "all" is the four together, whose median is not their sum.
        batch_size: images at a time.
        milliseconds: median over the repetitions.
        low_ms: lower quartile.
        high_ms: upper quartile.
        repetitions: how many.
        device: as it calls itself.
        threads: of PyTorch; decoding always takes one.
    """

    stage: Stage
    batch_size: int
    milliseconds: float
    low_ms: float
    high_ms: float
    repetitions: int
    device: str
    threads: int


def runtimes_on(
    model: nn.Module, images: np.ndarray, config: RuntimeConfig | None = None
) -> list[Runtime]:
    """Run time where there are pictures but no files: they become JPEGs of 2048 x 1024 px first.

    Args:
        model: see :func:`runtimes`.
        images: uint8 (N, 3, H, W), panoramas.
        config: see :func:`runtimes`.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{index}.jpg" for index in range(len(images))]
        for path, image in zip(paths, images, strict=True):
            picture = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
            picture.resize(_USUAL_SIZE).save(path, quality=90)
        return runtimes(model, paths, config)


def runtimes(
    model: nn.Module, paths: Sequence[Path], config: RuntimeConfig | None = None
) -> list[Runtime]:
    """Measure decoding, encoder, decoder and post-processing.

    "Decode and resize" reads files in one thread up to uint8 at the network's size; "encoder"
    begins with moving them to the device and scaling them to [0, 1]; "post-processing" moves
    maps to the CPU and makes densities of them. Writing files and drawing are left out, as
    in the published times. On CUDA every stage ends when the device has finished it.

    Args:
        model: has parts ``encoder`` and ``decoder``; maps are decoder(encoder(images)). It is
            left as it was.
        paths: panoramas, used in turn; the files are in the system's cache after the warm-up.
        config: how to measure; None = the defaults.

    Returns:
        Four stages and "all" for each batch size.

    Raises:
        ValueError: no paths, or a model without these parts.
        UnreadableImageError: a file cannot be decoded.
    """
    config = config or RuntimeConfig()
    if not paths:
        raise ValueError("expected at least one panorama to measure with, found none")
    encoder, decoder = (_part(model, name) for name in ("encoder", "decoder"))
    device = resolved_device(config.device)
    photographs = PanoramaFiles(list(paths), [str(path) for path in paths])
    turns = itertools.cycle(range(len(photographs)))
    taken: dict[int, list[list[float]]] = {size: [] for size in config.batch_sizes}
    with _threads(config.threads), model_at_work(model, device), torch.inference_mode():
        for at in range(config.warm_up + config.repetitions):
            for size in config.batch_sizes:
                images = [(photographs, index) for index in itertools.islice(turns, size)]
                seconds = _stage_seconds(encoder, decoder, images, config.width, device)
                if at >= config.warm_up:
                    taken[size].append([1e3 * value / size for value in seconds])
        threads = torch.get_num_threads()
    return [
        _row(stage, size, values, device, threads)
        for size, measured in taken.items()
        for stage, values in _by_stage(measured)
    ]


def _part(model: nn.Module, name: str) -> nn.Module:
    part = getattr(model, name, None)
    if not isinstance(part, nn.Module):
        raise ValueError(f"expected a model with parts encoder and decoder, found no {name}")
    return part


def _stage_seconds(
    encoder: nn.Module,
    decoder: nn.Module,
    chosen: Sequence[tuple[PanoramaFiles, int]],
    width: int,
    device: torch.device,
) -> list[float]:
    """Seconds of each stage for one batch."""
    clock = _Clock(device)
    images = np.stack([files.decoded(index, Resize(width)) for files, index in chosen])
    decoded = clock.lap()
    features: Tensor = encoder(torch.from_numpy(images).to(device).float() / 255)
    encoded = clock.lap()
    maps: Tensor = decoder(features)
    finished = clock.lap()
    for saliency in maps[:, 0].float().cpu().numpy():
        density(saliency)
    return [decoded, encoded, finished, clock.lap()]


class _Clock:
    """Seconds between calls, once the device has finished its work.

    Args:
        device: that works.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._last = self._now()

    def lap(self) -> float:
        """Seconds since the last call."""
        before, self._last = self._last, self._now()
        return self._last - before

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


def _by_stage(measured: Sequence[Sequence[float]]) -> Iterator[tuple[Stage, list[float]]]:
    yield from zip(STAGES, map(list, zip(*measured, strict=True)), strict=True)
    yield "all", [sum(values) for values in measured]


def _row(
    stage: Stage, size: int, values: Sequence[float], device: torch.device, threads: int
) -> Runtime:
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    return Runtime(stage, size, median, low, high, len(values), name, threads)


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
