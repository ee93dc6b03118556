"""Engines whose memory is known, where another process can load them."""

import sys

import torch
from torch import Tensor

from ssl_kedro.inference.engines.base import Engine


class Hungry(Engine):
    """Keeps some megabytes from the start, and takes more for as long as it runs."""

    name = "hungry"

    def __init__(self, kept_mb: int, taken_mb: int) -> None:
        self.kept, self.taken_mb = torch.ones(kept_mb * 250_000), taken_mb

    def __call__(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        return images.mean() + torch.ones(self.taken_mb * 250_000)[:1]


class Broken(Engine):
    """Ends its process."""

    name = "broken"

    def __call__(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        sys.exit(3)
