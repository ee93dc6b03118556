"""What every execution engine offers."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from ssl_kedro.core.errors import UserError


class EngineUnavailableError(UserError, RuntimeError):
    """An engine that cannot be used here; the message says why."""


class Engine(ABC):
    """Images in, features out, on the CPU; ``name`` is for reports."""

    name: str

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
    """

    def __init__(self, name: str, batch_size: int) -> None:
        self.name = name
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
