"""Peers of gated encoders in both pipelines: the graph of `--tags frontier`, and whole runs."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from kedro.pipeline import Pipeline

from ssl_kedro.core.config import ConfigError
from ssl_kedro.encoders.gated_resnet import EncoderConfig
from ssl_kedro.pipelines import dual_gating, dynamic_channels
from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters
from ssl_kedro.pipelines.gated.variants import has_gates, label_of, title_of
from ssl_kedro.pipelines.parameters import ParameterError, parsed

BOTH = pytest.mark.parametrize(
    ("pipeline", "dense", "gated"),
    [(dual_gating, "vicreg", "budget_30"), (dynamic_channels, "simsiam", "budget_30")],
)
SMALL = {"budgets": [0.3], "encoder": {"width": 16}}


def graph(pipeline: ModuleType, *asked: str, **changes: Any) -> Pipeline:
    made: Pipeline = pipeline.create_pipeline({**SMALL, **changes}, asked)
    return made


def trained(made: Pipeline) -> dict[str, Any]:
    """The bound trainings by namespace."""
    nodes = [node for node in made.nodes if "training" in getattr(node.func, "keywords", {})]
    return {str(node.namespace): node.func.keywords["training"] for node in nodes}


@BOTH
def test_the_tag_adds_thin_networks_and_a_run_without_it_has_none(
    pipeline: ModuleType, dense: str, gated: str
) -> None:
    key = pipeline.PIPELINE.name
    usual = {node.name for node in graph(pipeline).nodes}
    assert not any("thin" in name for name in usual)
    found = trained(graph(pipeline, "frontier"))
    thin = {f"{key}.width_{width}.thin" for width in (6, 7, 9, 11)}
    assert thin | {f"{key}.{dense}", f"{key}.{gated}"} <= found.keys()
    assert {found[name].method for name in thin} == {dense}
    assert found[f"{key}.width_9.thin"].width == 9
    assert found[f"{key}.{dense}"].width is None


@BOTH
def test_the_tag_alone_makes_all_that_it_reads(
    pipeline: ModuleType, dense: str, gated: str
) -> None:
    made = graph(pipeline, "frontier", repeats=2)
    alone = made.filter(tags=["frontier"])
    assert {node.name for node in alone.nodes} == {node.name for node in made.nodes}
    free = {name.rsplit(".", 1)[-1] for name in alone.inputs() if not name.startswith("params:")}
    assert free <= {"train_images", "eval_images", "checkpoint", "epoch_log", "origins", "bundles"}
    seeds = {name: one.seed for name, one in trained(made).items()}
    key = pipeline.PIPELINE.name
    for space in (dense, gated, "width_6.thin"):
        assert (seeds[f"{key}.{space}"], seeds[f"{key}.{space}.seed_1"]) == (0, 1)


@BOTH
def test_a_distilled_network_learns_from_the_dense_baseline_as_long_as_others(
    pipeline: ModuleType, dense: str, gated: str
) -> None:
    key = pipeline.PIPELINE.name
    own = {"epochs": 3, "batch_size": 32, "lr": 0.25, "warmup_epochs": 0}
    short = {"methods": {"simreg": {"train": own}}, "train": {"epochs": 20, "batch_size": 64}}
    made = graph(pipeline, "frontier", repeats=2, **short)
    (student,) = made.only_nodes_with_outputs(f"{key}.width_7.distilled.seed_1.encoder").nodes
    assert f"{key}.{dense}.seed_1.encoder" in student.inputs
    training = student.func.keywords["training"]
    parameters = pipeline.PIPELINE._model.model_validate({**SMALL, **short})
    recipe = parameters.train_config(training.method, training.train)
    assert (training.method, training.width) == ("simreg", 7)
    assert (recipe.epochs, recipe.batch_size, recipe.lr) == (20, 64, 0.25)
    # What Table 6.3 trains keeps the length of its paper.
    assert parameters.train_config("simreg").epochs == 3


@BOTH
def test_a_pruned_network_is_cut_from_the_dense_baseline_and_trains_nothing(
    pipeline: ModuleType, dense: str, gated: str
) -> None:
    key = pipeline.PIPELINE.name
    made = graph(pipeline, "frontier", repeats=2)
    space = f"{key}.budget_30.pruned.seed_1"
    (cut,) = made.only_nodes_with_outputs(f"{space}.encoder").nodes
    assert f"{key}.{dense}.seed_1.encoder" in cut.inputs
    (judged,) = made.only_nodes_with_outputs(f"{space}.evaluation").nodes
    assert f"{key}.{dense}.seed_1.training" in judged.inputs
    assert space not in trained(made)
    # Neither the run's training time nor its curves count the baseline twice.
    for output in ("histories", "run_manifest"):
        (gathered,) = made.only_nodes_with_outputs(f"{key}.{output}").nodes
        assert not any(".pruned" in name for name in gathered.inputs)


@BOTH
def test_slim_networks_of_all_widths_come_from_one_training(
    pipeline: ModuleType, dense: str, gated: str
) -> None:
    key = pipeline.PIPELINE.name
    made = graph(pipeline, "frontier", repeats=2)
    for end in ("", ".seed_1"):
        assert {name for name in trained(made) if name.endswith(f"slim{end}")} == {
            f"{key}.slim{end}"
        }
        for width in (6, 7, 9, 11):
            space = f"{key}.width_{width}.slim{end}"
            (cut,) = made.only_nodes_with_outputs(f"{space}.encoder").nodes
            assert f"{key}.slim{end}.encoder" in cut.inputs
            assert cut.func.keywords["trained"].width == width
    expected = {"dual_gating": "slim", "dynamic_channels": "simsiam_slim"}
    assert trained(made)[f"{key}.slim"].method == expected[key]
    narrow = {"frontier": {"widths": [0.2], "models": "slim"}}
    with pytest.raises(ConfigError, match=r"frontier\.widths = \[0\.2\]: .*at least 0\.25"):
        graph(pipeline, "frontier", **narrow)


@BOTH
def test_nested_networks_of_all_budgets_come_from_one_training(
    pipeline: ModuleType, dense: str, gated: str
) -> None:
    key = pipeline.PIPELINE.name
    made = graph(pipeline, "frontier", repeats=2, frontier={"budgets": "0.2;0.5"})
    for end in ("", ".seed_1"):
        assert {name for name in trained(made) if name.endswith(f"nested{end}")} == {
            f"{key}.nested{end}"
        }
        for budget in (20, 50):
            space = f"{key}.budget_{budget}.nested{end}"
            (cut,) = made.only_nodes_with_outputs(f"{space}.encoder").nodes
            assert f"{key}.nested{end}.encoder" in cut.inputs
            assert cut.func.keywords["trained"].budget == budget / 100
    expected = {"dual_gating": "nested", "dynamic_channels": "simsiam_nested"}
    assert trained(made)[f"{key}.nested"].method == expected[key]
    # One channel a block leaves 8.8 % at width 8.
    small = {"encoder": {"width": 8}, "frontier": {"models": "nested", "budgets": "0.08;0.5"}}
    with pytest.raises(ConfigError, match=r"frontier\.budgets = 0\.08: expected at least 0\.08"):
        graph(pipeline, "frontier", **small)


def test_what_cannot_be_pruned_is_refused_before_anything_is_trained() -> None:
    # At width 8 gates can close all but 3.4 % of the cost; one channel a block leaves 8.8 %.
    small = {"budgets": [0.06], "encoder": {"width": 8}}
    with pytest.raises(ConfigError, match=r"dual_gating\.budgets = 0\.06: .*one channel a block"):
        graph(dual_gating, "frontier", **small)
    assert trained(graph(dual_gating, "frontier", frontier={"models": "thin"}, **small))
    # At width 6 it leaves 10.6 % at the size of the views, but 11.3 % at that of the images.
    cropped = {"budgets": [0.11], "encoder": {"width": 6}, "views": {"size": 16}}
    with pytest.raises(ConfigError, match=r"budgets = 0\.11: expected at least 0\.1130"):
        graph(dual_gating, "frontier", data={"size": 32}, **cropped)
    assert trained(graph(dual_gating, "frontier", data={"size": 16}, **cropped))


def test_a_slimmable_training_by_adamw_is_refused_before_anything_is_trained() -> None:
    adamw = {"optimiser": "adamw", "weight_decay": 0.01}
    with pytest.raises(
        ConfigError, match=r"gating\.train\.optimiser = 'adamw': expected lars, sgd"
    ):
        graph(dual_gating, "frontier", train=adamw)
    own = {"simsiam_slim": {"train": adamw}}
    with pytest.raises(ConfigError, match=r"methods\.simsiam_slim\.train\.optimiser = 'adamw'"):
        graph(dynamic_channels, "frontier", methods=own)
    graph(dynamic_channels, methods=own)  # nothing slimmable is trained
    graph(dual_gating, "frontier", train=adamw, frontier={"models": "thin;pruned"})
    graph(dual_gating, "frontier", train=adamw | {"weight_decay": 0.0})


def test_peers_are_chosen_by_name_and_widths_by_share() -> None:
    few = graph(dual_gating, "frontier", frontier={"models": [], "widths": "0.5"})
    assert trained(few).keys() == {"dual_gating.vicreg", "dual_gating.budget_30"}
    # .21875 of 16 are 3.5 channels, rounded up; .25 are the same four.
    shares = graph(
        dual_gating, "frontier", frontier={"models": "thin", "widths": "0.21875;0.25;0.5"}
    )
    thin = {name for name in trained(shares) if name.endswith(".thin")}
    assert thin == {"dual_gating.width_4.thin", "dual_gating.width_8.thin"}


@pytest.mark.parametrize(
    ("widths", "problem"),
    [([0.97], "16 channels are the whole encoder"), ([0.05], "expected a number at least 2")],
)
def test_widths_that_no_narrower_network_has_are_refused(widths: list[float], problem: str) -> None:
    with pytest.raises(ConfigError, match=rf"dual_gating\.frontier\.widths = .*{problem}"):
        graph(dual_gating, "frontier", frontier={"widths": widths})
    graph(dual_gating, frontier={"widths": widths})  # nothing is narrowed


def test_a_peer_that_would_be_the_gated_encoder_itself_is_refused() -> None:
    blind = {"gates": {"input_dependent": False}}
    with pytest.raises(ConfigError, match=r"gates\.input_dependent = False: .*learned_static"):
        graph(dual_gating, "frontier", **blind)
    assert trained(graph(dual_gating, "frontier", frontier={"models": "thin"}, **blind))


def test_unknown_peers_are_named() -> None:
    with pytest.raises(ParameterError, match=r"frontier\.models = \['thick'\]: expected \"all\""):
        parsed(DualGatingParameters, "dual_gating", {"frontier": {"models": "thick"}})


def test_a_narrower_shape_keeps_the_proportions_of_its_blocks() -> None:
    shape = EncoderConfig(width=16, inner_channels=(16, 8, 32, 16, 64, 32, 128, 64))
    assert shape.narrowed(4).inner_channels == (4, 2, 8, 4, 16, 8, 32, 16)
    assert EncoderConfig(width=16).narrowed(9).inner_channels is None


VARIANTS = {
    "thin-longer": {"train": {"epochs": 900}},
    "nested-wide": {"options": {"smallest": 0.2}},
}


@BOTH
@pytest.mark.parametrize("recipe", ["best", "authors"])
def test_a_named_variant_is_a_row_of_its_own(
    pipeline: ModuleType, dense: str, gated: str, recipe: str
) -> None:
    key = pipeline.PIPELINE.name
    frontier = {
        "variants": {**VARIANTS, f"{dense}-longer": {"train": {"lr": 0.1}}},
        "models": [],
    }
    asked = () if recipe == "best" else ("frontier",)
    found = trained(graph(pipeline, *asked, recipe=recipe, frontier=frontier))
    assert (f"{key}.{gated}" in found) == (recipe == "authors")
    longer = found[f"{key}.width_9.thin-longer"]
    assert (longer.width, longer.train, longer.method) == (9, {"epochs": 900}, dense)
    assert found[f"{key}.nested-wide"].options == {"smallest": 0.2}
    assert found[f"{key}.{dense}-longer"].train == {"lr": 0.1}
    assert found[f"{key}.{dense}"].train == {}
    assert "epochs 900" in longer.label


def test_a_variant_trains_with_what_it_changes() -> None:
    values = {**SMALL, "frontier": {"variants": {"nested-wide": {"options": {"smallest": 0.2}}}}}
    parameters = parsed(DualGatingParameters, "dual_gating", values)
    (variant,) = parameters.further_variants().values()
    config = parameters.method_config(variant.method, variant.gates, variant.options)
    assert getattr(config.options, "smallest", None) == 0.2
    assert title_of("nested-wide") == "nested, wide"
    assert label_of("thin-longer.width_9") == "thin, longer, width 9"
    assert not has_gates("nested-wide.budget_32")
    assert has_gates("dual-softer.budget_30")


@pytest.mark.parametrize(
    ("variants", "said"),
    [
        ({"wide": {}}, r"frontier\.variants = 'wide': expected a model and a word"),
        ({"simreg-longer": {}}, r"frontier\.variants = 'simreg-longer': expected a model"),
        ({"thin-longer": {"train": {"lrr": 1}}}, r"frontier\.variants\.thin-longer\.train\.lrr"),
        (
            {"thin-longer": {"train": {"lr": -1}}},
            r"frontier\.variants\.thin-longer\.train\.lr = -1",
        ),
        ({"nested-a": {"options": {"small": 1}}}, r"variants\.nested-a\.options\.small = 1"),
        ({"dual-a": {"gates": {"sparsity": -1}}}, r"variants\.dual-a\.gates\.sparsity = -1"),
        (
            {"pruned-a": {"train": {"epochs": 900}}},
            r"variants\.pruned-a\.train = .*pruned has none",
        ),
        ({"thin-a": {"gates": {"sparsity": 1}}}, r"variants\.thin-a\.gates = .*thin has none"),
        ({"channel_diversity-a": {}}, r"'channel_diversity-a': expected a model and a word"),
    ],
)
def test_faulty_variants_are_named(variants: dict[str, Any], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        parsed(DualGatingParameters, "dual_gating", {**SMALL, "frontier": {"variants": variants}})
