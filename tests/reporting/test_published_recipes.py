from __future__ import annotations

from types import SimpleNamespace

import pytest

from ssl_kedro.reporting.number_format import DASH, grouped, listed
from ssl_kedro.reporting.published import (
    changes,
    compared,
    published_heading,
    published_in,
    published_recipe,
    recipe_section,
    values_of,
)

RUN = {
    "data.source": "folder",
    "train.epochs": 3,
    "train.lr": 0.1 + 0.2,
    "images.pretrain": 2000,
    "gates.steering": "dual_ascent",
}


def test_what_differs_is_listed_and_what_agrees_is_named() -> None:
    section = recipe_section(
        compared(published_recipe("6", "CIFAR-10"), RUN), published_in("6"), "Recipe: best."
    )
    rows = {row[0]: tuple(row[1:]) for row in section.tables[0].rows}
    assert rows == {
        "Images": ("folder", "CIFAR-10"),
        "Epochs": ("3", "500"),
        "Steering of the penalty": ("dual_ascent", "fixed"),
        "Images to pre-train on": ("2,000", "50,000"),
    }
    assert section.paragraphs[0] == "Recipe: best."
    assert section.paragraphs[-1] == "As in the thesis: learning rate for 256 images 0.3."


def test_what_the_thesis_does_not_state_is_a_dash() -> None:
    section = recipe_section(compared(published_recipe("6", "ImageNet-100"), RUN), "", "")
    assert ["Images to pre-train on", "2,000", DASH] in [list(r) for r in section.tables[0].rows]


def test_chapter_5_is_chapter_6_with_its_own_training() -> None:
    five, six = published_recipe("5", "STL-10"), published_recipe("6", "STL-10")
    assert {key for key in six if five[key] != six[key]} == {
        "train.batch_size",
        "train.optimiser",
        "train.lr",
    }
    assert five["image_size"][1] == 96
    assert published_heading("5", "CIFAR-10") == "Published (CIFAR-10, width 64, 500 epochs)"


@pytest.mark.parametrize("chapter", ["3", "4_pretraining", "4_decoding", "5", "6"])
def test_every_recipe_says_where_it_stands(chapter: str) -> None:
    assert published_in(chapter).startswith("Thesis")
    assert all(name for name, _ in published_recipe(chapter).values())


def test_changes_in_a_sentence() -> None:
    parameters = SimpleNamespace(
        train=SimpleNamespace(epochs=10, optimiser="sgd", peak_lr=None),
        contrast=SimpleNamespace(negatives=1600, temperature=0.07),
    )
    recipe = published_recipe("4_pretraining")
    said = changes(compared(recipe, values_of(parameters, list(recipe))))
    assert said == "epochs 10 (250); negatives 1,600 (16,000)"


def test_judgements_share_their_words() -> None:
    found = [("helps at", "10 % (+1)"), ("is worse at", "20 %"), ("helps at", "30 %")]
    assert grouped(found) == "helps at 10 % (+1) and 30 % and is worse at 20 %"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed([]) == ""
