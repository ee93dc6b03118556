"""Runs that go on from an earlier one."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline, node

from ssl_kedro.core.config import ConfigError
from ssl_kedro.hooks.earlier_results import EarlierResultsError, EarlierResultsHook
from ssl_kedro.hooks.errors import mendable_message
from ssl_kedro.pipelines import dual_gating, dynamic_channels

CREATED = {"dual_gating": dual_gating, "dynamic_channels": dynamic_channels}


def selected(pipeline: str, tag: str, parameters: Mapping[str, object]) -> Pipeline:
    pytest.importorskip("onnxruntime")
    graph = CREATED[pipeline].create_pipeline({"budgets": [0.3], **parameters}, [tag])
    return graph.filter(tags=[tag])


def left(pipeline: Pipeline, *missing: str) -> DataCatalog:
    """A catalog in which everything that the nodes read is there, but what is missing."""
    given = ("_images", "export_folder")
    return DataCatalog(
        {
            name: MemoryDataset()
            if name in missing or name.endswith(given)  # images are read, not left
            else MemoryDataset("something")
            for name in pipeline.inputs()
        }
    )


def check(tag: str, pipeline: Pipeline, catalog: DataCatalog) -> None:
    EarlierResultsHook().before_pipeline_run({"tags": [tag]}, pipeline, catalog)


@pytest.mark.parametrize("tag", ["export", "inference"])
@pytest.mark.parametrize("name", ["dual_gating", "dynamic_channels"])
def test_what_an_earlier_run_has_not_left_is_named(name: str, tag: str) -> None:
    chosen = selected(name, tag, {})
    check(tag, chosen, left(chosen))
    table = {"dual_gating": "table_6_1", "dynamic_channels": "table_5_1"}
    missing = f"{name}.histories"
    if name == "dynamic_channels" and tag == "export":
        assert f"{name}.{table[name]}" in chosen.inputs()
        missing = f"{name}.{table[name]}"
    with pytest.raises(EarlierResultsError, match=f"has not left {missing}\\. Run") as error:
        check(tag, chosen, left(chosen, missing))
    assert mendable_message(error.value) is not None
    everything = [n for n in chosen.inputs() if not n.startswith("params:")]
    with pytest.raises(EarlierResultsError, match=r"and \d+ more"):
        check(tag, chosen, left(chosen, *everything))
    # Other runs make what they need.
    check("budget_30", chosen, left(chosen, *everything))


@pytest.mark.parametrize("name", ["dual_gating", "dynamic_channels"])
def test_an_export_of_no_model_is_refused(name: str) -> None:
    chosen = selected(name, "export", {"inference": {"models": ""}})
    with pytest.raises(
        ConfigError, match=rf"{name}\.inference\.models = \[\]: expected the models"
    ):
        check("export", chosen, left(chosen))


def test_an_export_of_another_pipeline_is_none_of_this() -> None:
    def nothing(_: object) -> str:
        return ""

    own = node(nothing, "saliency360.models.gone.model", "saliency360.export_check", tags="export")
    check("export", Pipeline([own]), DataCatalog({}))
