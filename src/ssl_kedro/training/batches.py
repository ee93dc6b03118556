"""Random batches of images, from memory or from a memory map."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ssl_kedro.core.collectives import own_rows
from ssl_kedro.core.errors import UserError
from ssl_kedro.core.rows import rows_of
from ssl_kedro.core.seeding import torch_generator


class BatchSizeError(UserError, ValueError):
    """A batch larger than the data.

    Cause: ``train.batch_size`` is above the number of training images.
    Remedy: lower the batch size, or give more images.
    """


def check_batch_size(count: int, batch_size: int) -> None:
    """Refuse a batch larger than the data.

    Raises:
        BatchSizeError: fewer images than a batch.
    """
    if count < batch_size:
        raise BatchSizeError(
            f"train.batch_size = {batch_size}: there are only {count} training images; "
            f"lower the batch size to at most {count} or give more images"
        )


class Batch(NamedTuple):
    """Some of the training images.

    Args:
        images: uint8 (B, 3, H, W) on the device, or rows of whole pictures.
        indices: int64 (B,) on the CPU, their places among all training images.
    """

    images: Tensor
    indices: Tensor


class BatchSource:
    """Random batches of one image store, without a data-loader process.

    An ordinary array goes to the device once and is indexed there; a memory map stays on
    disk and only the batches are read. Of a batch that processes share, each takes its own rows.

    Args:
        images: uint8 (N, 3, H, W), or rows of whole pictures; an array or a memory map.
        batch_size: images a batch; the incomplete last batch of an epoch is left out.
        device: where the batches are wanted.
        seed: of the order.

    Raises:
        BatchSizeError: fewer images than a batch.
    """

    def __init__(
        self, images: np.ndarray, batch_size: int, device: torch.device, seed: int
    ) -> None:
        check_batch_size(len(images), batch_size)
        self.batch_size = batch_size
        self.device = device
        self.seed = seed
        self._count = len(images)
        mapped = isinstance(images, np.memmap)
        self._images = images if mapped else torch.from_numpy(images).to(device)

    @property
    def batches_per_epoch(self) -> int:
        """Whole batches in one pass over the images."""
        return self._count // self.batch_size

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches of one epoch, in a seeded order, this process' rows of each."""
        order = torch.randperm(self._count, generator=torch_generator(self.seed, "order", epoch))
        # Once an epoch: copying the indices of each batch would wait for the device each time.
        places = order.to(self.device) if isinstance(self._images, Tensor) else order
        for start in range(0, self.batches_per_epoch * self.batch_size, self.batch_size):
            rows = slice(start, start + self.batch_size)
            yield self._gather(order[rows], places[rows])

    def _gather(self, indices: Tensor, places: Tensor) -> Batch:
        if isinstance(self._images, Tensor):
            return Batch(self._images[own_rows(places)], own_rows(indices))
        indices = own_rows(indices)
        # Rising offsets read the disk in one sweep. Then back to the order that was drawn: a store
        # may hold class after class, and whitening, for one, depends on which rows stand together.
        rising = indices.argsort()
        read = torch.from_numpy(rows_of(self._images, indices[rising].numpy()))
        batch = read[rising.argsort()]
        if self.device.type == "cuda":
            return Batch(batch.pin_memory().to(self.device, non_blocking=True), indices)
        return Batch(batch.to(self.device), indices)
