"""Parts of further methods, and gates that decide alike in chapter 5."""

from __future__ import annotations

import dataclasses
import math

import pytest

from pipelines.run_rows import NAN, Row, evaluation, frame
from ssl_kedro.core.config import ConfigError
from ssl_kedro.evaluation.accuracies import Accuracies, Costs
from ssl_kedro.pipelines import dynamic_channels
from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters
from ssl_kedro.pipelines.dual_gating.part import parts
from ssl_kedro.pipelines.dual_gating.plan import planned_models
from ssl_kedro.pipelines.dual_gating.row import Row as Common
from ssl_kedro.pipelines.dynamic_channels.report.consistency import consistency, consistency_section
from ssl_kedro.pipelines.gated.records import Evaluation, Training, TrainingRecord
from ssl_kedro.pipelines.gated.variants import DUAL_GATING, FAMILIES


def row(model: str, branch: str, seed: int, linear: float, reduction: float = NAN) -> Row:
    return {
        "model": model,
        "branch": branch,
        "budget_percent": 30 if DUAL_GATING[model].gated else None,
        "seed": seed,
        "linear_top1": linear,
        "knn_top1": linear - 0.1,
        "flop_reduction": reduction,
        "training_seconds": 1.0,
    }


def test_every_family_has_a_part_with_its_forms_and_vicregs() -> None:
    for family in FAMILIES:
        models = parts()[f"method_{family}"].models
        assert models[:3] == ("vicreg", "vicreg_gating", "dual")
        assert [DUAL_GATING[name].title for name in models[3:]] == [
            FAMILIES[family],
            f"{FAMILIES[family]}, gated",
            f"{FAMILIES[family]} dual",
        ]
    assert parts()["question_5"].models == ("dual", *(f"{family}_dual" for family in FAMILIES))


def test_table_of_a_method_has_a_row_a_form_with_its_own_branches() -> None:
    rows = []
    for seed in (0, 1):
        rows += [row("vicreg", "dense", seed, 0.8), row("simclr", "dense", seed, 0.7)]
        rows += [row("simclr_gating", "gated", seed, 0.6 + 0.02 * seed, 0.55)]
        rows += [
            row("simclr_dual", b, seed, 0.66, 0.6 if b == "gated" else NAN)
            for b in ("dense", "gated")
        ]
    table = parts()["method_simclr"].table(Common(frame(rows)))
    assert table["model"].tolist() == ["vicreg", "simclr", "simclr_gating", "simclr_dual"]
    assert table["seeds"].tolist() == [2, 2, 2, 2]
    plain, gated, dual = (table.iloc[place] for place in (1, 2, 3))
    assert plain["dense_linear"] == pytest.approx(70)
    assert math.isnan(plain["gated_linear"])
    assert math.isnan(gated["dense_linear"])
    assert gated["gated_linear"] == pytest.approx(61)
    assert gated["gated_linear_std"] == pytest.approx(100 * 0.02 / math.sqrt(2))
    assert gated["gated_knn"] == pytest.approx(51)
    assert dual["dense_linear"] == dual["gated_linear"] == pytest.approx(66)
    assert dual["flop_reduction"] == pytest.approx(60)


def test_plain_forms_are_trained_once_and_the_others_once_a_budget() -> None:
    parameters = DualGatingParameters.model_validate({"budgets": [0.1, 0.3]})
    keys = [model.key for model in planned_models(parameters, ["method_dino"])]
    assert keys.count("dino") == 1
    assert {"dino_gating.budget_10", "dino_dual.budget_30"} <= set(keys)
    assert len(keys) == 2 + 4 * 2


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("wmse_gating", {"embedding": 8, "sub_batch": 24}, "sub_batch = 24.*divisor of .* 64"),
        ("moco_v2", {"splits": 3}, "splits = 3.*divisor of 64"),
    ],
)
def test_a_batch_that_a_method_cannot_take_is_refused_before_the_run(
    method: str, options: dict[str, int], message: str
) -> None:
    given = {"train": {"batch_size": 64}, "methods": {method: {"options": options}}}
    parameters = DualGatingParameters.model_validate(given)
    training = {"training": Training(method, 0.3, 0)}
    with pytest.raises(ConfigError, match=rf"methods\.{method}\.options\.{message}"):
        parameters.check_seen("pretrain", training, {})
    # Only where that method is trained.
    parameters.check_seen("pretrain", {"training": Training("vicreg", None, 0)}, {})


