from __future__ import annotations

import pytest

from ssl_kedro.pipelines import dual_gating, dynamic_channels
from ssl_kedro.pipelines.effective_parameters import bind, lookup
from ssl_kedro.pipelines.gated.nodes import collect_by_model


def test_each_budget_is_a_namespace_of_the_same_shape() -> None:
    graph = dual_gating.create_pipeline({"budgets": [0.2, 0.4, 0.6]})
    spaces = {node.namespace for node in graph.nodes if node.namespace}
    assert spaces == {"dual_gating", "dual_gating.vicreg"} | {
        f"dual_gating.budget_{p}{part}" for p in (20, 40, 60) for part in ("", ".vicreg_gating")
    }
    for percent in (20, 40, 60):
        part = graph.filter(node_namespaces=[f"dual_gating.budget_{percent}"])
        assert len(part.nodes) == 8  # training, features, evaluation and timing of two models
        assert f"dual_gating.budget_{percent}.encoder" in part.all_outputs()


def test_a_budget_alone_is_runnable_by_its_tag() -> None:
    graph = dual_gating.create_pipeline({}).filter(tags=["budget_30"])
    wanted = {"dual_gating.budget_30.evaluation", "dual_gating.budget_30.vicreg_gating.evaluation"}
    assert wanted <= graph.all_outputs()
    assert not any("budget_10" in name for name in graph.datasets())
    # Everything it reads from outside comes from sources, handles or parameters.
    free = {name.rsplit(".", 1)[-1] for name in graph.inputs() if not name.startswith("params:")}
    assert free == {"train_images", "eval_images", "checkpoint", "epoch_log"}


def test_stl10_pretrains_on_its_unlabelled_part() -> None:
    usual = dual_gating.create_pipeline({})
    assert "dual_gating.pretrain_images" not in usual.datasets()
    stl10 = dual_gating.create_pipeline(
        {"data": {"source": "stl10"}, "encoder": {"stem": "imagenet"}}
    )
    readers = [n for n in stl10.nodes if "dual_gating.pretrain_images" in n.inputs]
    assert {node.name.split(".")[-1].split("_")[0] for node in readers} == {
        "summarise",
        "pretrain",
        "data",
    }


def test_every_result_the_report_promises_has_a_producer() -> None:
    outputs = dual_gating.create_pipeline({}).all_outputs()
    for name in ("metrics", "table_6_1", "report", "run_manifest", "embedding_plot"):
        assert f"dual_gating.{name}" in outputs


def test_what_models_left_is_gathered_under_their_names_in_the_metrics() -> None:
    timed = {"budgets": [0.3, 0.5], "inference": {"models": "all"}}
    for pipeline, baseline, gated in (
        (dual_gating, "vicreg", {"dual": "", "vicreg_gating": ".vicreg_gating"}),
        (dynamic_channels, "simsiam", {"simsiam_gating": ""}),
    ):
        graph, key = pipeline.create_pipeline(timed), pipeline.PIPELINE.name
        spaces = {
            f"{name}.budget_{percent}": f"{key}.budget_{percent}{end}"
            for name, end in gated.items()
            for percent in (30, 50)
        }
        for output, left in (("models", "evaluation"), ("inference_models", "inference")):
            of = {baseline: f"{key}.{baseline}"} | spaces
            (gathering,) = graph.only_nodes_with_outputs(f"{key}.{output}").nodes
            # Each data set stands for itself: the node says which name it gives it.
            gathering.func = collect_by_model
            found = gathering.run({name: name for name in gathering.inputs})[f"{key}.{output}"]
            assert found == {name: f"{space}.{left}" for name, space in of.items()}


def test_catalog_lookup_names_a_missing_parameter() -> None:
    bind(lambda: {"dual_gating": {"seed": 3}})
    assert lookup("dual_gating.seed") == 3
    with pytest.raises(KeyError, match=r"dual_gating\.sed"):
        lookup("dual_gating.sed")
