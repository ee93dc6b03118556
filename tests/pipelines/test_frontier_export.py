"""The folder to deploy holds what the engines that were chosen read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ssl_kedro.inference.export import FileReport
from ssl_kedro.inference.onnx_file import ExportError
from ssl_kedro.pipelines.gated.frontier.export import export_deployment
from ssl_kedro.pipelines.gated.inference.records import Deployment, Export

NAMES = (
    *("compact", "gated.onnx", "dense.onnx", "dense_kernel"),
    *("dense_int8.onnx", "dense_int8_kernel", "static.onnx", "static_int8_kernel"),
)


def exported(folder: Path) -> dict[str, Export]:
    """Files that hold their own name."""
    files = {}
    for name in NAMES:
        path = folder / name
        (path.parent if "." in name else path).mkdir(parents=True, exist_ok=True)
        (path if "." in name else path / "config.json").write_text(name)
        files[name.partition(".")[0]] = FileReport(path, 1, 1, 0.0, 1.0)
    return {"dual.budget_30": Export(str(folder), files, None)}


@pytest.mark.parametrize(
    ("network", "precision", "engines", "expected"),
    [
        ("dense", "f32", ("openvino", "onnxruntime"), {"onnx": "dense.onnx"}),
        ("dense", "f32", ("native",), {"onnx": "dense.onnx", "kernel": "dense_kernel"}),
        ("gated", "f32", ("native",), {"onnx": "gated.onnx", "kernel": "compact"}),
        ("dense", "bf16", ("openvino",), {"onnx": "dense.onnx"}),
        (
            *("dense", "int8", ("native", "openvino")),
            {"onnx": "dense_int8.onnx", "kernel": "dense_int8_kernel"},
        ),
        # Nobody has judged what ONNX Runtime makes of it in int8.
        ("static", "int8", ("native",), {"onnx": "static.onnx", "kernel": "static_int8_kernel"}),
    ],
)
def test_files_are_those_of_the_engines(
    tmp_path: Path, network: str, precision: str, engines: tuple[str, ...], expected: dict[str, str]
) -> None:
    by_batch = {str(place): engine for place, engine in enumerate(engines)}
    chosen = Deployment("so", "dual.budget_30", network, precision, engines=by_batch)
    made = export_deployment(chosen, exported(tmp_path / "files"), tmp_path / "deployment")
    assert made.files == expected
    told = json.loads((tmp_path / "deployment/deployment.json").read_text())
    assert told["files"] == expected
    for name in expected.values():
        copy = tmp_path / "deployment" / name
        assert (copy / "config.json" if copy.is_dir() else copy).read_text() == name


def test_files_of_another_run_are_named(tmp_path: Path) -> None:
    chosen = Deployment("so", "dual.budget_30", "static", "f32", engines={"1": "native"})
    with pytest.raises(ExportError, match=r"expected files of static_kernel among .*--tags export"):
        export_deployment(chosen, exported(tmp_path / "files"), tmp_path / "deployment")
    assert not (tmp_path / "deployment").exists()
