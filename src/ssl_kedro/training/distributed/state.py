"""What processes have in common (first weights, checkpoints, failures), and how they say it.

Messages are JSON and files, sent as tensors on the CPU, without pickle.
"""

import json
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load, save
from torch import nn

from ssl_kedro.training.checkpoints import Checkpoint, CheckpointError, CheckpointStore


class SharedCheckpoints(CheckpointStore):
    """Checkpoints that one process writes and all resume from.

    The first process writes. To resume, the newest checkpoint that any machine has is sent to all:
    after a restart another machine may be the first, and disks need not be shared.

    Args:
        store: of this machine.
        stale: modification time in ns of a checkpoint that is not to be resumed.
        local_rank: place of this process on its machine; the first looks at the disk.
        folder: private, for what arrives.
    """

    def __init__(
        self, store: CheckpointStore, stale: int | None, local_rank: int, folder: Path
    ) -> None:
        super().__init__(store.path)
        self._stale = stale
        self._local_rank = local_rank
        self._folder = folder

    def save(self, checkpoint: Checkpoint) -> None:
        """Write, in the first process."""
        if dist.get_rank() == 0:
            super().save(checkpoint)

    def load(self) -> Checkpoint | None:
        """The newest checkpoint of this training anywhere, in every process alike.

        Raises:
            CheckpointError: one of them is damaged; every process raises it.
        """
        own, fault = None, None
        if self._local_rank == 0 and not self._is_stale():
            try:
                own = super().load()
            except CheckpointError as error:
                fault = str(error)
        found = exchanged({"epoch": 0 if own is None else own.epoch, "fault": fault})
        for one in found:
            if one["fault"] is not None:
                raise CheckpointError(one["fault"])
        newest = max(one["epoch"] for one in found)
        if newest == 0:
            return None
        source = [one["epoch"] for one in found].index(newest)
        here = dist.get_rank() == source
        content = broadcast(self.path.read_bytes() if here else b"", source)
        if own is not None and here:
            return own
        received = CheckpointStore(self._folder / f"received_{dist.get_rank()}.safetensors")
        received.path.write_bytes(content)
        try:
            return received.load()
        finally:
            received.path.unlink()

    def _is_stale(self) -> bool:
        return self.path.exists() and self.path.stat().st_mtime_ns == self._stale


def share_state(module: nn.Module) -> None:
    """Give every process the first one's weights and buffers."""
    tensors = {name: value.contiguous() for name, value in module.state_dict().items()}
    content = broadcast(save(tensors) if dist.get_rank() == 0 else b"", 0)
    module.load_state_dict(load(content))


def check_agreement(module: nn.Module) -> None:
    """Make sure that all processes ended with the same weights.

    Raises:
        RuntimeError: they did not: something in the training was not shared.
    """
    total = torch.zeros(2, dtype=torch.float64)
    for value in module.state_dict().values():
        numbers = value.detach().double().cpu()
        total += torch.stack([numbers.sum(), numbers.square().sum()])
    sums = [one["sums"] for one in exchanged({"sums": total.tolist()})]
    if any(one != sums[0] for one in sums):
        raise RuntimeError(
            f"the processes ended with different weights (sums {sums}); their gradients were not "
            "the same, which is a mistake in a method or loss: see docs/distributed.md"
        )


def exchanged(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Every process' message, in the order of ranks."""
    own = torch.frombuffer(bytearray(json.dumps(message).encode()), dtype=torch.uint8)
    lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(dist.get_world_size())]
    dist.all_gather(lengths, torch.tensor([len(own)]))
    longest = int(max(lengths))
    padded = torch.zeros(longest, dtype=torch.uint8)
    padded[: len(own)] = own
    found = [torch.empty_like(padded) for _ in lengths]
    dist.all_gather(found, padded)
    return [
        json.loads(bytes(text[: int(length)].numpy()))
        for text, length in zip(found, lengths, strict=True)
    ]


def broadcast(content: bytes, source: int) -> bytes:
    """The source's content, in every process."""
    length = torch.tensor([len(content)])
    dist.broadcast(length, source)
    here = dist.get_rank() == source
    tensor = torch.empty(int(length), dtype=torch.uint8)
    if here:
        tensor = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    dist.broadcast(tensor, source)
    return content if here else tensor.numpy().tobytes()
