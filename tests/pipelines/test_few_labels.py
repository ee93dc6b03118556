"""``--tags few_labels`` and ``keep_head``: graph, numbers, table and what a run leaves."""

from __future__ import annotations

import csv
import json
import math
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch

from conftest import Project
from oracles.norms import with_used_norms
from pipelines.test_dynamic_channels import results as chapter_5
from pipelines.test_dynamic_channels import run as run_chapter_5
from ssl_kedro import load_images
from ssl_kedro.core.config import ConfigError
from ssl_kedro.core.errors import InputError
from ssl_kedro.encoders.bundle import load_encoder
from ssl_kedro.encoders.fingerprint import weight_fingerprint
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.encoders.nested_resnet18 import NestedConfig, NestedResNet18
from ssl_kedro.evaluation.features import branch_arrays
from ssl_kedro.evaluation.linear_probe import linear_probe_right
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.images.subsets import labelled_subset
from ssl_kedro.pipelines import dual_gating, dynamic_channels
from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters
from ssl_kedro.pipelines.gated.few_labels import check_labels, fine_tune
from ssl_kedro.pipelines.gated.nodes import keep_head
from ssl_kedro.pipelines.gated.records import Training
from ssl_kedro.pipelines.gated.report.few_labels import label_metrics, label_section, label_table
from ssl_kedro.training.config import Execution

BOTH = pytest.mark.parametrize("pipeline", [dual_gating, dynamic_channels])
TUNING = {
    "few_labels.shares": "0.1;1.0",
    "few_labels.epochs": 1,
    "few_labels.least_steps": 3,
    "few_labels.batch_size": 20,
}


def sets() -> tuple[ImageSet, ImageSet]:
    train, held = (
        load_images("textures", split, size=16, generated=100, generated_eval=40)  # type: ignore[arg-type]
        for split in ("train", "eval")
    )
    return train, held


def parameters(**changes: object) -> DualGatingParameters:
    tuning = {"shares": [0.1, 1.0], "epochs": 1, "least_steps": 2, "batch_size": 20}
    values = {
        "data": {"size": 16},
        "encoder": {"stem": "cifar_pad1", "width": 4},
        "train": {"device": "cpu"},
        "probe": {"epochs": 3, "runs": 2},
        "few_labels": tuning | changes,
    }
    return DualGatingParameters.model_validate(values)


@BOTH
def test_the_tag_trains_the_two_models_and_times_nothing(pipeline: ModuleType) -> None:
    name = pipeline.__name__.rpartition(".")[2]
    graph = pipeline.create_pipeline({"budgets": [0.3], "repeats": 2}, ("few_labels",))
    chosen = graph.filter(tags=["few_labels"])
    trained = {node.name for node in chosen.nodes if "pretrain" in node.tags}
    assert len(trained) == 4  # two models, two seeds
    assert not any("inference" in output for output in chosen.all_outputs())
    tuned = {out for out in chosen.all_outputs() if out.endswith(".fine_tuning")}
    assert {f"{name}.scratch.seed_0.fine_tuning", f"{name}.scratch.seed_1.fine_tuning"} < tuned
    assert len(tuned) == 6
    assert {f"{name}.label_runs", f"{name}.label_table", f"{name}.report"} < chosen.all_outputs()
    # Labels are counted before anything is trained.
    order = [node.func.__name__ for node in chosen.nodes]
    assert order.index("check_labels") < order.index("pretrain")
    assert not any("fine_tuning" in o for o in pipeline.create_pipeline({}).all_outputs())


