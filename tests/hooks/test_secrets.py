"""Environment variables in parameters: records of a run name them and do not hold their values."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from conftest import ROOT
from ssl_kedro import settings
from ssl_kedro.hooks.flat_parameters import flattened
from ssl_kedro.hooks.project import ParameterAwareConfigLoader
from ssl_kedro.pipelines import effective_parameters
from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters
from ssl_kedro.pipelines.parameters import parsed

SECRET, SHORT = "hunter2-and-more", "own"


@pytest.fixture
def parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DualGatingParameters]:
    monkeypatch.setattr(effective_parameters, "_source", [])
    monkeypatch.setattr(effective_parameters, "_resolved", {})
    monkeypatch.setenv("PASSWORD", SECRET)
    monkeypatch.setenv("SHORT", SHORT)
    monkeypatch.setenv("EPOCHS", "7")
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    changes = {
        "data": {"source": "folder", "root": "/data/${oc.env:PASSWORD}/images", "cache_dir": "own"},
        "transfer": {"own": "${oc.env:SHORT}", "targets": [], "sources": []},
        "distillation": {"teacher": "${dual_gating.data.root}"},
        "train": {"epochs": "${oc.env:EPOCHS}"},
        "probe": {"features": "${oc.env:NOT_SET_ANYWHERE,cached}"},
    }
    (tmp_path / "conf/local").mkdir(exist_ok=True)
    file = tmp_path / "conf/local/parameters.yml"
    file.write_text(yaml.safe_dump({"dual_gating": changes}))
    conf = str(tmp_path / "conf")
    loader = ParameterAwareConfigLoader(conf, **settings.CONFIG_LOADER_ARGS)
    yield parsed(DualGatingParameters, "dual_gating", loader["parameters"]["dual_gating"])


def test_a_run_computes_with_the_values(parameters: DualGatingParameters) -> None:
    assert parameters.data.root == f"/data/{SECRET}/images"
    assert parameters.transfer.own == SHORT
    assert parameters.train.epochs == 7


def test_records_hold_them_as_they_are_written(parameters: DualGatingParameters) -> None:
    written = parameters.as_written
    assert written["data"]["root"] == "/data/${oc.env:PASSWORD}/images"
    assert written["distillation"]["teacher"] == "/data/${oc.env:PASSWORD}/images"
    assert written["transfer"]["own"] == "${oc.env:SHORT}"
    assert written["probe"]["features"] == "cached"
    tracked = flattened(parameters, "dual_gating")
    assert tracked["dual_gating.data.root"] == "/data/${oc.env:PASSWORD}/images"
    assert SECRET not in str(written) + str(tracked)


def test_other_values_are_left_alone(parameters: DualGatingParameters) -> None:
    assert parameters.as_written["published"] == "CIFAR-10"
    text = f"{SHORT}ed by nobody"
    assert effective_parameters.as_written([text, {"n": 7, "b": None}]) == [
        text,
        {"n": 7, "b": None},
    ]
