"""What to deploy, how to load it, what the images look like, what a budget keeps."""

from __future__ import annotations

import re

import numpy as np
import pytest

from pipelines.run_rows import evaluation
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters
from ssl_kedro.pipelines.gated.inference.records import Deployment
from ssl_kedro.pipelines.gated.report.channels import channels_section, kept_channels
from ssl_kedro.pipelines.gated.report.data_section import data_pictures, data_section
from ssl_kedro.pipelines.gated.report.use_section import deploy_sentence, paths, use_section

CHOSEN = Deployment(
    why="",
    model="nested.budget_32",
    network="static",
    precision="f32",
    engines={"1": "native", "32": "openvino"},
    ratio={"1": 2.36, "32": 2.67},
    measure="linear",
    accuracy=0.948,
)


def test_what_to_deploy_is_one_name_its_accuracy_and_what_it_gains() -> None:
    said = deploy_sentence(CHOSEN).replace("\N{NO-BREAK SPACE}", " ")
    assert said.startswith("Deploy nested, 32 %, f32: 94.8 % linear top-1.")
    gains = "2.36 times as fast with 1 image at a time and 2.67 times as fast with 32 images"
    assert gains in said


def test_what_gains_nothing_is_not_called_faster() -> None:
    slow = Deployment(**vars(CHOSEN) | {"ratio": {"1": 1.0, "32": 0.9}})
    assert deploy_sentence(slow).endswith("No faster network is as accurate.")
    assert "was timed" in deploy_sentence(None)
    assert deploy_sentence(Deployment(why="nothing: no labels")) == "Nothing: no labels."


def test_the_code_loads_what_is_to_be_deployed_and_what_it_was_cut_from() -> None:
    spaces = {"vicreg": "p.vicreg", "nested": "p.nested", "nested.budget_32": "p.budget_32.nested"}
    models = {key: evaluation("nested", None) for key in spaces}
    [section] = use_section(models, CHOSEN, None, paths("data/06_models", spaces))
    loaded = re.findall(r'load_encoder\("([^"]+)"\)', section.code)
    assert loaded == [
        "data/06_models/p.budget_32.nested/encoder",
        "data/06_models/p.nested/encoder",
    ]
    compile(section.code, "page", "exec")
    assert "on C++ and OpenVINO" in " ".join(section.paragraphs)
    assert use_section(models, CHOSEN, None, paths("", spaces)) == []


def images(labels: np.ndarray | None) -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 3, 16, 16), dtype=np.uint8)
    names = () if labels is None else ("ant", "bee", "cat")
    return ImageSet(pixels, labels, names, "made")


def parameters(seed: int = 0) -> DualGatingParameters:
    views = {"size": 12}
    return DualGatingParameters.model_validate({"seed": seed, "data": {"size": 16}, "views": views})


@pytest.mark.parametrize("labelled", [True, False])
def test_pictures_are_images_of_the_run_with_their_classes_and_views(labelled: bool) -> None:
    labels = np.arange(60) % 3 if labelled else None
    seen = images(labels)
    shown = data_pictures(parameters(), seen)
    assert len(shown["images"]) == 24
    for image, label in zip(shown["images"], shown["labels"], strict=True):
        [place] = np.flatnonzero((seen.images == image).all(axis=(1, 2, 3)))
        assert label == (-1 if labels is None else labels[place])
    assert shown["views"].shape == (4, 7, 3, 12, 12) and shown["views"].dtype == np.uint8
    assert all((seen.images == image).all(axis=(1, 2, 3)).any() for image in shown["viewed"])
    again = data_pictures(parameters(), seen)
    assert all(np.array_equal(again[name], shown[name]) for name in shown)
    other = data_pictures(parameters(seed=1), seen)
    assert not np.array_equal(other["images"], shown["images"])


def test_a_row_of_the_page_is_a_class_or_all_images() -> None:
    manifest = {"data": {"images": {"pretrain": 60}, "class_names": ("ant", "bee", "cat")}}
    rows, views = data_section(manifest, data_pictures(parameters(), images(np.arange(60) % 3)))
    assert [row.words for row in rows.thumbnails] == ["ant", "bee", "cat"]
    assert "60 to train encoders on" in rows.paragraphs[0]
    assert [len(row.pictures) for row in views.thumbnails] == [8] * 4
    alone, _ = data_section(manifest, data_pictures(parameters(), images(None)))
    assert [len(row.pictures) for row in alone.thumbnails] == [24]
    assert data_section(manifest, None) == []


def test_what_a_budget_keeps_is_counted_block_by_block() -> None:
    thin = EncoderConfig(width=4, inner_channels=(1, 2, 3, 4, 5, 6, 7, 8))
    made = GatedResNet18(thin, branches=("dense",), image_size=8)
    [usage] = kept_channels(**{"nested.budget_32": made}).values()
    assert [block.block for block in usage] == [
        f"layer{s}.{b}" for s in range(1, 5) for b in (0, 1)
    ]
    assert [block.always_on for block in usage] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [block.channels for block in usage] == [4, 4, 8, 8, 16, 16, 32, 32]
    assert all(block.always_on + block.always_off == block.channels for block in usage)
    [section] = channels_section({}, {"nested.budget_32": usage})
    assert section.title == "What a budget keeps"
    assert channels_section({}, {"from elsewhere": ()}) == []
