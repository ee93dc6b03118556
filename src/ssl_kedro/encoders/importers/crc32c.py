"""CRC-32C, the checksum of TensorFlow's files, fast enough for gigabytes.

The checksum is linear over GF(2): the bytes are cut into lanes of equal length whose checksums
advance together, as one vector, and are joined afterwards. Joining shifts a checksum past the
zeros of everything behind it, which is a 32 x 32 matrix over GF(2).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

_POLYNOMIAL = 0x82F63B78  # Castagnoli's, bits reversed
_LANES = 4096
_LANE_BYTES = 1024
_BLOCK = _LANES * _LANE_BYTES
_MASK_DELTA = 0xA282EAD8

Words = NDArray[np.uint32]


def crc32c(data: bytes | memoryview | NDArray[np.uint8]) -> int:
    """CRC-32C of bytes (RFC 3720, appendix B.4)."""
    values = np.frombuffer(data, dtype=np.uint8)
    state = 0xFFFFFFFF
    whole = len(values) // _BLOCK * _BLOCK
    for start in range(0, whole, _BLOCK):
        # What came before acts on the block as if it were xored into its first four bytes.
        block = _of_lanes(values[start : start + _BLOCK].reshape(_LANES, _LANE_BYTES))
        state = _shifted_one(state, _BLOCK) ^ block
    return _bytewise(values[whole:], state) ^ 0xFFFFFFFF


def masked(checksum: int) -> int:
    """A checksum as TensorFlow and LevelDB store it: rotated by 15 bits, plus a constant."""
    return (((checksum >> 15) | (checksum << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def _bytewise(values: NDArray[np.uint8], state: int) -> int:
    """State after a few bytes; lanes of one length first, the rest one by one."""
    lanes = len(values) // _LANE_BYTES
    if lanes > 1:
        head = values[: lanes * _LANE_BYTES].reshape(lanes, _LANE_BYTES)
        state = _shifted_one(state, head.size) ^ _of_lanes(head)
        values = values[head.size :]
    table = _table8().tolist()
    for byte in values.tolist():
        state = table[(state ^ byte) & 0xFF] ^ (state >> 8)
    return state


def _of_lanes(lanes: NDArray[np.uint8]) -> int:
    """State after all lanes, one after another, from a state of zero."""
    table = _table16()
    words = np.ascontiguousarray(lanes.view("<u2").T)
    states: Words = np.zeros(len(lanes), dtype=np.uint32)
    for column in words:
        states = table[(states ^ column) & 0xFFFF] ^ (states >> np.uint32(16))
    length = lanes.shape[1]
    while len(states) > 1:
        if len(states) % 2:  # zeros in front change nothing
            states = np.concatenate([np.zeros(1, dtype=np.uint32), states])
        states = _shifted(states[0::2], length) ^ states[1::2]
        length *= 2
    return int(states[0])


def _shifted_one(state: int, zeros: int) -> int:
    return int(_shifted(np.array([state], dtype=np.uint32), zeros)[0])


def _shifted(states: Words, zeros: int) -> Words:
    """States after that many zero bytes."""
    tables = _shift_tables(zeros)
    parts = [tables[i][(states >> np.uint32(8 * i)) & 0xFF] for i in range(4)]
    joined: Words = parts[0] ^ parts[1] ^ parts[2] ^ parts[3]
    return joined


@cache
def _table8() -> Words:
    states = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        states = (states >> np.uint32(1)) ^ np.where(states & 1, np.uint32(_POLYNOMIAL), 0).astype(
            np.uint32
        )
    return states


@cache
def _table16() -> Words:
    """Effect of two bytes at once."""
    pairs = np.arange(65536, dtype=np.uint32)
    table = _table8()
    for _ in range(2):
        pairs = table[pairs & 0xFF] ^ (pairs >> np.uint32(8))
    return pairs


@cache
def _shift_tables(zeros: int) -> tuple[Words, ...]:
    """For each byte of a state, what it becomes after that many zero bytes."""
    basis = np.uint32(1) << np.arange(32, dtype=np.uint32)
    result, power = basis.copy(), _table_step(basis)
    while zeros:  # square and multiply; columns are the images of single bits
        if zeros & 1:
            result = _applied(power, result)
        power = _applied(power, power)
        zeros >>= 1
    tables = []
    for i in range(4):
        values = np.zeros(256, dtype=np.uint32)
        for bit in range(8):
            chosen = (np.arange(256) >> bit) & 1 == 1
            values[chosen] ^= result[8 * i + bit]
        tables.append(values)
    return tuple(tables)


def _table_step(states: Words) -> Words:
    stepped: Words = _table8()[states & 0xFF] ^ (states >> np.uint32(8))
    return stepped


def _applied(matrix: Words, states: Words) -> Words:
    """A matrix over GF(2), given by its 32 columns, times each state."""
    result = np.zeros_like(states)
    for bit in range(32):
        result ^= np.where((states >> np.uint32(bit)) & 1, matrix[bit], 0).astype(np.uint32)
    return result
