"""Frozen encoders on other data: one function for both chapters, and what is planned."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch

from oracles.norms import with_used_norms
from ssl_kedro import load_images
from ssl_kedro.core.errors import InputError
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.evaluation.linear_probe import ProbeConfig, linear_probe_right
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.pipelines import dual_gating, dynamic_channels
from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters
from ssl_kedro.pipelines.dynamic_channels.parameters import DynamicChannelsParameters
from ssl_kedro.pipelines.dynamic_channels.pipeline import planned_models
from ssl_kedro.pipelines.dynamic_channels.report.tables import transfer_table
from ssl_kedro.pipelines.gated.transfer import (
    collect_transfers,
    evaluate_transfer,
    planned_transfers,
)
from ssl_kedro.pipelines.parameters import ParameterError

DATA = {"digits": {"source": "digits"}, "other": {"source": "textures"}}
TRANSFER = {
    "own": "textures",
    "data": DATA,
    "sources": ["digits"],
    "targets": ["textures", "other"],
}


def parameters(**changes: object) -> DynamicChannelsParameters:
    values = {"budgets": [0.3], "transfer": TRANSFER, **changes}
    return DynamicChannelsParameters.model_validate(values)


def test_both_chapters_evaluate_an_encoder_alike() -> None:
    train, held = (
        load_images("digits", split, size=16, limit=80, eval_limit=40)  # type: ignore[arg-type]
        for split in ("train", "eval")
    )
    torch.manual_seed(0)
    encoder = with_used_norms(GatedResNet18(EncoderConfig("cifar_pad1", 4), image_size=16)).eval()
    cpu = {"train": {"device": "cpu"}}
    found = [
        evaluate_transfer(made.model_validate(cpu), encoder, train, held, seed=3)
        for made in (DualGatingParameters, DynamicChannelsParameters)
    ]
    assert found[0] == found[1]
    for branch in encoder.branches:
        known, asked = (
            encoder.features(torch.from_numpy(part.images), branch).numpy()
            for part in (train, held)
        )
        right = linear_probe_right(
            known,
            train.labels,
            asked,
            held.labels,
            ProbeConfig(),
            seed=3,  # type: ignore[arg-type]
        )
        assert found[0][branch] == pytest.approx(right.mean(axis=1).tolist(), abs=1 / 40)


@pytest.mark.parametrize(
    ("pipeline", "tag"), [(dual_gating, "table_6_2"), (dynamic_channels, "transfer")]
)
def test_unlabelled_targets_are_refused_before_anything_is_trained(
    pipeline: ModuleType, tag: str
) -> None:
    name = pipeline.__name__.rpartition(".")[2]
    graph = pipeline.create_pipeline({"budgets": [0.3], "transfer": TRANSFER}, (tag,))
    nodes = graph.filter(tags=[tag]).nodes
    order = [node.name for node in nodes]
    checks = [index for index, one in enumerate(order) if "check_target_" in one]
    first = next(index for index, node in enumerate(nodes) if "pretrain" in node.tags)
    assert len(checks) == 2 and max(checks) < first
    train = load_images("digits", size=16, limit=20)
    bare = ImageSet(train.images, None, (), "mine")
    for target, key in (("other", "transfer.data.other"), ("textures", "data")):
        check = next(node for node in nodes if node.name == f"{name}.check_target_{target}")
        given = dict.fromkeys(check.inputs, train)
        assert check.run(given) == {f"{name}.target_{target}": list(train.class_names)}
        with pytest.raises(InputError, match=rf"^{name}\.{key}: found images without labels"):
            check.run(given | dict.fromkeys(check.inputs[-1:], bare))


def test_gates_that_decide_alike_stand_in_the_table_and_learn_on_own_data_alone() -> None:
    made = parameters()
    models = planned_models(made, ["transfer", "consistency"])
    alike = [model for model in models if model.name == "simsiam_gating_consistent"]
    assert [model.source for model in alike] == [None]
    transfers = planned_transfers(made, models, "transfer")
    left = {t.output: {"gated" if t.model.training.budget else "dense": (0.5,)} for t in transfers}
    table = transfer_table(collect_transfers(transfers={t.output: t for t in transfers}, **left))  # type: ignore[arg-type]
    found = set(zip(table["model"], table["source"], table["target"], strict=True))
    assert found == {(t.model.name, t.source, t.target) for t in transfers}
    assert ("simsiam_gating_consistent", "textures", "other") in found


@pytest.mark.parametrize(
    ("pipeline", "tag"), [(dual_gating, "table_6_2"), (dynamic_channels, "transfer")]
)
def test_the_encoder_for_every_budget_is_transferred_where_it_is_what_is_trained(
    pipeline: ModuleType, tag: str
) -> None:
    name = pipeline.__name__.rpartition(".")[2]
    values = {"encoder": {"width": 16}, "budgets": [0.3], "transfer": TRANSFER | {"sources": []}}
    graph = pipeline.create_pipeline(values, ("best", tag))
    for model in ("nested", "budget_30.nested"):
        assert f"{name}.{model}.transfer_other" in graph.all_outputs()


def test_every_encoder_meets_every_target_but_its_own() -> None:
    made = parameters(repeats=2)
    models = planned_models(made, ["transfer"])
    assert len({model.namespace for model in models}) == len(models) == 8
    pairs = {(t.source, t.target, t.model.key) for t in planned_transfers(made, models, "transfer")}
    assert pairs == {
        (source, target, key)
        for source, target in (
            ("textures", "other"),
            ("digits", "textures"),
            ("digits", "other"),
        )
        for key in ("simsiam", "simsiam_gating.budget_30")
    }
    # Without the tag nothing further is trained.
    assert not any(model.source for model in planned_models(made))
    graph = dynamic_channels.create_pipeline(
        {"budgets": [0.3], "transfer": TRANSFER}, ("transfer",)
    )
    assert "dynamic_channels.transfer_table" in graph.filter(tags=["transfer"]).all_outputs()


def test_without_a_target_it_says_what_to_name() -> None:
    made = parameters(transfer={"own": "mine"})
    with pytest.raises(ParameterError, match=r"dynamic_channels\.transfer\.targets = \[\]"):
        planned_transfers(made, planned_models(made, ["transfer"]), "transfer")


def test_the_table_compares_with_the_dense_model_of_the_same_data() -> None:
    made = parameters(transfer=TRANSFER | {"sources": [], "targets": ["other"]})
    transfers = planned_transfers(made, planned_models(made, ["transfer"]), "transfer")
    accuracies = {"simsiam": ("dense", (0.5, 0.7)), "simsiam_gating": ("gated", (0.5, 0.6))}
    left = {t.output: dict([accuracies[t.model.name]]) for t in transfers}
    runs = collect_transfers(transfers={t.output: t for t in transfers}, **left)  # type: ignore[arg-type]
    table = transfer_table(runs)
    assert table["linear_top1"].tolist() == pytest.approx([60, 55])
    assert table["linear_std"].tolist() == pytest.approx([10, 5])
    assert table["against_simsiam"].tolist()[1] == pytest.approx(-5)
