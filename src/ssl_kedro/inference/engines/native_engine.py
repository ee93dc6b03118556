"""The C++ kernel as an engine."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_kedro.inference.engines.base import Engine, EngineUnavailableError
from ssl_kedro.inference.native.build import NativeUnavailableError
from ssl_kedro.inference.native.kernel import NativeNetwork
from ssl_kedro.inference.network import CompactNetwork


class NativeEngine(Engine):
    """Computes the open channels of each image only; takes any number of images at a time.

    Raises:
        EngineUnavailableError: the kernel cannot be compiled here.
    """

    def __init__(
        self, network: CompactNetwork, batch_size: int, image_size: int, threads: int
    ) -> None:
        super().__init__("native", batch_size)
        try:
            self._network = NativeNetwork(network, image_size, threads)
        except NativeUnavailableError as error:
            raise EngineUnavailableError(str(error)) from error
        self.name = f"native {self._network.instruction_set}"

    @torch.inference_mode()
    def __call__(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        """Features (N, D) float32."""
        return self._network(images, masks)

    def run(self, images: Tensor, masks: Tensor | None) -> Tensor:
        """Features of a batch."""
        return self._network(images, masks)
