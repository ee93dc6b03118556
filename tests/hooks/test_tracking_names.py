"""Names and values on their way from Kedro to MLflow."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from mlflow.utils import validation
from pydantic import BaseModel

from ssl_kedro.hooks.flat_parameters import flattened
from ssl_kedro.hooks.mlflow_client import redacted
from ssl_kedro.hooks.tracking_names import (
    Place,
    dataset_inputs,
    headline,
    numbers,
    of_all_models,
    of_one_model,
    run_name,
)
from ssl_kedro.pipelines.retrieval_eval.records import TaskSummary
from ssl_kedro.pipelines.saliency360.records import SourceSummary


@dataclass
class Inner:
    sizes: tuple[int, ...]
    empty: dict[str, int]


class Outer(BaseModel):
    inner: Inner
    several: list[Inner]
    name: str


def test_models_dataclasses_and_mappings_are_descended_into() -> None:
    inner = Inner((1, 2), {})
    outer = Outer(inner=inner, several=[inner], name="[as, it, is]")
    assert flattened({"a": {"b": outer, 3: None}}, "top") == {
        "top.a.b.inner.sizes": "[1, 2]",
        "top.a.b.inner.empty": "{}",
        "top.a.b.several": '[{"sizes": [1, 2], "empty": {}}]',
        "top.a.b.name": "[as, it, is]",
        "top.a.3": "null",
    }
    assert flattened({}) == {}


def test_parameters_stay_within_the_limits_that_mlflow_enforces() -> None:
    key, text = next(iter(flattened({"k(" * 200: "v" * 9000}).items()))
    assert len(key) <= validation.MAX_ENTITY_KEY_LENGTH
    assert len(text) <= validation.MAX_PARAM_VAL_LENGTH
    validation._validate_param(key, text)
    with pytest.raises(Exception, match=re.escape("k(")):
        validation._validate_param("k(", text)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dual_gating.budget_30.epoch_log", Place("dual_gating", "budget_30")),
        ("dual_gating.budget_05.simsiam.log", Place("dual_gating", "budget_05.simsiam")),
        ("dual_gating.metrics", Place("dual_gating", "")),
        ("epoch_log", Place("", "")),
    ],
)
def test_a_name_says_where_its_values_belong(name: str, expected: Place) -> None:
    assert Place.of(name) == expected


def test_numbers_of_any_kind_are_kept_and_the_rest_is_left_out() -> None:
    values = {"a": 1, "b": np.float32(0.5), "c": True, "d": "0.5", "e": None, "f@1": 2.0}
    assert numbers(values, "x.") == {"x.a": 1.0, "x.b": 0.5, "x.c": 1.0, "x.f_1": 2.0}


def test_passwords_do_not_reach_the_log() -> None:
    assert redacted("no http://me:secret@host:1/x") == "no http://***@host:1/x"


def test_lists_of_numbers_count_as_their_mean_and_others_do_not_count() -> None:
    values = {"a": {"b": [1, 2, 6], "": {"c": 4}}, "d": [1, None], "e": [], "f": [{"g": 1}]}
    assert numbers(values) == {"a.b": 3.0, "a.c": 4.0}


def test_headline_follows_the_order_of_the_patterns_and_has_an_end() -> None:
    metrics = {f"m{i}.{name}": i for i in range(15) for name in ("loss", "knn")}
    found = headline(metrics, ["*.knn", "*.loss", "m0.*"])
    assert list(found) == [f"m{i}.knn" for i in range(15)] + [f"m{i}.loss" for i in range(5)]


def test_metrics_of_many_models_stand_by_quantity_and_of_one_by_section() -> None:
    assert of_all_models("dual.budget_30.gated.knn_top1") == "knn_top1/dual.budget_30.gated"
    assert of_all_models("chance") == "chance"
    assert of_one_model("branches.gated.knn_top1") == "gated/knn_top1"
    assert of_one_model("macs.dense") == "macs/dense"


def test_data_sets_of_every_pipeline_are_inputs() -> None:
    tasks = {"facades": TaskSummary(False, 9, "aa"), "own": TaskSummary(False, 9)}
    assert dataset_inputs(tasks) == {("facades", "aa"): "eval"}
    sources = {"generated": SourceSummary(5, 5, {"train": 3, "test": 2}, "g" * 50)}
    assert dataset_inputs(sources) == {("generated", "g" * 36): "train, test"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"pipeline_names": ["a", "b"], "env": "cifar10"}, "a+b cifar10 2"),
        ({"env": None, "runtime_params": {"run": "night"}}, "default base/night 2"),
    ],
)
def test_the_name_of_a_run_tells_pipeline_and_room(given: dict[str, Any], expected: str) -> None:
    assert run_name(given).startswith(expected)
