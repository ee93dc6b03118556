"""Small messages between processes: JSON and files, through tensors on the CPU, without pickle."""

from __future__ import annotations

import json
from typing import Any

import torch
import torch.distributed as dist

Json = dict[str, Any]


def exchanged(message: Json) -> list[Json]:
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
