from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pytest
import torch

from ssl_kedro.core.config import PROBABILITY, Config, ConfigError, Range
from ssl_kedro.core.devices import resolved_device
from ssl_kedro.core.files import replaced_file, replaced_folder
from ssl_kedro.core.seeding import derived_seed, numpy_generator, torch_generator


@dataclass(frozen=True)
class Example(Config):
    rate: Annotated[float, Range(above=0, below=2)] = 1.0
    kind: Literal["a", "b"] = "a"
    pair: tuple[Annotated[float, PROBABILITY], Annotated[float, PROBABILITY]] = (0.0, 1.0)
    optional: Annotated[int, Range(at_least=1)] | None = None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate": 0}, "rate = 0: expected a number above 0 and below 2"),
        ({"rate": 2.0}, "rate = 2.0"),
        ({"rate": float("nan")}, "rate = nan"),
        ({"rate": "1"}, "rate = '1'"),
        ({"rate": True}, "rate = True"),
        ({"kind": "c"}, "kind = 'c': expected one of a, b"),
        ({"pair": (0.5, 1.5)}, "pair = 1.5"),
        ({"optional": 2.5}, "optional = 2.5: expected a whole number"),
    ],
)
def test_values_out_of_range_are_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Example(**changes)  # type: ignore[arg-type]


def test_values_in_range_pass() -> None:
    assert Example(rate=0.1, kind="b", pair=(0.2, 0.2), optional=4).optional == 4


def test_optional_fields_are_checked_where_given() -> None:
    with pytest.raises(ConfigError, match="optional = 0"):
        Example(optional=0)


def test_seeds_differ_by_purpose_and_repeat() -> None:
    seeds = {derived_seed(0), derived_seed(1), derived_seed(0, "a"), derived_seed(0, "a", 1)}
    seeds |= {derived_seed(0, "a1"), derived_seed(0, "b")}
    assert len(seeds) == 6
    first, second = (torch.rand(3, generator=torch_generator(4, "x")) for _ in range(2))
    assert torch.equal(first, second)
    assert numpy_generator(4, "x").random() == numpy_generator(4, "x").random()


def test_replaced_file_keeps_the_old_one_on_error(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), replaced_file(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    with replaced_file(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_replaced_folder_swaps_whole_folders(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    for name in ("one", "two"):
        with replaced_folder(folder) as temporary:
            (temporary / name).touch()
    assert [p.name for p in folder.iterdir()] == ["two"]
    with pytest.raises(RuntimeError), replaced_folder(folder) as temporary:
        raise RuntimeError
    assert [p.name for p in folder.iterdir()] == ["two"]
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_unknown_or_missing_devices_are_named() -> None:
    assert resolved_device("cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match="device = 'tpuu'"):
        resolved_device("tpuu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="no CUDA device"):
            resolved_device("cuda")


def test_library_trains_without_kedro_mlflow_pydantic_faiss_and_opencv(tmp_path: Path) -> None:
    """In a fresh interpreter where importing any of them is an error."""
    program = """
import sys
class Forbidden:
    def find_spec(self, name, path=None, target=None):
        banned = {"kedro", "kedro_datasets", "kedro_viz", "mlflow", "pydantic", "faiss", "cv2"}
        if name.split(".")[0] in banned:
            raise ImportError(f"{name} is not allowed here")
sys.meta_path.insert(0, Forbidden())
from pathlib import Path
import torch
from ssl_kedro.augment.config import ViewConfig
from ssl_kedro.augment.views import RandomViews, SeveralViews
from ssl_kedro.encoders.bundle import load_encoder, save_encoder
from ssl_kedro.encoders.gated_resnet import EncoderConfig
from ssl_kedro.evaluation.features import extract_features
from ssl_kedro.evaluation.knn import knn_right
from ssl_kedro.evaluation.linear_probe import ProbeConfig, linear_probe_right
from ssl_kedro.images.load import DataConfig, load_images
from ssl_kedro.encoders.factory import EncoderSetup
from ssl_kedro.methods.base import ExpanderConfig, MethodConfig
from ssl_kedro.methods.plan import MethodPlan
from ssl_kedro.training.batches import BatchSource
from ssl_kedro.training.config import TrainConfig
from ssl_kedro.training.loop import train
torch.set_num_threads(1)
data = DataConfig(source="textures", size=16, generated=60, generated_eval=20)
images, held_out = load_images(data, "train", 0), load_images(data, "eval", 0)
mean, std = images.channel_statistics()
setup = EncoderSetup(EncoderConfig(width=4), 16, mean, std)
method = MethodPlan("dual_gating", setup, MethodConfig(ExpanderConfig(16, 16)), 0.5, 0).build()
recipe = TrainConfig(epochs=2, batch_size=20, warmup_epochs=1, device="cpu")
source = BatchSource(images.images, 20, torch.device("cpu"), 0)
result = train(method, source, SeveralViews(RandomViews(ViewConfig())), recipe)
folder = Path(sys.argv[1]) / "encoder"
save_encoder(result.method.encoder, folder)
encoder = load_encoder(folder)
known = extract_features(encoder, images.images, "gated").features
asked = extract_features(encoder, held_out.images, "gated").features
print(knn_right(known, images.labels, asked, held_out.labels).mean())
print(linear_probe_right(known, images.labels, asked, held_out.labels,
                         ProbeConfig(epochs=2, runs=1), seed=0).mean())
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert np.isfinite(float(done.stdout.splitlines()[0]))
