"""Runs that go on from an earlier one."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline, node

from ssl_kedro.core.config import ConfigError
from ssl_kedro.hooks import project
from ssl_kedro.hooks.project import ProjectHook, mendable_message
from ssl_kedro.hooks.selection import EarlierResultsError, MissingInputError
from ssl_kedro.pipelines import dual_gating, dynamic_channels

CREATED = {"dual_gating": dual_gating, "dynamic_channels": dynamic_channels}


def graphs(pipeline: str, tag: str, parameters: Mapping[str, object]) -> tuple[Pipeline, Pipeline]:
    """The whole graph and what a tag takes of it."""
    pytest.importorskip("onnxruntime")
    graph = CREATED[pipeline].create_pipeline({"budgets": [0.3], **parameters}, [tag])
    return graph, graph.filter(tags=[tag])


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


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    def run(tag: str, whole: Pipeline, chosen: Pipeline, catalog: DataCatalog) -> None:
        monkeypatch.setattr(project, "pipelines", {"own": whole})
        parameters = {"tags": [tag], "pipeline_names": ["own"]}
        ProjectHook().before_pipeline_run(parameters, chosen, catalog)

    return run


@pytest.mark.parametrize("tag", ["export", "inference"])
@pytest.mark.parametrize("name", ["dual_gating", "dynamic_channels"])
def test_what_an_earlier_run_has_not_left_is_named(name: str, tag: str, check) -> None:  # type: ignore[no-untyped-def]
    whole, chosen = graphs(name, tag, {})
    check(tag, whole, chosen, left(chosen))
    missing = f"{name}.histories"
    assert missing in chosen.inputs()
    with pytest.raises(
        EarlierResultsError, match=rf"left here: {missing}\. They are made"
    ) as error:
        check(tag, whole, chosen, left(chosen, missing))
    assert mendable_message(error.value) is not None
    everything = [n for n in chosen.inputs() if not n.startswith("params:")]
    with pytest.raises(EarlierResultsError, match=r"and \d+ more"):
        check(tag, whole, chosen, left(chosen, *everything))
    # A run of everything makes what it needs.
    check(tag, whole, whole, left(whole))


@pytest.mark.parametrize("name", ["dual_gating", "dynamic_channels"])
def test_an_export_of_no_model_is_refused(name: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"{name}\.inference\.models = \[\]: expected the models"
    ):
        graphs(name, "export", {"inference": {"models": ""}})


def test_an_export_of_another_pipeline_is_none_of_this(check) -> None:  # type: ignore[no-untyped-def]
    def nothing(_: object) -> str:
        return ""

    own = node(nothing, "saliency360.models.gone.model", "saliency360.export_check", tags="export")
    there = DataCatalog({"saliency360.models.gone.model": MemoryDataset("something")})
    check("export", Pipeline([own]), Pipeline([own]), there)
    with pytest.raises(MissingInputError, match=r"reads saliency360\.models\.gone\.model, which"):
        check("export", Pipeline([own]), Pipeline([own]), DataCatalog({}))
