"""Values that no computation can be done with, at every parameter of every pipeline."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import pytest
import yaml

from conftest import ROOT
from ssl_kedro.core.errors import UserError
from ssl_kedro.pipelines.entrance import entrances

# Text is left out: what a name or a path may be is the affair of its parameter.
VALUES = (math.nan, math.inf, -math.inf, -1, 0, 1e-300, 1e9, 10**11, "nobody", "", "-4;8", [], {})
NEVER = (math.nan, math.inf, -math.inf)
TRIED = 40
Path = tuple[str, ...]


@cache
def base(pipeline: str) -> dict[str, Any]:
    text = (ROOT / f"conf/base/parameters_{pipeline}.yml").read_text()
    values = yaml.safe_load(text)[pipeline]
    if pipeline == "saliency360":
        values["predict"]["output"] = "predictions"  # Kedro resolves it
    return values  # type: ignore[no-any-return]


def leaves(values: Mapping[str, Any], above: Path = ()) -> Iterator[tuple[Path, Any]]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*above, name))
        yield (*above, name), value


def changed(pipeline: str, path: Path, value: Any) -> dict[str, Any]:
    values = copy.deepcopy(base(pipeline))
    place = values
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return values


def refusal(pipeline: str, values: dict[str, Any]) -> str | None:
    """What is said of parameters; anything but a sentence is an error of this test."""
    found = entrances()[pipeline]
    try:
        found.check(values)
        found.create_pipeline(values)
    except UserError as error:
        return str(error)
    return None


PIPELINES = ("dual_gating", "dynamic_channels", "retrieval_eval", "saliency360")


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_any_value_is_used_or_refused_in_a_sentence(pipeline: str) -> None:
    cases = [(path, value) for path, _ in leaves(base(pipeline)) for value in VALUES]
    for path, value in random.Random(pipeline).sample(cases, TRIED):
        said = refusal(pipeline, changed(pipeline, path, value))
        assert said is None or said.count("\n") <= 5, (path, value, said)


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_numbers_are_finite(pipeline: str) -> None:
    numbers = [path for path, value in leaves(base(pipeline)) if type(value) in (int, float)]
    generator = random.Random(pipeline)
    for path in generator.sample(numbers, min(25, len(numbers))):
        value = generator.choice(NEVER)
        said = refusal(pipeline, changed(pipeline, path, value))
        assert said is not None, (path, value)
        assert path[-1] in said, (path, value, said)


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_sizes_beyond_any_machine_are_refused(pipeline: str) -> None:
    numbers = [path for path, value in leaves(base(pipeline)) if type(value) is int]
    free = {
        "seed",
        "max_megapixels",
        "cache_mb",
        "pairs",
    }  # work on what there is, whatever they are
    for path in random.Random(pipeline).sample(numbers, min(20, len(numbers))):
        if path[-1] not in free and "weight" not in path[-1]:
            assert refusal(pipeline, changed(pipeline, path, 10**11)) is not None, path


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_an_unknown_key_is_named_with_what_there_is(pipeline: str) -> None:
    sections = [path for path, value in leaves(base(pipeline)) if isinstance(value, dict) and value]
    free = {
        "datasets",
        "encoders",
        "models",
        "ensembles",
        "methods",
        "recipes",
        "data",
        "published",
    }
    for path in random.Random(pipeline).sample(sections, min(12, len(sections))):
        if path[-1] not in free or path == ("data",):
            said = refusal(pipeline, changed(pipeline, (*path, "lrr"), 1)) or ""
            assert ".lrr" in said and "known: " in said, (path, said)
