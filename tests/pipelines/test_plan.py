from __future__ import annotations

import pytest
from pydantic import ValidationError

from ssl_kedro.core.config import ConfigError
from ssl_kedro.methods.plan import method_classes
from ssl_kedro.pipelines import dual_gating
from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters
from ssl_kedro.pipelines.dual_gating.part import parts
from ssl_kedro.pipelines.dual_gating.plan import (
    planned_models,
    sibling,
)
from ssl_kedro.pipelines.gated.transfer import planned_transfers
from ssl_kedro.pipelines.gated.variants import DUAL_GATING
from ssl_kedro.pipelines.parameters import ParameterError

TRANSFER = {
    "own": "textures",
    "data": {"digits": {"source": "digits"}, "other": {"source": "textures"}},
    "sources": ["digits"],
    "targets": ["textures", "digits", "other"],
}


def parameters(**changes: object) -> DualGatingParameters:
    return DualGatingParameters.model_validate({"budgets": [0.1, 0.3], **changes})


def test_every_part_compares_known_variants_of_known_methods() -> None:
    assert {name for part in parts().values() for name in part.models} == set(DUAL_GATING)
    assert {variant.method for variant in DUAL_GATING.values()} <= set(method_classes())


def test_models_are_variants_times_budgets_times_seeds_and_shared_by_parts() -> None:
    models = planned_models(parameters(repeats=3, seed=5), ["table_6_1", "table_6_4"])
    # vicreg once a seed; vicreg_gating, dual and barlow_dual once a budget and seed
    assert len(models) == 3 + 3 * 2 * 3
    assert len({model.namespace for model in models}) == len(models)
    assert {model.training.seed for model in models} == {5, 6, 7}
    dual = next(m for m in models if m.key == "dual.budget_30" and m.repeat == 0)
    assert dual.namespace == "dual_gating.budget_30"
    assert dual.parts == ("table_6_1", "table_6_4")
    repeat = next(m for m in models if m.key == "barlow_dual.budget_10" and m.repeat == 2)
    assert repeat.namespace == "dual_gating.budget_10.barlow_dual.seed_7"
    assert repeat.parts == ("table_6_4",)


def test_further_sources_train_only_what_transfer_needs() -> None:
    models = planned_models(parameters(transfer=TRANSFER), ["table_6_2", "table_6_6"])
    extra = [model.key for model in models if model.source == "digits"]
    assert extra == ["vicreg", "dual.budget_10", "dual.budget_30"]
    assert not any(m.source for m in planned_models(parameters(transfer=TRANSFER), ["table_6_6"]))


def test_no_encoder_is_transferred_to_its_own_data() -> None:
    p = parameters(transfer=TRANSFER, budgets=[0.3])
    pairs = {
        (t.source, t.target, t.model.key)
        for t in planned_transfers(p, planned_models(p, ["table_6_2"]), "table_6_2")
    }
    expected = {
        (source, target, key)
        for source, targets in (
            ("textures", ("digits", "other")),
            ("digits", ("textures", "other")),
        )
        for target in targets
        for key in ("vicreg", "dual.budget_30")
    }
    assert pairs == expected


def test_students_learn_from_the_teacher_and_gates_of_their_own_seed() -> None:
    graph = dual_gating.create_pipeline({"budgets": [0.3], "repeats": 2}, ["table_6_3"])
    student = next(n for n in graph.nodes if n.name.endswith("distil_seed_budget_30_seed_1"))
    assert "dual_gating.vicreg.seed_1.encoder" in student.inputs
    assert "dual_gating.budget_30.seed_1.features" in student.inputs
    named = {"distillation": {"teacher": "dual_gating.budget_50.encoder"}, "budgets": [0.3]}
    graph = dual_gating.create_pipeline(named, ["table_6_3"])
    students = [n for n in graph.nodes if "distil_" in n.name]
    assert len(students) == 2
    assert all("dual_gating.budget_50.encoder" in n.inputs for n in students)


