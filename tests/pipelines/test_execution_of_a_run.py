"""One choice of how to compute for all trainings of a run, and what becomes of it in each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters
from ssl_kedro.pipelines.gated import nodes, preparation
from ssl_kedro.pipelines.gated.records import DataSummary, Training
from ssl_kedro.pipelines.parameters import parsed
from ssl_kedro.training.config import Execution, TrainConfig
from ssl_kedro.training.planned import EncoderTraining

CONF = Path(__file__).parents[2] / "conf" / "base" / "parameters_dual_gating.yml"
DATA = DataSummary("zeros", False, (), 32, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), {}, {})


class EnoughError(Exception):
    pass


def parameters(**train: object) -> DualGatingParameters:
    values = yaml.safe_load(CONF.read_text())["dual_gating"]
    values["train"] |= {"device": "cpu"} | train
    return parsed(DualGatingParameters, "dual_gating", values)


@pytest.mark.parametrize(("workers", "threads"), [(1, 4), (2, 2), (8, 1)])
def test_a_trial_has_the_threads_and_the_images_of_one_worker(
    monkeypatch: pytest.MonkeyPatch, workers: int, threads: int
) -> None:
    seen: list[tuple[int, int]] = []

    def chosen(method: object, shape: object, config: TrainConfig) -> Execution:
        seen.append((torch.get_num_threads(), config.batch_size))
        return Execution("cpu", "fp32", {})

    monkeypatch.setattr(preparation, "choose_execution", chosen)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        preparation.select_execution(parameters(workers=workers, batch_size=32), DATA)
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)
    assert seen == [(threads, 32 // workers)]


@pytest.mark.parametrize(("method", "recorded"), [("vicreg", True), ("seed", False)])
def test_a_method_that_cannot_be_recorded_is_trained_without_a_graph(
    monkeypatch: pytest.MonkeyPatch, method: str, recorded: bool
) -> None:
    seen: list[EncoderTraining] = []

    def trained(training: EncoderTraining, *_: object) -> None:
        seen.append(training)
        raise EnoughError

    monkeypatch.setattr(nodes, "train_encoder", trained)
    execution = Execution("cpu", "fp32", {}, recorded=True)
    images = ImageSet(np.zeros((40, 3, 32, 32), np.uint8), None, (), "zeros")
    plan: Any = None
    with pytest.raises(EnoughError):
        nodes.run_training(
            parameters(),
            execution,
            images,
            None,  # type: ignore[arg-type]
            None,  # type: ignore[arg-type]
            Training(method, None, 0),
            plan,
            {},
        )
    assert [one.execution.recorded for one in seen] == [recorded]
