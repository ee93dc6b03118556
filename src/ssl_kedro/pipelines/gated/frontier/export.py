"""The folder to deploy: what the front has chosen, with a program that runs it alone."""

import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from ssl_kedro.core.config import ConfigError
from ssl_kedro.core.files import replaced_folder
from ssl_kedro.inference.export import FileReport
from ssl_kedro.inference.onnx_file import ExportError
from ssl_kedro.pipelines.gated.inference.records import DeployedFiles, Deployment, Exports

_PROGRAM = '''"""Features of images by the network beside this file: needs numpy and onnxruntime.

Usage: python features.py [images.npy [features.npy]]

images.npy: uint8 (N, 3, side, side), RGB; without one, noise. deployment.json says how the network
was chosen and how fast it is, on which engine.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

here = Path(__file__).resolve().parent
deployment = json.loads((here / "deployment.json").read_text())
file = here / deployment["files"]["onnx"]
session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
side = session.get_inputs()[0].shape[-1]
if len(sys.argv) > 1:
    images = np.load(sys.argv[1])
else:
    images = np.random.default_rng(0).integers(0, 256, (4, 3, side, side), dtype=np.uint8)
parts = [images[start : start + 32] for start in range(0, len(images), 32)]
run = [session.run(["features"], {"images": part.astype(np.float32) / 255})[0] for part in parts]
features = np.concatenate(run)
if len(sys.argv) > 2:
    np.save(sys.argv[2], features)
print(f"{file.name}: features {features.shape}")
'''


def export_deployment(deployment: Deployment, exports: Exports, folder: Path) -> DeployedFiles:
    """Copy what is to be deployed into a folder of its own, and compare the copies.

    It holds ``deployment.json``, the network as ONNX, what the C++ kernel reads where that is
    the fastest engine at some batch size, and ``features.py``, which needs none of this project.

    Args:
        deployment: what to deploy.
        exports: files of all models.
        folder: to be written.

    Raises:
        ConfigError: there is nothing to choose by, or the model has no files yet.
        ExportError: a copy differs from its source.
    """
    files_of(deployment, exports)
    wanted = _wanted(deployment, exports)
    described = dataclasses.asdict(deployment) | {
        "files": {role: source.name for role, source in wanted.items()}
    }
    with replaced_folder(folder, sum(map(_size, wanted.values()))) as temporary:
        for source in wanted.values():
            _copy(source, temporary / source.name)
        text = json.dumps(described, indent=2, ensure_ascii=False)
        (temporary / "deployment.json").write_text(text + "\n", encoding="utf-8")
        (temporary / "features.py").write_text(_PROGRAM, encoding="utf-8")
    return DeployedFiles(str(folder), described["files"], _size(folder))


def files_of(deployment: Deployment, exports: Exports) -> Mapping[str, FileReport]:
    """Files of the model to deploy, by name.

    Raises:
        ConfigError: there is nothing to choose by, or the model has no files yet.
    """
    if deployment.model in exports:
        return exports[deployment.model].files
    raise ConfigError(
        "deployment.model",
        deployment.model or deployment.why,
        f"one of the models whose files are written ({', '.join(exports)}); after a run with "
        "--tags frontier write those of all of them: --tags frontier,export",
    )


def _wanted(deployment: Deployment, exports: Exports) -> dict[str, Path]:
    """Files by role: "onnx", and "kernel" where the C++ kernel is the fastest engine.

    Where no engine but the kernel was judged in int8, the ONNX file is that in float32.
    """
    network, suffix = deployment.network, "_int8" if deployment.precision == "int8" else ""
    names, engines = {"onnx": network + suffix}, set(deployment.engines.values())
    if "native" in engines:
        in_f32 = "compact" if network == "gated" else f"{network}_kernel"
        names["kernel"] = f"{network}_int8_kernel" if suffix else in_f32
        if not engines & {"onnxruntime", "openvino"}:
            names["onnx"] = network
    files = exports[deployment.model].files
    if absent := sorted(set(names.values()) - files.keys()):
        raise ExportError(
            f"{deployment.model}: expected files of {', '.join(absent)} among {', '.join(files)}; "
            "they are of another run: write them again with --tags export"
        )
    return {role: files[name].path for role, name in names.items()}


def _copy(source: Path, target: Path) -> None:
    """Copy a file or a folder; what was copied is read again."""
    pairs = [(source, target)]
    if source.is_dir():
        shutil.copytree(source, target)
        pairs = [(file, target / file.relative_to(source)) for file in _files(source)]
    else:
        shutil.copyfile(source, target)
    for original, copy in pairs:
        if original.read_bytes() != copy.read_bytes():
            raise ExportError(f"{copy}: differs from {original} after copying; is the disk full?")


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in _files(path))
