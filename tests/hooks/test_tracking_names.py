"""Names and values on their way from Kedro to MLflow."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pytest
from mlflow.utils import validation
from pydantic import BaseModel

from ssl_kedro.hooks.mlflow_client import redacted
from ssl_kedro.hooks.tracking_names import Place, flattened, numbers, pipeline_keys


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
        ("dual_gating.budget_30.epoch_log", Place("dual_gating", 30, ())),
        (
            "dual_gating.budget_05.vicreg_gating.epoch_log",
            Place("dual_gating", 5, ("vicreg_gating",)),
        ),
        ("dual_gating.vicreg.epoch_log", Place("dual_gating", None, ("vicreg",))),
        ("dual_gating.budget_x.epoch_log", Place("dual_gating", None, ("budget_x",))),
        ("dual_gating.budget_30", Place("dual_gating", None, ())),
        ("dual_gating.again.again.epoch_log", Place("dual_gating", None, ("again", "again"))),
        ("epoch_log", Place("", None, ())),
    ],
)
def test_a_name_says_where_its_values_belong(name: str, expected: Place) -> None:
    assert Place.of(name) == expected


def test_numbers_of_any_kind_are_kept_and_the_rest_is_left_out() -> None:
    values = {"a": 1, "b": np.float32(0.5), "c": True, "d": "0.5", "e": None, "f@1": 2.0}
    assert numbers(values, "x.") == {"x.a": 1.0, "x.b": 0.5, "x.c": 1.0, "x.f_1": 2.0}


def test_pipelines_are_the_namespaces_at_the_top() -> None:
    names = ["params:other.train", "dual_gating.metrics", "dual_gating.a.b", "plain"]
    assert pipeline_keys(names) == {"dual_gating"}


def test_passwords_do_not_reach_the_log() -> None:
    assert redacted("no http://me:secret@host:1/x") == "no http://***@host:1/x"