def test_each_student_has_a_teacher_of_its_own_where_it_is_said() -> None:
    """Thesis 6.3.1: SimReg's is the run's baseline, SEED's a published MoCo v2."""
    distillation = {
        "teachers": {"seed": "moco_v2"},
        "files": {"moco_v2": {"kind": "moco_v2", "file": "moco_v2_800ep_pretrain.pth.tar"}},
    }
    graph = dual_gating.create_pipeline(
        {"budgets": [0.3], "distillation": distillation}, ["table_6_3"]
    )
    taught = {
        n.name.rpartition("distil_")[2]: {*n.inputs} for n in graph.nodes if "distil_" in n.name
    }
    own, given = "dual_gating.vicreg.encoder", "dual_gating.teachers.moco_v2"
    assert own in taught["simreg_budget_30"] - {given}
    assert given in taught["seed_budget_30"] - {own}
    known = parameters(distillation=distillation)
    with pytest.raises(
        ConfigError, match=r"distillation\.files\.moco_v2\.file = .*facebookresearch"
    ):
        known.check_missing(given)
    with pytest.raises(ValidationError, match="and not 'vicreg'"):
        parameters(distillation={"files": {"vicreg": {"file": "a/b"}}})


def test_sibling_names_what_is_missing() -> None:
    models = planned_models(parameters(), ["table_6_6"])
    with pytest.raises(LookupError, match="needs 'vicreg' with seed 0"):
        sibling(models, models[0], "vicreg")


@pytest.mark.parametrize("part", tuple(parts()))
def test_each_part_is_a_complete_run_of_its_own(part: str) -> None:
    graph = dual_gating.create_pipeline(
        {"budgets": [0.3], "transfer": TRANSFER}, [part, "budget_30"]
    )
    # Whatever is not read from sources, handles, origins or parameters is made within the part.
    free = {name.rsplit(".", 1)[-1] for name in graph.inputs() if not name.startswith("params:")}
    images = {"train_images", "eval_images", "pretrain_images"}
    assert free <= images | {"checkpoint", "epoch_log", "origins", "bundles"}
    alone = graph.filter(tags=[part])
    assert {n.name for n in alone.nodes} == {n.name for n in graph.nodes}
    wanted = {"metrics", "report", "run_manifest", "runs"}
    wanted |= {"embedding_plot"} if part == "figure_6_2" else set()
    wanted |= {"channel_usage"} if part == "figure_6_1" else set()
    wanted |= {part} if not part.startswith("figure") else set()
    assert {f"dual_gating.{name}" for name in wanted} <= graph.all_outputs()


def test_transfer_without_targets_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"transfer\.targets = \[\].*leave table_6_2 out"):
        dual_gating.create_pipeline({"budgets": [0.3]}, ["table_6_2"])


@pytest.mark.parametrize(
    ("part", "gates"),
    [("question_2", {"diversity": 0.5}), ("question_4", {"steering": "dual_ascent"})],
)
def test_questions_need_plain_dual_gating_to_compare_with(
    part: str, gates: dict[str, object]
) -> None:
    with pytest.raises(ParameterError, match=f"{part} compares it with plain dual gating"):
        dual_gating.create_pipeline({"budgets": [0.3], "gates": gates}, [part])


def test_a_budget_alone_brings_the_summaries_of_further_sources() -> None:
    given = {"budgets": [0.3], "transfer": TRANSFER, "parts": ["table_6_2"]}
    alone = dual_gating.create_pipeline(given).filter(tags=["budget_30"])
    assert not any("data_summary" in name for name in alone.inputs())


def test_tags_that_name_no_part_leave_the_parts_of_the_parameters() -> None:
    usual = dual_gating.create_pipeline({"budgets": [0.3]})
    tagged = dual_gating.create_pipeline({"budgets": [0.3]}, ["budget_30", "report"])
    assert {n.name for n in usual.nodes} == {n.name for n in tagged.nodes}
    assert not any("barlow" in n.name for n in usual.nodes)