@BOTH
@pytest.mark.parametrize("repeats", [1, 2])
def test_beside_best_it_is_what_that_trains_and_cuts(pipeline: ModuleType, repeats: int) -> None:
    """In both chapters alike; gated encoders of the chapter are not trained for it."""
    name = pipeline.__name__.rpartition(".")[2]
    values = {"encoder": {"width": 16}, "budgets": [0.2, 0.5], "repeats": repeats}
    graph = pipeline.create_pipeline(values, ("best", "few_labels"))
    seeds = ["", ".seed_1"][:repeats]
    dense = {"dual_gating": "vicreg", "dynamic_channels": "simsiam"}[name]
    cut = ("nested", "budget_20.nested", "budget_50.nested")
    models = {f"{one}{seed}" for one in (dense, *cut) for seed in seeds}
    found = {out for out in graph.all_outputs() if out.endswith(".fine_tuning")}
    scratch = {f"{name}.scratch.seed_{seed}.fine_tuning" for seed in range(repeats)}
    assert found == {f"{name}.{one}.fine_tuning" for one in models} | scratch
    encoders = {out for out in graph.all_outputs() if out.endswith(".encoder")}
    assert encoders == {f"{name}.{one}.encoder" for one in models}


def test_a_cut_encoder_has_one_branch_and_needs_no_penalty() -> None:
    train, held = sets()
    torch.manual_seed(0)
    shape = NestedConfig("cifar_pad1", 8)
    whole = with_used_norms(NestedResNet18(shape, branches=["dense"], image_size=16)).eval()
    encoder = whole.at_budget(0.4, torch.from_numpy(train.images[:20]))
    features = branch_arrays(encoder, {"train": train.images, "eval": held.images})
    found = fine_tune(
        parameters(gates="trained", shares=[1.0]), Execution("cpu", "fp32"), {"1.0": 100},
        encoder, features, train, held, trained=Training("nested", 0.4, 0, derived="budgeted"),
    )  # fmt: skip
    assert list(found) == ["dense"]
    assert found["dense"][0].macs == encoder.cost(16).dense < 0.4 * whole.cost(16).dense


@BOTH
def test_nothing_to_export_beside_it_is_told_by_its_tags(pipeline: ModuleType) -> None:
    values = {"inference": {"models": "all"}}
    with pytest.raises(ConfigError, match=r"--tags = 'few_labels,export': .* such as frontier"):
        pipeline.create_pipeline(values, ("few_labels", "export"))


def test_numbers_are_those_of_the_library_with_the_same_labels() -> None:
    train, held = sets()
    torch.manual_seed(0)
    encoder = with_used_norms(GatedResNet18(EncoderConfig("cifar_pad1", 4), image_size=16)).eval()
    before = weight_fingerprint(encoder)
    features = branch_arrays(encoder, {"train": train.images, "eval": held.images})
    made = parameters()
    counts = check_labels(made, train, held, pipeline="dual_gating")
    assert counts == {"0.1": 10, "1.0": 100}
    found = fine_tune(
        made, Execution("cpu", "fp32"), counts, encoder, features, train, held,
        trained=Training("dual_gating", 0.5, 7),
    )  # fmt: skip
    assert weight_fingerprint(encoder) == before
    assert set(found) == {"dense", "gated"}
    for branch, shares in found.items():
        assert [one.labels for one in shares] == [10, 100]
        for one in shares:
            kept = labelled_subset(train.labels, one.share, 7)  # type: ignore[arg-type]
            known, asked = features[f"{branch}.train"][kept], features[f"{branch}.eval"]
            away = np.linalg.norm(asked[:, None].astype(float) - known[None], axis=2)
            nearest = train.labels[kept][away.argmin(axis=1)]  # type: ignore[index]
            assert one.knn == pytest.approx(np.mean(nearest == held.labels), abs=1 / 40)
            right = linear_probe_right(
                known,
                train.labels[kept],
                asked,
                held.labels,
                made.probe,
                seed=7,  # type: ignore[arg-type, index]
            )
            assert one.linear == pytest.approx(right.mean())
            assert (one.macs < one.dense_macs) == (branch == "gated")
            assert one.dense_macs == encoder.cost(16).dense


