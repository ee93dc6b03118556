from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encoders.importers import bundle_writer
from ssl_kedro.encoders.importers.kind import WeightsError
from ssl_kedro.encoders.importers.tensor_bundle import (
    TensorBundle,
    fields,
    integer,
    masked_crc32c,
    read_varint,
)


@pytest.mark.parametrize("size", [0, 1, 9, 1023, 3 * 1024 + 5, 40_001])
def test_masked_crc32c_equals_a_bit_at_a_time(size: int) -> None:
    data = np.random.default_rng(size).bytes(size)
    assert masked_crc32c(data) == bundle_writer.checksum(data)


def test_protobuf_examples_of_its_documentation() -> None:
    assert read_varint(b"\x96\x01", 0) == (150, 2)
    assert list(fields(b"\x08\x96\x01")) == [(1, 150)]
    assert list(fields(b"\x12\x07testing")) == [(2, b"testing")]
    assert integer(read_varint(b"\xfe" + b"\xff" * 8 + b"\x01", 0)[0]) == -2


@pytest.mark.parametrize("message", [b"\x08", b"\x12\x07test", b"\x0b", b"\x08" + b"\xff" * 11])
def test_protobuf_refuses_what_is_cut_off(message: bytes) -> None:
    with pytest.raises(ValueError, match=r"number|field"):
        list(fields(message))


def tensors() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    found: dict[str, np.ndarray] = {
        f"model/layer_{i}/kernel": generator.normal(size=(i % 4 + 1, 3)).astype(np.float32)
        for i in range(130)
    }
    return found | {
        "global_step": np.array(12345678901, dtype=np.int64),
        "empty": np.zeros((0, 4), dtype=np.float32),
        "double": generator.normal(size=5),
    }


@pytest.mark.parametrize("shards", [1, 3])
def test_round_trip_through_many_blocks_and_shards(tmp_path: Path, shards: int) -> None:
    expected = tensors()
    bundle_writer.write(tmp_path / "model.ckpt-7", expected, shards)
    for path in (tmp_path, tmp_path / "model.ckpt-7", tmp_path / "model.ckpt-7.index"):
        bundle = TensorBundle(path)
        assert list(bundle.entries) == sorted(expected, key=str.encode)
        for name, values in expected.items():
            found = bundle.tensor(name)
            assert found.dtype == values.dtype
            assert bundle.entries[name].shape == values.shape
            np.testing.assert_array_equal(found, values)


def test_every_damaged_byte_of_the_index_is_noticed_or_harmless(tmp_path: Path) -> None:
    expected = {"a/kernel": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(2)}
    bundle_writer.write(tmp_path / "m", expected)
    index = tmp_path / "m.index"
    whole = index.read_bytes()
    noticed = 0
    for place in range(len(whole)):
        index.write_bytes(whole[:place] + bytes([whole[place] ^ 0x15]) + whole[place + 1 :])
        try:
            bundle = TensorBundle(index)
            for name, values in expected.items():
                np.testing.assert_array_equal(bundle.tensor(name), values)
        except WeightsError:
            noticed += 1
    # The empty block of filters (8 bytes and its trailer of 5), its handle of 2, and the padding
    # of the footer (40 less two handles of 2) say nothing about tensors.
    assert len(whole) - noticed == 13 + 2 + 36
    for size in range(len(whole)):
        index.write_bytes(whole[:size])
        with pytest.raises(WeightsError, match=r"m\.index"):
            TensorBundle(index)


def test_faults_of_the_data_are_named(tmp_path: Path) -> None:
    prefix = tmp_path / "m"
    bundle_writer.write(prefix, {"a": np.ones(4, dtype=np.float32), "b": np.ones(4)})
    data = tmp_path / "m.data-00000-of-00001"
    whole = data.read_bytes()
    data.write_bytes(whole[:-1])
    TensorBundle(prefix).tensor("a")
    with pytest.raises(WeightsError, match="end of the file within b"):
        TensorBundle(prefix).tensor("b")
    data.write_bytes(b"\1" + whole[1:])
    with pytest.raises(WeightsError, match="wrong checksum of a"):
        TensorBundle(prefix).tensor("a")
    data.unlink()
    with pytest.raises(WeightsError, match="data-00000-of-00001"):
        TensorBundle(prefix).tensor("a")


def raw_index(path: Path, entries: list[tuple[bytes, bytes]]) -> Path:
    path.write_bytes(bundle_writer.table(entries))
    return path


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (bundle_writer.field(1, 1) + bundle_writer.field(2, 1), "big-endian"),
        (bundle_writer.field(1, 1) + bundle_writer.field(3, bundle_writer.field(2, 9)), "later"),
        (bundle_writer.field(1, 1 << 40), "data files"),
    ],
)
def test_headers_that_cannot_be_read_are_refused(
    tmp_path: Path, header: bytes, message: str
) -> None:
    with pytest.raises(WeightsError, match=message):
        TensorBundle(raw_index(tmp_path / "m.index", [(b"", header)]))


def test_entries_that_lie_about_their_size_are_refused(tmp_path: Path) -> None:
    header = (b"", bundle_writer.field(1, 1))
    (tmp_path / "m.data-00000-of-00001").write_bytes(bytes(64))
    claims = {
        "too_big": bundle_writer.entry(1, (1 << 40,), 0, 0, 1 << 42, 0),
        "other_size": bundle_writer.entry(1, (2,), 0, 0, 12, 0),
        "string": bundle_writer.entry(bundle_writer.STRING, (1,), 0, 0, 4, 0),
        "sliced": bundle_writer.entry(1, (1,), 0, 0, 4, 0) + bundle_writer.field(7, b""),
    }
    entries = [header, *((k.encode(), v) for k, v in sorted(claims.items()))]
    bundle = TensorBundle(raw_index(tmp_path / "m.index", entries))
    for name in claims:
        with pytest.raises(WeightsError, match=name):
            bundle.tensor(name)


def test_several_checkpoints_in_a_folder_need_a_choice(tmp_path: Path) -> None:
    for name in ("a", "b"):
        bundle_writer.write(tmp_path / name, {"x": np.ones(1)})
    with pytest.raises(WeightsError, match=r"2 checkpoints \(a\.index, b\.index\)"):
        TensorBundle(tmp_path)
    with pytest.raises(WeightsError, match=r"missing\.index"):
        TensorBundle(tmp_path / "missing")
