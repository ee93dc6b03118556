"""Commands in processes forked from one that has loaded the libraries they need.

Most of what a tiny run takes is the import of PyTorch, MLflow, pandas and scikit-learn. This
program imports those once, nothing of Kedro or of the project, and for each request forks a
process that does the rest as a fresh interpreter would.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

LIBRARIES = (
    "PIL.Image",
    "alembic.config",
    "attrs",
    "dynaconf",
    "faiss",
    "filelock",
    "flask.cli",
    "fsspec.implementations.local",
    "jinja2",
    "matplotlib.pyplot",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.tracking",
    "omegaconf",
    "pandas",
    "pydantic",
    "safetensors.torch",
    "scipy.stats",
    "sklearn.neighbors",
    "torchvision.datasets",
    "tqdm.auto",
)


def run_module(
    name: str, *arguments: str, folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """What ``python -m name arguments`` does in a folder, with this environment and no other."""
    with tempfile.TemporaryDirectory() as temporary:
        files = [str(Path(temporary) / stream) for stream in ("stdout", "stderr")]
        request = {
            "command": [name, *arguments],
            "folder": str(folder),
            "environment": dict(environment),
            "files": files,
        }
        server = _server()
        assert server.stdin is not None and server.stdout is not None
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        said = [Path(file).read_text() for file in files]
    return subprocess.CompletedProcess([name, *arguments], code, *said)


def warm_process() -> int:
    """Number of the process that commands are forked from, their parent."""
    return _server().pid


@cache
def _server() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def close() -> None:
    """End the process that forks, if there is one."""
    if _server.cache_info().currsize:
        _server().communicate()
        _server.cache_clear()


def _serve() -> dict[str, Any] | None:
    """Forks for each request. Returns the request in the forked process, None at the end."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            return dict(json.loads(line))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.write(1, f"{code}\n".encode())
    return None


def _become(command: list[str], folder: str, environment: dict[str, str], files: list[str]) -> None:
    """Streams, folder, environment and import path of an interpreter started anew."""
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
    for number, name in enumerate(files, start=1):
        with Path(name).open("wb") as file:
            os.dup2(file.fileno(), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    known = os.environ.get("PYTHONPATH", "")
    sys.path[:] = [folder, *filter(None, known.split(os.pathsep)), *SYSTEM]
    sys.argv[1:] = command[1:]


if __name__ == "__main__":
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    SYSTEM = [path for path in sys.path[1:] if path not in given]
    for library in LIBRARIES:
        importlib.import_module(library)
    sys.modules["PIL.Image"].init()
    gc.freeze()
    request = _serve()
    if request is not None:
        _become(**request)
        runpy.run_module(request["command"][0], run_name="__main__", alter_sys=True)
