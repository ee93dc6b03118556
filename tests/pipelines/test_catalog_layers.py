"""What Kedro-Viz shows of the catalog: a layer for every entry, in an order that no node turns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kedro.io import CatalogConfigResolver
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


def base(pipeline: str) -> dict[str, Any]:
    loaded = OmegaConf.load(CONF / f"parameters_{pipeline}.yml")
    return OmegaConf.to_container(loaded, resolve=False)[pipeline]  # type: ignore[index,return-value]


ENTRIES = entries()
# Of patterns alone: values that parameters give are not known here.
RESOLVER = CatalogConfigResolver({name: {"type": "kedro.io.MemoryDataset"} for name in ENTRIES})


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


TRANSFER = {"data": {"digits": {"source": "digits"}}, "targets": ["digits"]}
GRAPHS: dict[str, tuple[Any, dict[str, Any], list[str]]] = {
    "best": (dual_gating, {"recipe": "best"}, []),
    "thesis": (dual_gating, {}, ["table_6_1", "table_6_3", "question_1"]),
    "transfer": (dual_gating, {"transfer": TRANSFER}, ["table_6_2"]),
    "frontier": (dual_gating, {}, ["frontier", "best", "few_labels"]),
    "export": (dual_gating, {"recipe": "best", "inference": {"models": "all"}}, ["export"]),
    "chapter 5": (dynamic_channels, {}, ["consistency", "few_labels"]),
    "retrieval": (retrieval_eval, base("retrieval_eval"), []),
    "saliency": (saliency360, base("saliency360"), []),
    "prediction": (saliency360, base("saliency360"), ["predict", "export"]),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_layers_follow_each_other_as_nodes_do(name: str) -> None:
    """Kedro-Viz shows no layers at all where two of them follow each other in a circle."""
    pipeline, values, tags = GRAPHS[name]
    for node in pipeline.create_pipeline(values, tags).nodes:
        read = [one for one in node.inputs if not one.startswith("params:")]
        for written in node.outputs:
            late = [n for n in read if LAYERS.index(layer(n)) > LAYERS.index(layer(written))]
            assert not late, f"{node.name} makes {written} of {late}"