def test_gates_may_learn_under_the_penalty_of_the_budget() -> None:
    train, held = sets()
    torch.manual_seed(0)
    encoder = with_used_norms(GatedResNet18(EncoderConfig("cifar_pad1", 4), image_size=16)).eval()
    features = branch_arrays(encoder, {"train": train.images, "eval": held.images})
    made = parameters(gates="trained", shares=[1.0])
    found = fine_tune(
        made, Execution("cpu", "fp32"), {"1.0": 100}, encoder, features, train, held,
        trained=Training("dual_gating", 0.5, 0),
    )  # fmt: skip
    assert 0 < found["gated"][0].macs < found["gated"][0].dense_macs


def test_what_cannot_be_is_refused_by_its_key() -> None:
    train, held = sets()
    with pytest.raises(ConfigError, match=r"^any\.few_labels\.shares = 0\.01: .* 10 classes"):
        check_labels(parameters(shares=[0.01]), train, held, pipeline="any")
    bare = ImageSet(train.images, None, (), "mine")
    with pytest.raises(InputError, match=r"^any\.data: found images without labels \(mine\)"):
        check_labels(parameters(), bare, held, pipeline="any")


def runs() -> pd.DataFrame:
    rows = [
        (model, percent, seed, branch, 0.1, 20, value + 0.01 * seed, 0.3, 0.2, cost)
        for seed in (0, 1)
        for model, percent, branch, value, cost in (
            ("scratch", None, "dense", 0.40, 1.0),
            ("vicreg", None, "dense", 0.50 + 0.02 * seed, 1.0),
            ("dual", 30, "dense", 0.48, 1.0),
            ("dual", 30, "gated", 0.46, 0.31),
        )
    ]
    names = ["model", "budget_percent", "seed", "branch", "share", "labels", "fine_tuned"]
    return pd.DataFrame(rows, columns=[*names, "linear", "knn", "cost"])


def test_the_table_has_means_over_seeds_and_differences_to_no_training() -> None:
    table = label_table(runs())
    assert list(zip(table["model"], table["branch"], strict=True)) == [
        ("scratch", "dense"), ("vicreg", "dense"), ("dual", "dense"), ("dual", "gated"),
    ]  # fmt: skip
    vicreg = table.iloc[1]
    assert vicreg["fine_tuned"] == pytest.approx(100 * (0.50 + 0.53) / 2)
    assert vicreg["fine_tuned_std"] == pytest.approx(100 * 0.03 / math.sqrt(2))
    assert vicreg["against_scratch"] == pytest.approx(100 * (0.10 + 0.12) / 2)
    assert table["cost"].tolist() == pytest.approx([100, 100, 100, 31])
    assert table["against_scratch"].isna().tolist() == [True, False, False, False]
    assert label_metrics(table)["dual.budget_30.gated.labels_10.cost"] == pytest.approx(0.31)
    [section] = label_section(parameters().few_labels, table)
    assert "2 seeds" in section.tables[0].caption
    assert section.tables[0].rows[0][1] == "From scratch"
    [one_seed] = label_section(parameters().few_labels, label_table(runs().query("seed == 0")))
    assert "one seed" in one_seed.tables[0].caption
    assert label_section(parameters().few_labels, None) == []


