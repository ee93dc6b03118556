"""What Kedro-Viz shows of the catalog: a layer for every entry, in an order that no node turns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kedro.io import CatalogConfigResolver
from kedro.pipeline import Pipeline
from omegaconf import OmegaConf

from ssl_kedro.datasets import sources
from ssl_kedro.datasets.base import HandleDataset
from ssl_kedro.pipelines import dual_gating, dynamic_channels, retrieval_eval, saliency360

CONF = Path(__file__).parents[2] / "conf" / "base"
# From what is given to what is read; a band of the page each.
LAYERS = (
    *("handles", "inputs", "preparation", "models"),
    *("features", "evaluation", "results", "reporting"),
)


def entries() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for file in sorted(CONF.glob("catalog*.yml")):
        found |= OmegaConf.to_container(OmegaConf.load(file), resolve=False)  # type: ignore[arg-type]
    return found


ENTRIES = entries()
RESOLVER = CatalogConfigResolver(ENTRIES)


def layer(name: str) -> str:
    entry = name if name in ENTRIES else RESOLVER.match_dataset_pattern(name)
    return str(ENTRIES[str(entry)]["metadata"]["kedro-viz"]["layer"])


@pytest.mark.parametrize("name", ENTRIES)
def test_every_entry_has_a_layer(name: str) -> None:
    assert layer(name) in LAYERS


def test_no_layer_holds_most_of_the_catalog() -> None:
    of = [layer(name) for name in ENTRIES]
    assert set(of) == set(LAYERS)
    assert max(of.count(one) for one in LAYERS) < len(of) / 3


def test_what_nodes_write_to_stands_apart_from_what_they_read() -> None:
    for name, entry in ENTRIES.items():
        kind = getattr(sources, str(entry["type"]).rpartition(".")[2], None)
        if isinstance(kind, type) and issubclass(kind, HandleDataset):
            assert layer(name) == "handles", name


GRAPHS = {
    "best": dual_gating.create_pipeline({"recipe": "best"}),
    "thesis": dual_gating.create_pipeline({}, ["table_6_1", "table_6_3", "question_1"]),
    "transfer": dual_gating.create_pipeline({}, ["table_6_2"]),
    "frontier": dual_gating.create_pipeline({}, ["frontier", "best", "few_labels"]),
    "export": dual_gating.create_pipeline({"recipe": "best"}, ["export"]),
    "chapter 5": dynamic_channels.create_pipeline({}, ["consistency", "few_labels"]),
    "retrieval": retrieval_eval.create_pipeline({}),
    "saliency": saliency360.create_pipeline({}),
    "prediction": saliency360.create_pipeline({}, ["predict", "export"]),
}


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_layers_follow_each_other_as_nodes_do(graph: Pipeline) -> None:
    """Kedro-Viz shows no layers at all where two of them follow each other in a circle."""
    for node in graph.nodes:
        read = [name for name in node.inputs if not name.startswith("params:")]
        for written in node.outputs:
            late = [n for n in read if LAYERS.index(layer(n)) > LAYERS.index(layer(written))]
            assert not late, f"{node.name} makes {written} of {late}"
