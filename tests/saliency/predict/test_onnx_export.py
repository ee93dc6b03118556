from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_kedro.saliency.predict.onnx_export import ExportError, export_onnx

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def round_panorama(x: Tensor) -> Tensor:
    """One more cell on each side: round the seam, and zeros beyond the poles."""
    return F.pad(F.pad(x, (1, 1, 0, 0), mode="circular"), (0, 0, 1, 1))


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 8, 3, stride=4), nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 16, 3, stride=4)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.norm(self.first(round_panorama(images))))
        return F.relu(self.second(round_panorama(x)))


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.last = nn.Conv2d(16, 8, 3), nn.Conv2d(8, 1, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        x = F.relu(self.layer(round_panorama(features)))
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        x = F.interpolate(x, size=(32, 64), mode="bilinear")
        return torch.sigmoid(10 * self.last(x))


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.encoder, self.decoder = Encoder(), Decoder()

    def forward(self, images: Tensor) -> Tensor:
        return self.decoder(self.encoder(images))


class Stateful(Model):
    """Answers otherwise every time it is asked in Python: the file cannot agree."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(images) * (1 if torch.compiler.is_exporting() else 0.9)


def test_the_file_computes_what_the_network_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Model().train()
    real = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 64), dtype=np.uint8)
    path = tmp_path / "folder" / "model.onnx"
    report = export_onnx(model, path, 32, 64, images=real)
    assert capsys.readouterr().out == ""
    assert model.training and model.encoder.norm.training
    assert report.opset == 18 and report.images == 5 and report.bytes == path.stat().st_size
    assert report.difference <= 1e-4 and report.highest - report.lowest > 0.05
    assert [file.name for file in path.parent.iterdir()] == ["model.onnx"], "one file, whole"
    # ONNX Runtime alone, at batches that the export has not seen.
    session = onnxruntime.InferenceSession(str(path))
    assert [entry.name for entry in session.get_inputs()] == ["images"]
    assert [entry.name for entry in session.get_outputs()] == ["saliency"]
    model.eval()
    for batch in (1, 7):
        images = np.random.default_rng(batch).random((batch, 3, 32, 64), dtype=np.float32)
        (found,) = session.run(["saliency"], {"images": images})
        with torch.no_grad():
            expected = model(torch.from_numpy(images)).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_file_that_differs_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"an older one")
    with pytest.raises(ExportError, match=r"differs from the network by .* at most 0\.0001"):
        export_onnx(Stateful(), path, 32, 64)
    assert path.read_bytes() == b"an older one" and len(list(tmp_path.iterdir())) == 1


def test_a_model_that_cannot_be_exported(tmp_path: Path) -> None:
    class Deciding(Model):
        def forward(self, images: Tensor) -> Tensor:
            found = super().forward(images)
            return found if float(found.sum()) > 0 else -found

    with pytest.raises(ExportError, match="cannot be exported at opset 18"):
        export_onnx(Deciding(), tmp_path / "model.onnx", 32, 64)
    assert not list(tmp_path.iterdir())


def test_arguments_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.onnx"
    with pytest.raises(ValueError, match="opset = 17: expected at least 18"):
        export_onnx(Model(), path, 32, 64, opset=17)
    with pytest.raises(ValueError, match=r"uint8 \(N, 3, 32, 64\), found uint8 \(2, 3, 16, 32\)"):
        export_onnx(Model(), path, 32, 64, images=np.zeros((2, 3, 16, 32), np.uint8))
    found = importlib.util.find_spec

    def without(name: str) -> object:
        return None if name == "onnxruntime" else found(name)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    with pytest.raises(ModuleNotFoundError, match=r"onnxruntime.*pip install 'ssl_kedro\[export\]"):
        export_onnx(Model(), path, 32, 64)
