"""The environment of chapter 4: its data as released, its parts kept apart, its tables."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import TINY_SALIENCY, copied_project
from pipelines.chapter4_releases import TESTED_FROM, write_releases
from pipelines.test_saliency360 import check, merged
from ssl_kedro.core.config import ConfigError
from ssl_kedro.encoders.panorama_encoder import new_panorama_encoder
from ssl_kedro.encoders.saliency_model import SaliencyModel, build_decoder
from ssl_kedro.pipelines.saliency360 import data_nodes
from ssl_kedro.pipelines.saliency360.parameters import Saliency360Parameters
from ssl_kedro.pipelines.saliency360.records import Data, SourceSummary, Training
from ssl_kedro.pipelines.saliency360.report.protocol import (
    data_differs,
    model_differs,
    published_data,
)
from ssl_kedro.saliency.panoramas import PanoramaSource
from ssl_kedro.saliency.sources.errors import SaliencyDataError
from ssl_kedro.saliency.sources.open import open_source
from ssl_kedro.saliency.store import PanoramaStore, StoredPanoramas

ENVIRONMENT = "thesis_chapter4"
OWN = "vr_eyetracking_sitzmann"


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("releases")
    write_releases(root)
    return root


def parameters(root: Path, **changes: object) -> Saliency360Parameters:
    """Of the environment, with its data below another folder."""
    values = merged(ENVIRONMENT, **changes)
    for group in (values["data"]["sources"], values["also_test_on"], values["unlabelled"]):
        for one in group.values():
            one["root"] = one["root"].replace("data/01_raw", str(root))
    return check(values)


def opened(p: Saliency360Parameters) -> dict[str, PanoramaSource]:
    named = {p.dataset: p.data, **p.unlabelled, **p.also_test_on}
    return {f"sources.{name}": open_source(config) for name, config in named.items()}


def stored_for_pretraining(
    p: Saliency360Parameters, folder: Path
) -> tuple[StoredPanoramas, np.ndarray]:
    sources = opened(p)
    data = data_nodes.check_sources(p, learnt_from=p.learnt_from, tested=p.tested, **sources)
    seen = {n: s for n, s in sources.items() if n.split(".")[1] in {p.dataset, *p.unlabelled}}
    store = PanoramaStore(folder)
    return data_nodes.store_for_pretraining(p, data, store, **seen), store.images()


def test_sources_and_parts_are_the_published_ones(releases: Path) -> None:
    p = parameters(releases)
    sources = opened(p)
    own = sources[f"sources.{OWN}"]
    tested = {n for n, split in zip(own.names, own.splits, strict=True) if split == "test"}
    assert tested == {
        *(f"vr_eyetracking/{video}/{frame:05d}" for video in ("004", "005") for frame in (0, 1)),
        "sitzmann/cubemap_0002",
    }
    assert own.splits.count("train") == 3 * 2 + 2
    assert set(sources["sources.salient360"].splits) == {"test"}
    assert {n for n, s in sources.items() if set(s.splits) == {"unlabelled"}} == {
        f"sources.{name}" for name in ("pvs_hmem", "youtube", "indoor")
    }
    assert [published_data(p, name) for name in p.datasets] == [
        "VR-EyeTracking + Sitzmann",
        "Salient360!",
    ]


@pytest.mark.parametrize("pretrain_on", ["unlabelled", "train"])
def test_nothing_of_a_tested_part_reaches_pre_training(
    pretrain_on: str, releases: Path, tmp_path: Path
) -> None:
    found, images = stored_for_pretraining(
        parameters(releases, pretrain_on=pretrain_on), tmp_path / "store"
    )
    assert "test" not in found.splits
    # Whatever is tested is brighter than anything else.
    assert images.mean(axis=(1, 2, 3)).max() < TESTED_FROM - 10
    assert len(images) == 2 * 3 + 3 + (8 if pretrain_on == "train" else 0)


def test_all_says_that_tested_panoramas_are_seen(releases: Path, tmp_path: Path) -> None:
    found, images = stored_for_pretraining(
        parameters(releases, pretrain_on="all"), tmp_path / "store"
    )
    assert found.splits.count("test") == 5
    assert images.mean(axis=(1, 2, 3)).max() > TESTED_FROM


def test_a_tested_video_among_the_unlabelled_ones_ends_the_run(releases: Path) -> None:
    values = {"source": "videos", "root": f"{releases}/vr_eyetracking/videos"}
    p = parameters(releases, unlabelled__vr=values)
    with pytest.raises(SaliencyDataError, match=r"2 files that vr has to learn.*004\.mp4"):
        data_nodes.check_sources(p, learnt_from=p.learnt_from, tested=p.tested, **opened(p))
    p = parameters(releases, unlabelled__vr={**values, "test_list": "../test.txt"})
    data = data_nodes.check_sources(p, learnt_from=p.learnt_from, tested=p.tested, **opened(p))
    assert data["vr"].scenes == 3


def test_only_test_parts_of_further_data_are_scored(releases: Path, tmp_path: Path) -> None:
    p = parameters(releases, also_test_on__salient360__test_list=None)
    source = opened(p)["sources.salient360"]
    store = PanoramaStore(tmp_path / "store")
    stored = data_nodes.store_panoramas(p, {}, source, store, name="salient360", own=False)
    assert stored.splits == ["test"]
    assert len(source) == 2
    p = parameters(
        releases, also_test_on__salient360__test_list=None, also_test_on__salient360__test_share=0
    )
    source = opened(p)["sources.salient360"]
    with pytest.raises(ConfigError, match=r"also_test_on\.salient360\.test_share = 0\.0.*1 makes"):
        data_nodes.store_panoramas(p, {}, source, store, name="salient360", own=False)


def test_folds_and_a_training_part_do_not_go_together(releases: Path) -> None:
    with pytest.raises(ValueError, match="each panorama is tested in one of the folds"):
        parameters(releases, pretrain_on="train", folds=2)


# --- whether it is the thesis' experiment


def published(train: int = 4700) -> Data:
    return {OWN: SourceSummary(6000, 200, {"train": train, "test": 1300}, "")}


def test_the_published_numbers_leave_the_making_of_maps_alone(releases: Path) -> None:
    p = parameters(releases)
    trained = [Training(images=91_234)]
    scenes = [f"{at % 86}" for at in range(1300)]
    assert data_differs(p, OWN, published(), scenes, False, trained) == []
    assert data_differs(p, OWN, published(), scenes, True, trained) == [
        "truth is gaze smoothed by 3.34 degrees (not said how the maps were made)"
    ]
    twenty_five = [f"P{at}" for at in range(25)]
    assert data_differs(p, "salient360", published(), twenty_five, False, trained) == []


@pytest.mark.parametrize(
    ("changes", "scenes", "images", "train", "said"),
    [
        ({}, 24, 91_000, 4700, ["24 tested panoramas (25)", "24 tested videos and panoramas (25)"]),
        ({}, 25, 85, 4700, ["encoders learn from 85 panoramas (90,000)"]),
        ({}, 25, 90_000, 12, ["decoders learn from 12 panoramas (4,700)"]),
        (
            {"also_test_on__salient360__test_list": None},
            25,
            90_000,
            4700,
            ["the tested part of salient360 is drawn at random (named)"],
        ),
        (
            {"pretrain_on": "all"},
            25,
            90_000,
            4700,
            [
                "encoders see also those of the training part and the tested ones, without their "
                "maps (unlabelled ones only)"
            ],
        ),
        (
            {"unlabelled": {}, "dataset": "mine", "data__sources": {}},
            25,
            90_000,
            4700,
            [
                "decoders learn from mine (VR-EyeTracking + Sitzmann)",
                "encoders see no unlabelled videos (frames of videos, 1 a second, and 360-Indoor)",
            ],
        ),
    ],
)
def test_what_differs_is_named_with_the_published_value_behind(
    changes: dict[str, Any], scenes: int, images: int, train: int, said: list[str], releases: Path
) -> None:
    p = parameters(releases, **changes)
    tested = [f"P{at}" for at in range(scenes)]
    trained = [Training(images=images)]
    assert data_differs(p, "salient360", published(train), tested, False, trained) == said


def test_other_data_are_none_of_the_thesis() -> None:
    p = check(merged())
    assert published_data(p, "generated") == ""
    assert data_differs(p, "generated", {}, [], False, []) == [
        "generated is none of the thesis' data sets"
    ]


def made(p: Saliency360Parameters, name: str) -> SaliencyModel:
    encoder = new_panorama_encoder(p.encoder_config(p.models[name].encoder), 0)
    return SaliencyModel(encoder, build_decoder(p.decoder_config(name), encoder.map_channels))


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("contrastive", {}, []),
        ("vgg_without_attention", {}, []),
        ("light_decoder", {}, ["decoder light (thesis)"]),
        ("text", {"decoding__weighting": "sphere"}, []),
        ("contrastive", {"train__epochs": 3}, ["epochs 3 (250)"]),
        ("random", {}, ["random encoder (contrastive)"]),
        ("raw_bgr", {}, ["errors of the authors' code: raw bgr"]),
        (
            "fine_tuned",
            {"encoder__longitude_padding": "circular"},
            [
                "the encoder is trained with the decoder (frozen)",
                "convolutions go on around the panorama (they do not)",
            ],
        ),
    ],
)
def test_a_model_says_what_it_has_not_of_the_thesis(
    name: str, changes: dict[str, Any], said: list[str]
) -> None:
    p = check(merged(ENVIRONMENT, **changes))
    assert model_differs(p, name, made(p, name)) == said


def test_the_base_environment_is_another_experiment() -> None:
    p = check(merged())
    found = model_differs(p, "contrastive", made(p, "contrastive"))
    assert found[0] == "0.25 times the channels"
    assert "the decoders' loss weighs pixels by solid angle (alike)" in found


# --- a run

TINY = {
    **{key: value for key, value in TINY_SALIENCY.items() if not key.startswith("data.")},
    "image.height": 48,
    "image.width": 96,
    "train.epochs": 1,
    "decoder_train.epochs": 1,
    "timing.widths": "96;192",
    "timing.panoramas": 1,
}


@pytest.mark.slow
def test_the_published_protocol_from_data_to_tables(tmp_path: Path) -> None:
    project = copied_project(tmp_path)
    write_releases(tmp_path / "data/01_raw")
    values = ",".join(f"saliency360.{key}={value}" for key, value in TINY.items())
    finished = project.kedro(
        "run", "--pipeline", "saliency360", "--env", ENVIRONMENT, "--params", values
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    data = tmp_path / "data" / ENVIRONMENT
    stored = json.loads(
        (data / "02_intermediate/saliency360/pretraining/panoramas.json").read_text()
    )
    assert {name.split("/")[0] for name in stored["names"]} == {"pvs_hmem", "youtube", "indoor"}
    folder = data / "08_reporting/saliency360"
    rows = list(csv.DictReader((folder / "table_4_1.csv").open()))
    beside = [row for row in rows if row["published_cc"]]
    assert {(row["dataset"], row["model"], row["published_cc"]) for row in beside} == {
        (OWN, "contrastive", "0.329"),
        (OWN, "without_attention", "0.232"),
        (OWN, "vgg", "0.308"),
        (OWN, "vgg_without_attention", "0.246"),
        ("salient360", "contrastive", "0.584"),
        ("salient360", "without_attention", "0.52"),
        ("salient360", "vgg", "0.538"),
        ("salient360", "vgg_without_attention", "0.553"),
    }
    assert {row["mode"] for row in beside} == {"planar"}
    assert not any(row["difference_cc"] for row in rows)
    page = (folder / "report.html").read_text()
    for text in (
        "5 tested panoramas (1,300)",
        "decoders learn from 8 panoramas (4,700)",
        "encoders learn from 9 panoramas (90,000)",
        "cannot come from gaze smoothed by 3.34 degrees",
    ):
        assert text in page
    times = list(csv.DictReader((folder / "table_4_2.csv").open()))
    sizes = {row["picture"].split(",")[0] for row in times if row["source"] == "this run"}
    assert sizes == {"96 x 48", "192 x 96"}
