"""A writer of TensorFlow's checkpoints for tests, by the format's documents alone."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

TYPES = {np.dtype("float32"): 1, np.dtype("float64"): 2, np.dtype("int64"): 9}
STRING = 7


def checksum(data: bytes) -> int:
    """Masked CRC-32C, a bit at a time."""
    state = 0xFFFFFFFF
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = (state >> 1) ^ (0x82F63B78 if state & 1 else 0)
    state ^= 0xFFFFFFFF
    rotated = (state >> 15) | (state << 17)
    return (rotated + 0xA282EAD8) % 2**32


def varint(value: int) -> bytes:
    out = b""
    while value >= 128:
        out += bytes([value % 128 + 128])
        value //= 128
    return out + bytes([value])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, bytes):
        return varint(number * 8 + 2) + varint(len(value)) + value
    return varint(number * 8) + varint(value)


def entry(kind: int, shape: tuple[int, ...], shard: int, offset: int, size: int, crc: int) -> bytes:
    sides = b"".join(field(2, field(1, side)) for side in shape)
    message = field(1, kind) + field(2, sides)
    if shard:
        message += field(3, shard)
    if offset:
        message += field(4, offset)
    return message + field(5, size) + varint(6 * 8 + 5) + struct.pack("<I", crc)


def block(entries: list[tuple[bytes, bytes]], interval: int = 16) -> bytes:
    data, restarts, last = b"", [], b""
    for index, (key, value) in enumerate(entries):
        shared = 0
        if index % interval == 0:
            restarts.append(len(data))
        else:
            while shared < min(len(key), len(last)) and key[shared] == last[shared]:
                shared += 1
        data += varint(shared) + varint(len(key) - shared) + varint(len(value))
        data += key[shared:] + value
        last = key
    restarts = restarts or [0]
    return data + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def table(entries: list[tuple[bytes, bytes]], block_entries: int = 50) -> bytes:
    out = b""

    def put(content: bytes) -> bytes:
        nonlocal out
        handle = varint(len(out)) + varint(len(content))
        out += content + b"\0" + struct.pack("<I", checksum(content + b"\0"))
        return handle

    index = []
    for start in range(0, len(entries), block_entries):
        part = entries[start : start + block_entries]
        index.append((part[-1][0] + b"\0", put(block(part))))
    footer = put(block([])) + put(block(index, interval=1))
    return out + footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


def write(prefix: Path, tensors: Mapping[str, np.ndarray], shards: int = 1) -> None:
    """``prefix.index`` and its data files; names in the order of their bytes."""
    data = [b"" for _ in range(shards)]
    version = field(1, 1)
    entries = [(b"", field(1, shards) + field(2, 0) + field(3, version))]
    for number, name in enumerate(sorted(tensors, key=str.encode)):
        values, shard = tensors[name], number % shards
        raw = values.tobytes()
        message = entry(
            TYPES[values.dtype], values.shape, shard, len(data[shard]), len(raw), checksum(raw)
        )
        entries.append((name.encode(), message))
        data[shard] += raw
    prefix.parent.mkdir(parents=True, exist_ok=True)
    Path(f"{prefix}.index").write_bytes(table(entries))
    for shard, content in enumerate(data):
        Path(f"{prefix}.data-{shard:05d}-of-{shards:05d}").write_bytes(content)