def test_a_kept_head_is_the_first_run_of_the_evaluation() -> None:
    train, held = sets()
    torch.manual_seed(0)
    encoder = with_used_norms(GatedResNet18(EncoderConfig("cifar_pad1", 4), image_size=16)).eval()
    features = branch_arrays(encoder, {"train": train.images, "eval": held.images})
    made = parameters()
    kept = keep_head(
        made, list(train.class_names), encoder, features, train, trained=Training("any", None, 3)
    )
    assert encoder.classifier is None and weight_fingerprint(kept) == weight_fingerprint(encoder)
    truth = np.array(held.class_names)[held.labels]  # type: ignore[index]
    for branch in ("dense", "gated"):
        right = linear_probe_right(
            features[f"{branch}.train"], train.labels, features[f"{branch}.eval"], held.labels,  # type: ignore[arg-type]
            made.probe, seed=3,  # type: ignore[arg-type]
        )  # fmt: skip
        assert np.array_equal(np.array(kept.classify(held.images, branch)) == truth, right[0])  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_run_leaves_table_metrics_section_and_encoders_that_name_classes(
    project: Project,
) -> None:
    done = project.run({**TUNING, "keep_head": "true"}, "--tags", "few_labels")
    assert done.returncode == 0, done.stdout + done.stderr
    with (project.results / "few_labels.csv").open() as table:
        rows = list(csv.DictReader(table))
    assert {(row["model"], row["branch"]) for row in rows} == {
        ("scratch", "dense"), ("vicreg", "dense"), ("dual", "dense"), ("dual", "gated"),
    }  # fmt: skip
    assert {row["labels"] for row in rows} == {"20", "200"}
    metrics = json.loads((project.results / "metrics.json").read_text())
    row = next(r for r in rows if (r["branch"], r["labels"]) == ("gated", "200"))
    key = "dual.budget_50.gated.labels_100"
    assert 100 * metrics[f"{key}.fine_tuned"] == pytest.approx(float(row["fine_tuned"]))
    page = (project.results / "report.html").read_text()
    assert "Few labels" in page and "From scratch" in page
    for model in ("dual_gating.vicreg", "dual_gating.budget_50"):
        folder = project.path / "data/06_models" / model
        kept, plain = (load_encoder(folder / name) for name in ("classifier", "encoder"))
        assert weight_fingerprint(kept) == weight_fingerprint(plain)
        held = load_images("textures", "eval", size=16, generated_eval=60)
        assert set(kept.classify(held.images)) <= set(held.class_names)


@pytest.mark.slow
def test_chapter_5_does_the_same_and_meets_other_data(project: Project) -> None:
    changes = {**TUNING, "few_labels.shares": 0.1, "budgets": "0.5"}
    done = run_chapter_5(project, changes, "--tags", "few_labels,transfer")
    assert done.returncode == 0, done.stdout + done.stderr
    with (chapter_5(project) / "few_labels.csv").open() as table:
        found = {(row["model"], row["branch"]) for row in csv.DictReader(table)}
    assert found == {("scratch", "dense"), ("simsiam", "dense"), ("simsiam_gating", "gated")}
    metrics = json.loads((chapter_5(project) / "metrics.json").read_text())
    assert "budget_50.gated.labels_10.fine_tuned" in metrics
    with (chapter_5(project) / "transfer_table.csv").open() as table:
        rows = list(csv.DictReader(table))
    assert {(row["source"], row["target"], row["model"]) for row in rows} == {
        ("textures", "digits", "simsiam"), ("textures", "digits", "simsiam_gating"),
    }  # fmt: skip
    page = (chapter_5(project) / "report.html").read_text()
    assert "Transfer to other data" in page and "Few labels" in page


@pytest.mark.slow
@BOTH
def test_beside_best_its_networks_stand_in_both_tables(
    pipeline: ModuleType, project: Project
) -> None:
    changes = {**TUNING, "few_labels.shares": 1.0, "budgets": "0.5", "encoder.width": 8}
    first = pipeline.PIPELINE.name == "dynamic_channels"
    run, tag = (run_chapter_5, "transfer") if first else (Project.run, "table_6_2")
    done = run(project, changes, "--tags", f"best,few_labels,{tag}")
    assert done.returncode == 0, done.stdout + done.stderr
    results = chapter_5(project) if first else project.results
    for file in ("few_labels.csv", "transfer_table.csv" if first else "table_6_2.csv"):
        with (results / file).open() as table:
            found = {(row["model"], row["budget_percent"]) for row in csv.DictReader(table)}
        assert {("nested", ""), ("nested", "50")} < found, file
    metrics = json.loads((results / "metrics.json").read_text())
    assert metrics["nested.budget_50.dense.labels_100.cost"] < 0.5
