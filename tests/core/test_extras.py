"""What is there without an extra, and what is said where one is missing."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from conftest import ROOT
from ssl_kedro.core.extras import (
    EXTRAS,
    NotInstalledError,
    absent,
    how_to_install,
    require,
)

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Whoever asks for one of these has asked for what it is part of.
BUNDLES = {"all", "bench", "dev", "docs", "run"}
# Nothing of ours imports them: they are asked for by Kedro, MLflow and Jupyter.
UNASKED = {"kedro-viz", "ipykernel", "nvidia-ml-py"}
CORE = (
    "api augment core encoders evaluation gating images inference losses methods retrieval "
    "saliency spherical training"
)
# As on a machine where nothing but the core is installed: all that an extra brings cannot be
# imported, whoever asks.
BLOCKED = f"""
import importlib, pkgutil, sys
for name in {sorted({*EXTRAS, "IPython", "kedro_viz", "numba", "dask"})!r}:
    sys.modules[name] = None
"""


def normal(requirement: str) -> str:
    """The name of a distribution at the start of a requirement."""
    return re.split(r"[\[<>=!~; ]", requirement)[0].lower().replace("_", "-")


def in_core(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BLOCKED + program],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_each_package_is_of_the_extra_that_is_named() -> None:
    """And each extra's packages are listed: users are told to install it."""
    found = {
        package: {name.lower().replace("_", "-") for name in names}
        for package, names in packages_distributions().items()
    }
    listed = set().union(*(found.get(package, set()) for package in EXTRAS))
    extras = {
        extra: {normal(one) for one in requirements} - {"ssl-kedro"}
        for extra, requirements in PROJECT["optional-dependencies"].items()
        if extra not in BUNDLES
    }
    for package, extra in EXTRAS.items():
        assert package not in found or found[package] & extras[extra], package
    installed = set().union(*found.values())
    assert set().union(*extras.values()) & installed - UNASKED <= listed


def test_all_is_every_extra_of_users() -> None:
    def whole(extra: str) -> set[str]:
        listed = PROJECT["optional-dependencies"][extra]
        own = [re.search(r"\[(.*)\]", one) for one in listed if normal(one) == "ssl-kedro"]
        inner = {name for found in own if found for name in found[1].split(",")}
        return inner.union(*map(whole, inner))

    assert whole("all") - {"run"} == set(PROJECT["optional-dependencies"]) - BUNDLES


def test_one_command_brings_all_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setitem(sys.modules, "faiss", None)
    assert absent("openvino", "torch", "faiss", "openvino") == ["openvino", "faiss"]
    assert how_to_install("openvino", "faiss") == "pip install 'ssl_kedro[fast,retrieval]'"
    require("a tensor", "torch")
    with pytest.raises(NotInstalledError) as error:
        require("a fast search", "openvino", "torch", "faiss")
    assert str(error.value) == (
        "a fast search needs openvino, faiss, which are not installed: "
        "pip install 'ssl_kedro[fast,retrieval]'"
    )


def test_the_library_imports_in_the_core_alone(tmp_path: Path) -> None:
    done = in_core(
        f"""
for part in {CORE!r}.split():
    module = importlib.import_module("ssl_kedro." + part)
    for found in pkgutil.walk_packages(getattr(module, "__path__", []), module.__name__ + "."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
""",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr


def test_the_front_door_works_in_the_core_alone(tmp_path: Path) -> None:
    done = in_core(
        """
import ssl_kedro as ssl
images = ssl.load_images("textures", generated=40, size=16)
method = ssl.methods.DualGating(ssl.encoders.gated_resnet18(width=4, image_size=16), budget=0.5)
made = ssl.train(method, images, ssl.Views(), ssl.Recipe(epochs=1, batch_size=10,
    precision="fp32", memory_format="channels_last"))
ssl.save_encoder(made.encoder, "encoder")
print(tuple(ssl.load_encoder("encoder").gated(images[:3]).shape))
try:
    ssl.load_images("digits")
except ValueError as error:
    print(error)
""",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    shape, told = done.stdout.splitlines()
    assert shape == "(3, 32)"
    assert told.endswith("pip install 'ssl_kedro[pipelines]'")


def test_a_run_without_kedro_says_what_to_install(tmp_path: Path) -> None:
    done = in_core("import ssl_kedro.__main__ as entrance\nentrance.main()", tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "Error: running a pipeline needs kedro, which is not installed: "
        "pip install 'ssl_kedro[pipelines]'"
    ]
