"""What the gates look at, on the page and in the graph."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.test_gate_responses import IMAGES, LABELS, NAMES, encoder
from ssl_kedro.evaluation.features import branch_arrays
from ssl_kedro.evaluation.gate_responses import GateResponses
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.pipelines import dual_gating, dynamic_channels
from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters
from ssl_kedro.pipelines.gated.report import gate_section as room
from ssl_kedro.pipelines.gated.report.gate_section import (
    gate_pictures,
    gate_responses,
    gate_section,
)

SET = ImageSet(IMAGES, LABELS, NAMES, "shades")


def responses(images: ImageSet = SET) -> GateResponses:
    made = encoder()
    features = branch_arrays(made, {"train": SET.images, "eval": images.images})
    parameters = DualGatingParameters.model_validate({"train": {"device": "cpu"}})
    return gate_responses(parameters, made, features, SET, images, model="dual.budget_30")


def test_the_page_says_how_costs_vary_and_with_what() -> None:
    found = responses()
    [section] = gate_section(found, SET)
    said = " ".join(section.paragraphs)
    assert f"from {100 * found.lowest:.1f}" in said
    assert "dual gating, 30 %, 40 evaluation images" in said.replace("\xa0", " ")
    assert "of the variance of costs lies between classes" in said
    assert "rank correlation" in said
    assert gate_section(None, SET) == []


def test_pictures_are_the_images_with_their_costs() -> None:
    found = responses()
    made = gate_pictures(found, IMAGES)
    shown = [axis for axis in made.axes if axis.images]
    rows = 2 + 2 * len(found.channels)
    assert len(made.axes) == 8 * rows
    first = np.asarray(shown[0].images[0].get_array())
    assert np.array_equal(first, IMAGES[found.cheapest[0]].transpose(1, 2, 0))
    assert shown[0].get_title() == f"{100 * found.lowest:.0f}\xa0%"


def test_of_many_images_a_random_part_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_LOOKED_AT", 12)
    found = responses()
    assert found.images == 12
    assert max(found.cheapest + found.dearest) > 12
    unlabelled = responses(ImageSet(IMAGES, None, (), "shades"))
    assert unlabelled.class_share is unlabelled.difficulty is None
    [section] = gate_section(unlabelled, SET)
    assert len(section.paragraphs) == 1


def test_one_model_is_looked_at_the_chapters_own_before_others() -> None:
    def looked_at(made: object) -> list[str]:
        nodes = [n for n in made.nodes if n.func.__name__ == "gate_responses"]  # type: ignore[attr-defined]
        return [node.func.keywords["model"] for node in nodes]

    values = {"budgets": [0.1, 0.3, 0.5]}
    assert looked_at(dual_gating.create_pipeline(values)) == ["dual.budget_30"]
    found = looked_at(dynamic_channels.create_pipeline(values))
    assert found == ["simsiam_gating.budget_30"]
    assert looked_at(dual_gating.create_pipeline({"recipe": "best"})) == []
