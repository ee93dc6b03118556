"""What a run shows of its images: which encoders it asks, what it finds, and the page's size."""

from __future__ import annotations

import re
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
from jinja2 import Template

from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.pipelines import dual_gating, dynamic_channels
from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters
from ssl_kedro.pipelines.gated.look import Overview, look_at_images
from ssl_kedro.pipelines.gated.report.overview import overview_sections, unlabelled_sections
from ssl_kedro.reporting.html import Report, rendered

GROUPS, EACH, HELD = 3, 20, 15
LABELS = {"whole": "whole", "light": "light"}


def sets(*, labelled: bool = False, side: int = 16) -> tuple[ImageSet, ImageSet]:
    """Noise; an evaluation image is also a training image, and two of these are alike."""
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (GROUPS * EACH + HELD, 3, side, side), dtype=np.uint8)
    images[7] = np.clip(images[4].astype(int) + 2, 0, 255)
    images[62] = images[59]
    labels = np.arange(len(images)) % GROUPS if labelled else None
    names = tuple("abc") if labelled else ()
    train, held = (
        ImageSet(images[part], None if labels is None else labels[part], names, "noise")
        for part in (slice(0, 60), slice(60, 75))
    )
    return train, held


def features(branches: tuple[str, ...] = ("dense",)) -> dict[str, np.ndarray]:
    """Three groups, image by image; equal where the images are."""
    draw = np.random.default_rng(1)
    rows = 5 * np.eye(GROUPS, 8)[np.arange(75) % GROUPS] + draw.normal(size=(75, 8))
    rows[7], rows[62] = rows[4], rows[59]
    rows = rows.astype(np.float32)
    parts = {"train": rows[:60], "eval": rows[60:]}
    return {f"{branch}.{name}": part for branch in branches for name, part in parts.items()}


def looked(
    *, labelled: bool = False, side: int = 16, light: bool = True, **changes: object
) -> Overview:
    parameters = DualGatingParameters.model_validate({"overview": changes})
    given = {"whole_features": features()} | ({"light_features": features()} if light else {})
    return look_at_images(parameters, *sets(labelled=labelled, side=side), **given, labels=LABELS)


def test_planted_copies_and_groups_are_found() -> None:
    found = looked(clusters=3)
    pairs = {(pair.first, pair.second) for pair in found.duplicates.pairs}
    assert pairs == {(4, 7), (59, 62)}
    assert (found.duplicates.images, found.duplicates.groups, found.across) == (4, 2, 1)
    assert (found.images, found.of, found.training) == (75, 75, 60)
    assert sorted(group.size for group in found.clusters) == [25, 25, 25]
    assert all(len({place % GROUPS for place in group.examples}) == 1 for group in found.clusters)
    assert len(found.neighbours) == 5
    for one in found.neighbours:
        assert one.query >= found.training  # not trained with
        assert set(one.found) == {"whole", "light", "raw pixels"}
        assert {place % GROUPS for place in one.found["whole"]} == {one.query % GROUPS}
    shown = {place for one in found.neighbours for near in one.found.values() for place in near}
    assert shown | {4, 7, 59, 62} <= set(found.pictures)
    assert found == looked(clusters=3)


def test_branches_of_one_encoder_are_compared_or_one_encoder_stands_alone() -> None:
    both = features(("dense", "gated"))
    made = DualGatingParameters.model_validate({})
    found = look_at_images(made, *sets(), both, both, labels=LABELS)
    assert list(found.neighbours[0].found) == ["light, dense", "light, gated", "raw pixels"]
    alone = look_at_images(made, *sets(), None, features(("gated",)), labels={"light": "light"})
    assert list(alone.neighbours[0].found) == ["light", "raw pixels"]
    assert list(looked(light=False).neighbours[0].found) == ["whole", "raw pixels"]


def test_with_labels_near_duplicates_alone_are_told_and_none_in_silence() -> None:
    found = looked(labelled=True)
    assert not found.neighbours and not found.clusters
    [section] = overview_sections(found)
    assert section.title == "Near-duplicates" and "share 1 of the pairs" in section.paragraphs[1]
    none = replace(found, duplicates=replace(found.duplicates, pairs=()))
    assert overview_sections(none) == overview_sections(None) == []
    without = looked()
    without = replace(without, duplicates=replace(without.duplicates, pairs=()))
    told = {section.title: section.paragraphs[0] for section in overview_sections(without)}
    assert list(told) == ["What the encoder takes for alike", "Near-duplicates", "Groups"]
    assert told["Near-duplicates"].startswith("None among 75 images:")


def test_a_page_without_labels_points_at_what_is_there_alone() -> None:
    [said, *shown] = unlabelled_sections(looked())
    assert "comes next" in said.paragraphs[0] and shown == overview_sections(looked())
    [alone] = unlabelled_sections(None)
    assert "next" not in alone.paragraphs[0]


def test_of_many_images_a_random_part_is_looked_at() -> None:
    found = looked(images=40)
    assert (found.images, found.of) == (40, 75) and found.training < 40
    assert all(0 <= place < 40 for place in found.pictures)


@pytest.mark.parametrize("most", [False, True])
def test_the_page_stays_small_even_with_noise(most: bool) -> None:
    """Noise is the worst that JPEG can meet; photographs take a third."""
    limits = {"queries": 12, "neighbours": 8, "clusters": 20, "examples": 8} if most else {}
    found = looked(side=64, **limits)
    page = rendered(Report("t", [], sections=overview_sections(found)))
    empty = rendered(Report("t", []))
    assert len(page) - len(empty) < 1.5e6
    assert page.count('<li class="') == page.count("data:image/jpeg;base64,") > 150


def test_words_of_data_are_escaped() -> None:
    found = looked()
    section = overview_sections(replace(found, encoder="<b>"))[-1]
    assert "<b>" not in Template("{{ s }}", autoescape=True).render(s=section.paragraphs[0])
    page = rendered(Report("t", [], sections=overview_sections(replace(found, encoder="<i>x"))))
    assert "<i>x" not in page and not re.search(r'(src|href)="(?!data:|#)', page)


@pytest.mark.parametrize("pipeline", [dual_gating, dynamic_channels])
def test_the_graph_asks_the_dense_and_the_light_encoder(pipeline: ModuleType) -> None:
    name = pipeline.PIPELINE.name
    dense = {"dual_gating": "vicreg", "dynamic_channels": "simsiam"}[name]

    def asked(values: dict[str, object], *tags: str) -> set[str]:
        graph = pipeline.create_pipeline({"encoder": {"width": 16}} | values, tags)
        [node] = [node for node in graph.nodes if f"{name}.overview" in node.outputs]
        [page] = [node for node in graph.nodes if f"{name}.report" in node.outputs]
        assert f"{name}.overview" in page.inputs
        return {one.removeprefix(f"{name}.") for one in node.inputs if "features" in one}

    budgets = {"budgets": [0.2, 0.3, 0.5]}
    assert asked(budgets) == {f"{dense}.features", "budget_30.features"}
    best = {"recipe": "best"} | budgets
    assert asked(best) == {"nested.features", "budget_30.nested.features"}
