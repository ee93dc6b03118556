"""What every execution engine offers."""

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor

from ssl_kedro.core.errors import UserError
from ssl_kedro.core.precision import Precision


class EngineUnavailableError(UserError, RuntimeError):
    """An engine that cannot be used here; the message says why.

    Cause: its package or a compiler is missing, or the processor lacks the precision.
    Remedy: ``pip install "ssl_kedro[fast]"``, install a C++ compiler, or leave the engine out
    of ``inference.engines``.
    """


class Engine(ABC):
    """Images in, features out, on the CPU; ``name`` is for reports, ``precision`` what it has."""

    name: str
    precision: Precision = "f32"

    @abstractmethod
    def __call__(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        """Features (N, D) float32.

        Args:
            images: (N, 3, H, W), float32 in [0, 1], of the size that the engine is made for.
            masks: (N, dependent), for engines that are made for imposed masks.
        """


class BatchEngine(Engine):
    """An engine that is made for one batch size; other numbers of images are split or filled up.

    Args:
        name: for reports.
        batch_size: images that are computed at a time.
        precision: what it computes with.
    """

    def __init__(self, name: str, batch_size: int, precision: Precision = "f32") -> None:
        self.name = name
        self.precision = precision
        self.batch_size = batch_size

    @torch.inference_mode()
    def __call__(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        """See :class:`Engine`."""
        if len(images) == self.batch_size:
            return self.run(images, masks)
        parts = []
        for start in range(0, len(images), self.batch_size):
            part = images[start : start + self.batch_size]
            imposed = None if masks is None else masks[start : start + self.batch_size]
            missing = self.batch_size - len(part)
            if missing:
                part = torch.cat([part, part[-1:].expand(missing, -1, -1, -1)])
                if imposed is not None:
                    imposed = torch.cat([imposed, imposed[-1:].expand(missing, -1)])
            parts.append(self.run(part, imposed)[: self.batch_size - missing])
        return torch.cat(parts)

    @abstractmethod
    def run(self, images: Tensor, masks: Tensor | None) -> Tensor:
        """Features of exactly ``batch_size`` images."""


def engine_features(engine: Engine, images: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """Features (N, D) float32 of many images through an engine.

    Args:
        engine: ready for images of this size.
        images: uint8 (N, 3, side, side), N >= 1, array or memory map, read a batch at a time.
        batch_size: images that are handed over at a time, whatever the engine makes of them.
    """
    parts = []
    for start in range(0, len(images), batch_size):
        batch = torch.from_numpy(np.array(images[start : start + batch_size])).float() / 255
        parts.append(engine(batch).numpy())
    return np.concatenate(parts)