def test_options_of_a_variant_are_refused_by_its_own_key() -> None:
    variants = {"wmse-other": {"options": {"embedding": 8, "sub_batch": 24}}}
    given = {"train": {"batch_size": 64}, "frontier": {"variants": variants}}
    parameters = DualGatingParameters.model_validate(given)
    training = Training("wmse", None, 0, options=variants["wmse-other"]["options"])
    key = r"^frontier\.variants\.wmse-other\.options\.sub_batch = 24"
    with pytest.raises(ConfigError, match=key):
        parameters.check_seen("pretrain", {"training": training}, {})


@pytest.mark.parametrize("recipe", ["best", "authors"])
def test_consistency_trains_both_kinds_of_gates_at_each_budget(recipe: str) -> None:
    given = {"recipe": recipe, "budgets": [0.3, 0.5]}
    graph = dynamic_channels.create_pipeline(given, ["consistency"])
    trained = {name for name in graph.all_outputs() if name.endswith(".encoder")}
    assert trained == {
        "dynamic_channels.simsiam.encoder",
        *(f"dynamic_channels.budget_{budget}.encoder" for budget in (30, 50)),
        *(
            f"dynamic_channels.budget_{budget}.simsiam_gating_consistent.encoder"
            for budget in (30, 50)
        ),
    }
    assert {"dynamic_channels.consistency", "dynamic_channels.table_5_1"} <= graph.all_outputs()
    assert len({node.name for node in graph.nodes}) == len(graph.nodes)
    plain = dynamic_channels.create_pipeline({"recipe": "authors", "budgets": [0.3]})
    assert not any("consisten" in name for name in plain.all_outputs())


def test_consistency_alone_has_as_many_seeds_as_asked_for() -> None:
    given = {"budgets": [0.3], "repeats": 2}
    graph = dynamic_channels.create_pipeline(given, ["consistency"])
    (made,) = (node for node in graph.nodes if node.name == "dynamic_channels.consistency")
    spaces = ("budget_30", "budget_30.simsiam_gating_consistent")
    runs = [f"dynamic_channels.{space}{seed}" for space in spaces for seed in ("", ".seed_1")]
    assert {*made.inputs} == {f"{run}.{out}" for run in runs for out in ("evaluation", "training")}
    assert {*made.inputs} <= graph.all_outputs()


def test_table_of_consistency_by_hand() -> None:
    found: dict[str, Evaluation | TrainingRecord] = {}
    for key, seed, nearest, reduction, alike in (
        ("simsiam_gating", 4, 0.5, 0.6, 0.8),
        ("simsiam_gating", 5, 0.6, 0.6, 0.7),
        ("simsiam_gating_consistent", 4, 0.53, 0.58, 0.9),
        ("simsiam_gating_consistent", 5, 0.61, 0.56, 0.9),
    ):
        left = dataclasses.replace(
            evaluation(key, 30),
            branches={"gated": Accuracies(nearest, None)},
            macs=Costs(100, 100, 100 * (1 - reduction), reduction),
        )
        history = [{"gate_agreement": 0.1}, {"gate_agreement": alike}]
        run = f"{key}.budget_30.seed_{seed}"
        found[f"{run}.evaluation"] = left
        found[f"{run}.training"] = TrainingRecord(**vars(left.training), history=history)
    table = consistency(**found)
    free, consistent = table.iloc[0], table.iloc[1]
    assert (free["knn_top1"], free["flop_reduction"]) == pytest.approx((55, 60))
    assert (free["agreement"], consistent["agreement"]) == pytest.approx((75, 90))
    assert (free["agreement_std"], free["seeds"]) == pytest.approx((5 * math.sqrt(2), 2))
    assert math.isnan(free["knn_against_free"])
    assert consistent["knn_against_free"] == pytest.approx(2)
    assert consistent["knn_against_free_std"] == pytest.approx(math.sqrt(2))
    assert consistent["reduction_against_free"] == pytest.approx(-3)
    assert consistent["agreement_against_free"] == pytest.approx(15)
    (section,) = consistency_section(table)
    assert "decide alike" in section.title
    assert "over 2 seeds" in section.tables[0].caption
    assert consistency_section(None) == []
