from __future__ import annotations

import io
import os
import pickle
import random
import re
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from encoders.importers.resnet_oracle import random_state
from ssl_kedro.core.pickles import Allowed, InertObject, unpickled
from ssl_kedro.encoders.descriptor_head import WHITENING
from ssl_kedro.encoders.gated_vit import GatedViT, ViTConfig
from ssl_kedro.encoders.importers import KINDS, WeightsError, import_weights
from ssl_kedro.encoders.importers.pickled_arrays import ARRAYS, KeptState
from ssl_kedro.encoders.importers.torch_file import read_inert, read_torch

PICKLED = [kind for kind in KINDS if not kind.startswith("simclr")]
TOLERANT = ("dino", "gem_ap", "solo_learn")


class MakesFolder:
    """What a malicious pickle does, here harmlessly: its reading makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def malicious(kind: str, trap: Path) -> dict[str, Any]:
    if kind == "dino":
        vit = GatedViT(ViTConfig(width=64, depth=1), branches=("dense",), image_size=8)
        teacher = {
            f"backbone.{name.replace('.dense.', '.')}": value
            for name, value in vit.state_dict().items()
            if not name.startswith("pixel_")
        }
        return {"teacher": teacher, "args": MakesFolder(trap)}
    state = random_state(101 if kind in ("gem_ap", "torchvision_resnet101") else 50, 4)
    names = {"solo_learn": "backbone.", "moco_v1": "module.encoder_q."}
    state = {names.get(kind, "") + name: value for name, value in state.items()}
    return {"state_dict": state, "model": state, "hyperparams": {}, "trap": MakesFolder(trap)}


@pytest.mark.parametrize("kind", PICKLED)
@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_never_runs(tmp_path: Path, kind: str, zipped: bool) -> None:
    trap, path = tmp_path / "trap", tmp_path / "w.pth"
    torch.save(malicious(kind, trap), path, _use_new_zipfile_serialization=zipped)
    try:
        import_weights(kind, path)
    except WeightsError as error:
        assert kind not in TOLERANT
        assert "more than tensors and plain values" in str(error)
    else:
        assert kind in TOLERANT
    assert not trap.exists()


def test_the_trap_works_where_code_may_run(tmp_path: Path) -> None:
    torch.save(malicious("amdim", tmp_path / "trap"), tmp_path / "w.pth")
    torch.load(tmp_path / "w.pth", weights_only=False)
    assert (tmp_path / "trap").is_dir()


@pytest.mark.parametrize("zipped", [True, False])
def test_objects_of_scikit_learn_become_stand_ins(tmp_path: Path, zipped: bool) -> None:
    pca = PCA(n_components=2).fit(np.random.default_rng(0).normal(size=(20, 4)))
    state = random_state(101, 4)
    content = {
        "state_dict": {f"module.{k}": v for k, v in state.items()}
        | {"module.adpool.p": torch.tensor([3.0])},
        "pca": {"Landmarks_clean": pca},
        "options": {"arch": "resnet101_rmac"},
    }
    path = tmp_path / "w.pt"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match="more than tensors"):
        read_torch(path)
    network, report = import_weights("gem_ap", path)
    assert report.notes["gem_p"] == 3
    assert report.dropped["pca"] == "the PCA of Landmarks_clean, kept apart"
    arrays = (pca.mean_, pca.components_, pca.explained_variance_)
    for name, expected in zip(WHITENING, arrays, strict=True):
        assert np.array_equal(report.extras[name].numpy(), expected.astype(np.float32))
    for name, value in network.state_dict().items():
        if name in state:
            assert torch.equal(value, state[name])
    found = read_inert(path)["pca"]["Landmarks_clean"]
    assert isinstance(found, InertObject)
    assert "sklearn.decomposition" in repr(found)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<i2", "|u1", "<f2"])
def test_arrays_in_a_pickle_are_read_without_numpys_help(order: Any, dtype: str) -> None:
    array = np.asarray(np.arange(12).reshape(3, 4), dtype, order)
    # Files older than NumPy 2 name its modules otherwise.
    for name in (b"numpy._core.multiarray", b"numpy.core.multiarray"):
        raw = pickle.dumps([array], 2).replace(b"numpy._core.multiarray", name)
        (found,) = unpickled(io.BytesIO(raw), Allowed(ARRAYS))
        assert np.array_equal(found.values(), array)


def test_what_is_no_array_of_numbers_is_a_stand_in_or_refused() -> None:
    (found,) = unpickled(io.BytesIO(pickle.dumps([np.array([{}, None])], 2)), Allowed(ARRAYS))
    assert isinstance(found.values(), InertObject)
    raw = pickle.dumps([np.arange(3, dtype="<i4")], 2)
    (found,) = unpickled(io.BytesIO(raw.replace(b"K\x03\x85", b"K\x04\x85")), Allowed(ARRAYS))
    with pytest.raises(ValueError, match=r"shape \(4,\) in 12 bytes"):
        found.values()


def test_an_object_whose_state_is_kept_is_none_of_its_class() -> None:
    raw = pickle.dumps(PCA(1).fit(np.eye(3)), 2)
    first, second = (unpickled(io.BytesIO(raw), Allowed(ARRAYS, foreign=True)) for _ in range(2))
    assert isinstance(first, KeptState)
    assert not isinstance(first, PCA)
    assert type(first) is not type(second)  # no pickle can change what another finds


@pytest.mark.parametrize("zipped", [True, False])
def test_stand_in_reader_equals_pytorch_on_plain_files(tmp_path: Path, zipped: bool) -> None:
    base = torch.arange(24, dtype=torch.float64)
    content = {
        "views": [base.view(4, 6).T, base[3:9], base.view(2, 3, 4)[:, 1]],
        "types": {
            str(dtype): torch.arange(5).to(dtype)
            for dtype in (
                torch.float16,
                torch.bfloat16,
                torch.float32,
                torch.int64,
                torch.int32,
                torch.int16,
                torch.int8,
                torch.uint8,
                torch.bool,
            )
        },
        "parameter": torch.nn.Parameter(torch.ones(2, 2)),
        "scalar": torch.tensor(4.5),
        "empty": torch.zeros(0, 3),
        "module": torch.nn.Linear(3, 2).state_dict(),
        "plain": (1, 2.5, None, True, "text", 1 << 70),
    }
    path = tmp_path / "w.pt"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    found, expected = read_inert(path), torch.load(path, weights_only=True)
    assert found["plain"] == expected["plain"]
    for name in ("types", "module"):
        assert list(found[name]) == list(expected[name])
    pairs = list(zip(found["views"], expected["views"], strict=True))
    pairs += [(found["types"][k], expected["types"][k]) for k in expected["types"]]
    pairs += [(found["module"][k], expected["module"][k]) for k in expected["module"]]
    pairs += [(found[k], expected[k]) for k in ("parameter", "scalar", "empty")]
    for one, other in pairs:
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


def claims(path: Path, arguments: tuple[Any, ...], numel: int) -> Path:
    """A zip file with one tensor whose pickle claims these arguments."""

    class Claim:
        def __reduce__(self) -> tuple[Any, ...]:
            return torch._utils._rebuild_tensor_v2, (Storage(), *arguments)

    class Storage:
        pass

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            if isinstance(value, Storage):
                return ("storage", torch.FloatStorage, "0", "cpu", numel)
            return None

    program = io.BytesIO()
    Pickler(program, protocol=2).dump({"x": Claim()})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w/data.pkl", program.getvalue())
        archive.writestr("w/data/0", np.arange(4, dtype="<f4").tobytes())
    return path


def test_claims_that_hold_give_the_tensor(tmp_path: Path) -> None:
    path = claims(tmp_path / "w.pt", (1, (3,), (1,), False, {}), 4)
    assert read_inert(path)["x"].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("arguments", "numel"),
    [
        ((2, (3,), (1,), False, {}), 4),  # past the end
        ((0, (1 << 40,), (0,), False, {}), 4),  # no memory holds it
        ((-1, (2,), (1,), False, {}), 4),
        ((0, (2,), (-1,), False, {}), 4),
        ((0, (2, 2), (1,), False, {}), 4),
        ((0, ("2",), (1,), False, {}), 4),
        ((0, (2,), (1,), False, {}), 1 << 40),  # a storage larger than its entry
        ((0, (2,), (1,), False, {}), -4),
    ],
)
def test_false_claims_are_refused(tmp_path: Path, arguments: Any, numel: int) -> None:
    with pytest.raises(ValueError, match=r"tensor|storage"):
        read_inert(claims(tmp_path / "w.pt", arguments, numel))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kind", ["gem_ap", "moco_v2"])
def test_damaged_files_are_refused_cleanly(tmp_path: Path, kind: str, zipped: bool) -> None:
    path = tmp_path / "w.pt"
    torch.save(
        {"state_dict": {"module.conv1.weight": torch.ones(2, 3, 7, 7)}, "pca": PCA()},
        path,
        _use_new_zipfile_serialization=zipped,
    )
    whole = path.read_bytes()
    chance = random.Random(0)
    for _ in range(60):
        damaged = bytearray(whole[: chance.choice([len(whole), chance.randrange(len(whole))])])
        for _ in range(chance.randrange(1, 4)):
            if damaged:
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged)
        with pytest.raises(WeightsError):
            import_weights(kind, path)


def test_memos_and_extensions_of_pickles_are_bounded(tmp_path: Path) -> None:
    def older(program: bytes) -> Path:
        magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
        system = pickle.dumps({"little_endian": True}, 2)
        (tmp_path / "w.pt").write_bytes(magic + system + program + pickle.dumps([], 2))
        return tmp_path / "w.pt"

    assert read_inert(older(pickle.dumps({"a": 1}, 2))) == {"a": 1}
    with pytest.raises(ValueError, match="memo"):
        read_inert(older(b"\x80\x02N" + b"r" + struct.pack("<I", 1 << 31) + b"."))
    with pytest.raises(ValueError, match="EXT1"):
        read_inert(older(b"\x80\x02\x82\x01."))


def test_an_older_file_that_lists_another_storage_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"a": torch.ones(3)}, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    # The key stands in the tensor's place and in the list of what follows.
    keys = [part for part in re.findall(rb"\d{6,}", data) if data.count(part) > 1]
    at = data.rindex(keys[0])
    path.write_bytes(data[:at] + bytes(reversed(keys[0])) + data[at + len(keys[0]) :])
    with pytest.raises(WeightsError, match="a damaged file"):
        read_torch(path)
