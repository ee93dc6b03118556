"""Precisions of networks: judged on images held out, measured through their engines."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from inference.networks import random_encoder
from ssl_kedro.core.precision import processor_lacks
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.images.load import DataConfig, load_images
from ssl_kedro.inference.compact import dense_network
from ssl_kedro.inference.engines.base import engine_features
from ssl_kedro.inference.engines.probe import fastest_engine
from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters
from ssl_kedro.pipelines.gated.inference.forms import calibration_images, held_out_of
from ssl_kedro.pipelines.gated.inference.nodes import measure_inference
from ssl_kedro.pipelines.gated.inference.records import Measurement
from ssl_kedro.pipelines.gated.nodes import extract
from ssl_kedro.pipelines.gated.records import Training
from ssl_kedro.pipelines.parameters import parsed

DATA = DataConfig(source="textures", size=16, generated=80, generated_eval=40)


def given(**inference: object) -> DualGatingParameters:
    timing = {"batches": "2", "engines": "eager", "seconds": 0.01, "rounds": 1, "threads": 1}
    values = {
        "data": {"source": "textures", "size": 16},
        "encoder": {"stem": "cifar", "width": 8},
        "probe": {"epochs": 2, "runs": 2},
        "train": {"device": "cpu"},
        "inference": {**timing, "held_out": 0.25, **inference},
    }
    return parsed(DualGatingParameters, "dual_gating", values)


@pytest.fixture(scope="module")
def images() -> tuple[ImageSet, ImageSet]:
    return load_images(DATA, "train", 0), load_images(DATA, "eval", 0)


def measured(
    images: tuple[ImageSet, ImageSet], **inference: object
) -> tuple[Measurement, dict[str, np.ndarray]]:
    parameters, encoder = given(**inference), random_encoder()
    features = extract(parameters, encoder, *images)
    return measure_inference(
        parameters, {}, encoder, features, *images, trained=Training("dual_gating", 0.5, 0)
    )


def test_what_calibrates_is_not_held_out(images: tuple[ImageSet, ImageSet]) -> None:
    for calibration, expected in ((20, 20), (500, 60)):
        parameters = given(calibration=calibration)
        held = held_out_of(parameters, 80)
        found = calibration_images(parameters, images[0])
        assert held.sum() == 20 and len(found) == expected
        apart = {image.tobytes() for image in images[0].images[held]}
        assert apart.isdisjoint(image.tobytes() for image in found)
    assert (held_out_of(given(held_out_limit=7), 80)).sum() == 7


@pytest.mark.slow
def test_forms_are_evaluated_through_their_engines(images: tuple[ImageSet, ImageSet]) -> None:
    pytest.importorskip("onnxruntime")
    if lacking := processor_lacks("bf16") or processor_lacks("int8"):
        pytest.skip(lacking)
    found, answers = measured(images, precisions="f32;bf16;int8", engines="onnxruntime;eager")
    keys = {(form.network, form.precision) for form in found.forms}
    networks = ("dense", "gated", "static")
    assert keys == {(name, p) for name in networks for p in ("f32", "bf16", "int8")}
    parameters, network = given(), dense_network(random_encoder())
    held, calibration = held_out_of(parameters, 80), calibration_images(parameters, images[0])
    of_f32 = None
    for precision in ("f32", "bf16", "int8"):
        engine, _ = fastest_engine(
            network,
            2,
            16,
            threads=1,
            engines=("onnxruntime",) if precision == "int8" else ("eager",),
            precision=precision,
            calibration=calibration,
            rounds=1,
            seconds=0,
        )
        known, asked = (engine_features(engine, part.images) for part in images)
        oracle = KNeighborsClassifier(1, algorithm="brute").fit(known, images[0].labels)
        form = found.form("dense", precision, "eager")
        assert form is not None
        score = oracle.score(asked, images[1].labels)
        assert form.accuracies.knn_top1 == pytest.approx(score, abs=0.03)
        right = answers[f"dense.{precision}.{form.engines[0]}.knn"]
        assert right.mean() == pytest.approx(form.accuracies.knn_top1)
        nearest = NearestNeighbors(n_neighbors=1).fit(known[~held])
        kept = nearest.kneighbors(known[held], return_distance=False)
        if of_f32 is None:
            of_f32 = kept
            assert form.judgement is None and found.offered("dense", "f32")
            continue
        assert form.judgement is not None and form.judgement.images == 20
        assert form.judgement.agreement == pytest.approx((kept == of_f32).mean(), abs=0.051)
        # Twenty images decide nothing: bf16 is kept, int8 is not.
        assert form.judgement.verdict == "undecided"
        assert found.offered("dense", precision) == (precision == "bf16")
        assert set(form.judgement.losses) == {"linear", "knn"}
    file, other = found.footprints["dense"], found.footprints["dense int8"]
    assert file.file_bytes and other.file_bytes and file.file_bytes > 2 * other.file_bytes
    assert all(memory is None or memory > 0 for memory in other.memory_mb.values())


def test_without_labels_neighbours_decide_and_accuracies_are_none(
    images: tuple[ImageSet, ImageSet],
) -> None:
    bare = tuple(dataclasses.replace(part, labels=None, class_names=()) for part in images)
    found, answers = measured(bare, precisions="f32;bf16")  # type: ignore[arg-type]
    for form in found.forms:
        assert form.accuracies.knn_top1 is form.accuracies.linear_top1 is None
        if form.judgement is not None:
            assert not form.judgement.losses
            assert (form.judgement.verdict == "holds") == (form.judgement.agreement >= 0.98)
    held = held_out_of(given(), 80)
    with torch.no_grad():
        dense = random_encoder()(torch.from_numpy(images[0].images), "dense").features.numpy()
    nearest = NearestNeighbors(n_neighbors=1).fit(dense[~held])
    expected = nearest.kneighbors(dense[held], return_distance=False)[:, 0]
    assert (answers["dense.f32.eager.neighbours"] == expected).all()
    assert {name.rsplit(".", 1)[1] for name in answers} == {"neighbours"}
