"""A method that an installed package adds: one file, found where methods are named."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from outside.packages import installed_from_here
from ssl_kedro.methods.plan import method_classes
from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters
from ssl_kedro.pipelines.parameters import ParameterError, parsed
from ssl_kedro.training.loop import train_encoder
from training.distributed.trainings import images, training


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    installed_from_here(tmp_path, "ssl_kedro.methods", "pull")
    monkeypatch.syspath_prepend(tmp_path)
    paths = [str(tmp_path), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    method_classes.cache_clear()
    yield
    method_classes.cache_clear()


def test_parameters_name_it_and_know_its_options() -> None:
    given = {"methods": {"pull": {"options": {"weight": 2}, "train": {"lr": 0.125}}}}
    parameters = parsed(DualGatingParameters, "dual_gating", given)
    assert asdict(parameters.method_config("pull"))["options"] == {"weight": 2.0}
    assert parameters.train_config("pull").lr == 0.125
    given["methods"]["pull"]["options"] = {"wait": 2}
    with pytest.raises(ParameterError, match=r"methods\.pull\.options\.wait.*known: weight"):
        parsed(DualGatingParameters, "dual_gating", given)


def test_it_trains_here() -> None:
    single = training("pull")
    found = train_encoder(single, images())
    assert len(found.history) == single.recipe.epochs
    assert type(found.method).__name__ == "Pull"


@pytest.mark.slow
def test_it_trains_in_processes_of_their_own() -> None:
    single = training("pull")
    found = train_encoder(single, images())
    shared = replace(single, recipe=replace(single.recipe, workers=2))
    again = train_encoder(shared, images())
    for name, value in found.method.state_dict().items():
        other = again.method.state_dict()[name]
        torch.testing.assert_close(other, value, rtol=1e-3, atol=1e-5, msg=name)
