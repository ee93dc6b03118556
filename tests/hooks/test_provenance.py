"""Results of different recipes are not mixed, on a pipeline shaped like the real ones."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.io import DataCatalog, DatasetError, MemoryDataset
from kedro.pipeline import Pipeline, node
from kedro.runner import SequentialRunner

from ssl_kedro.datasets.files import WholeFileDataset
from ssl_kedro.datasets.sources import FrozenEncoderDataset, InitialEncoderDataset
from ssl_kedro.encoders.bundle import save_encoder
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.hooks import provenance
from ssl_kedro.hooks.project import mendable_message
from ssl_kedro.hooks.provenance import MixedResultsError, ProvenanceHook
from ssl_kedro.images.image_set import ImageSet

BASE = {
    "seed": 0,
    "encoder": {"width": 8},
    "train": {"epochs": 2, "workers": 1},
    "knn": {"k": 5},
    "report": "all",
}
MADE_FROM = {
    "own.a.encoder": ["seed", "encoder", "train"],
    "own.b.encoder": ["seed", "encoder", "train"],
    "own.a.evaluation": ["knn"],
    "own.b.evaluation": ["knn"],
}


def evaluate(parameters: Mapping[str, Any], encoder: Any, images: ImageSet) -> dict[str, Any]:
    return {"k": parameters["knn"]["k"], "width": encoder["width"], "images": len(images)}


def graph() -> Pipeline:
    """Two encoders, their evaluations, and a table of both."""
    made = []
    for model in ("a", "b"):
        made += [
            node(
                lambda parameters: dict(parameters["encoder"]),
                "params:own",
                f"own.{model}.encoder",
                name=f"train_{model}",
            ),
            node(
                evaluate,
                ["params:own", f"own.{model}.encoder", "own.images"],
                f"own.{model}.evaluation",
                name=f"evaluate_{model}",
            ),
        ]
    made.append(
        node(
            lambda origins, **found: {**found, "origins": origins},
            {"origins": "own.origins", "a": "own.a.evaluation", "b": "own.b.evaluation"},
            "own.table",
            name="table",
        )
    )
    return Pipeline(made)


@dataclass
class Room:
    """Runs of the pipeline that leave their results in one folder."""

    folder: Path
    images: ImageSet
    alone: tuple[str, ...] = ()

    def catalog(self, parameters: Mapping[str, Any]) -> DataCatalog:
        results = {
            name: WholeFileDataset(
                dataset={"type": "json.JSONDataset"},
                filepath=str(self.folder / f"{name}.json"),
                metadata={"made_from": MADE_FROM.get(name, []), "compared": name not in self.alone},
            )
            for name in graph().all_outputs()
        }
        memory = {"params:own": parameters, "own.images": self.images, "own.origins": {}}
        return DataCatalog(results | {name: MemoryDataset(v) for name, v in memory.items()})

    def run(
        self,
        *names: str,
        only_missing_outputs: bool = False,
        tags: Sequence[str] = (),
        **changes: Any,
    ) -> DataCatalog:
        """Nodes of these names, all without any."""
        catalog, hooks = self.catalog({**BASE, **changes}), _create_hook_manager()
        hooks.register(ProvenanceHook())
        chosen = graph().filter(node_names=names) if names else graph()
        run_params = {
            "pipeline_names": ["own"],
            "env": "cifar10",
            "tags": tags,
            "runtime_params": {"own": changes} if changes else {},
            "only_missing_outputs": only_missing_outputs,
        }
        hooks.hook.before_pipeline_run(run_params=run_params, pipeline=chosen, catalog=catalog)
        SequentialRunner().run(chosen, catalog, hooks, only_missing_outputs=only_missing_outputs)
        return catalog

    def table(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "own.table.json").read_text())
        return found


def images(value: int = 0) -> ImageSet:
    return ImageSet(np.full((4, 3, 8, 8), value, np.uint8), None, (), "made")


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    monkeypatch.setattr(provenance, "pipelines", {"own": graph()})
    return Room(tmp_path, images())


def test_parts_of_one_recipe_may_be_run_apart(room: Room) -> None:
    room.run()
    room.run("evaluate_a", "table")
    assert room.table()["a"]["width"] == 8


def test_an_encoder_of_another_width_is_not_compared_with_the_others(room: Room) -> None:
    room.run()
    before = room.table()
    room.run("train_b", encoder={"width": 4})
    with pytest.raises(MixedResultsError) as error:
        room.run("evaluate_b", "table")
    message = mendable_message(error.value)
    assert message is not None
    assert "own.encoder.width: 4 in own.b.encoder" in message
    assert "8 in this run" in message
    assert "kedro run --pipeline own --env cifar10 --from-nodes train_b\n" in message
    with pytest.raises(MixedResultsError, match=r"own\.encoder\.width: 8 in own\.a\.evaluation"):
        room.run("evaluate_b", "table", encoder={"width": 4})
    assert room.table() == before


@pytest.mark.parametrize(("tags", "kept"), [(["few"], "--tags few "), (["report"], "")])
def test_tags_that_add_nodes_are_named_again_and_those_that_leave_them_out_are_not(
    room: Room, monkeypatch: pytest.MonkeyPatch, tags: list[str], kept: str
) -> None:
    nodes = [one.tag("few") for one in graph().nodes]
    whole = Pipeline([one.tag("report") if one.name == "table" else one for one in nodes])
    monkeypatch.setattr(provenance, "pipelines", {"own": whole})
    room.run()
    room.run("train_b", encoder={"width": 4})
    with pytest.raises(MixedResultsError) as error:
        room.run("evaluate_b", "table", tags=tags)
    said = f"kedro run --pipeline own --env cifar10 {kept}--from-nodes train_b\n"
    assert said in str(error.value)


def test_the_command_that_is_named_makes_them_one(room: Room) -> None:
    room.run()
    room.run("train_b", encoder={"width": 4})
    room.run("train_b", "evaluate_b", "table")
    assert room.table()["b"]["width"] == 8


def test_a_result_that_is_compared_with_nothing_takes_what_it_is_given(room: Room) -> None:
    room.run()
    with pytest.raises(MixedResultsError):
        room.run("evaluate_a", encoder={"width": 4})
    replace(room, alone=("own.a.evaluation",)).run("evaluate_a", encoder={"width": 4})


def test_what_did_not_go_in_may_change(room: Room) -> None:
    room.run()
    room.run("evaluate_a", "evaluate_b", "table", knn={"k": 7})
    assert room.table()["a"]["k"] == room.table()["b"]["k"] == 7
    with pytest.raises(MixedResultsError, match=r"own\.knn\.k: 7 in own\.b\.evaluation"):
        room.run("evaluate_a", "table")
    room.run("table", knn={"k": 7}, report="little", train={"epochs": 2, "workers": 2})


def test_missing_outputs_alone_are_not_made_with_other_parameters(room: Room) -> None:
    room.run()
    with pytest.raises(MixedResultsError, match=r"own\.seed: 0 in own\.\w.*; 5 in this run"):
        room.run(only_missing_outputs=True, seed=5)
    (room.folder / "own.b.evaluation.json").unlink()
    room.run(only_missing_outputs=True)
    assert room.table()["b"]["width"] == 8


def test_results_of_other_images_are_refused_before_the_node_runs(room: Room) -> None:
    room.run()
    room.run("evaluate_a")
    other = Room(room.folder, images(1))
    other.run("evaluate_a")
    with pytest.raises(MixedResultsError, match=r"content of own\.images"):
        _both_with_images(other)


def _both_with_images(room: Room) -> None:
    """A node that is given the images beside what was made from others."""
    hook, catalog = ProvenanceHook(), room.catalog(BASE)
    table = graph().filter(node_names=["table"])
    hook.before_pipeline_run({"pipeline_names": ["own"]}, table, catalog)
    given = node(len, ["own.images", "own.b.evaluation"], "own.count")
    hook.before_node_run(given, {"own.images": room.images, "own.b.evaluation": {}})


def test_an_unknown_origin_is_allowed_and_shown(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    room.run()
    (room.folder / ".own.a.evaluation.json.origin.json").unlink()
    with caplog.at_level(logging.WARNING):
        room.run("table", encoder={"width": 8})
    assert "no word on what made them: own.a.evaluation" in caplog.text
    origins = room.table()["origins"]
    assert origins["own.a.evaluation"] == "unknown"
    assert origins["own.b.evaluation"].startswith("20")


def test_encoders_that_parameters_name_show_when_they_were_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = Room(tmp_path, images())
    monkeypatch.setattr(provenance, "pipelines", {"own": graph()})
    room.run()
    origin = json.loads((tmp_path / ".own.a.encoder.json.origin.json").read_text())
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle/origin.json").write_text(json.dumps(origin))
    (tmp_path / "published.pth").touch()
    encoders = {
        "ours": {"kind": "bundle", "file": str(tmp_path / "bundle")},
        "published": {"kind": "torchvision_resnet50", "file": str(tmp_path / "published.pth")},
        "pixels": {"kind": "pixels"},
    }
    datasets = {
        f"own.{name}.network": FrozenEncoderDataset(name=name, encoders=encoders)
        for name in encoders
    }
    reader = node(lambda *_: None, ["own.origins", *datasets], "own.seen", name="read")
    catalog = DataCatalog(datasets | {"own.origins": MemoryDataset({})})
    monkeypatch.setattr(provenance, "pipelines", {"own": Pipeline([reader])})
    ProvenanceHook().before_pipeline_run({"pipeline_names": ["own"]}, Pipeline([reader]), catalog)
    assert catalog.load("own.origins") == {
        "own.ours.network": origin["made"],
        "own.published.network": "unknown",
    }


def test_weights_to_begin_with_are_known_by_what_they_are(tmp_path: Path) -> None:
    marks = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        shape = EncoderConfig("cifar_pad1", 2)
        save_encoder(GatedResNet18(shape, branches=("dense",), image_size=8), tmp_path / "start")
        start = InitialEncoderDataset(encoder={"init": str(tmp_path / "start")}).load()
        marks.append(start.fingerprint)
    assert marks[0] == marks[1] != marks[2]
    hook = ProvenanceHook()
    node_of = node(lambda start: start, "own.start", "own.made")
    hook._catalog = DataCatalog({"own.made": MemoryDataset()})
    hook.before_node_run(node_of, {"own.start": start})
    assert hook._images == {"own.start": marks[2]}


def test_a_run_that_makes_everything_takes_nothing_over(room: Room) -> None:
    room.run()
    room.run()
    assert room.table()["origins"] == {}


def test_a_write_that_fails_leaves_no_origin(room: Room) -> None:
    room.run()
    kept = room.folder / ".own.b.encoder.json.origin.json"
    assert json.loads(kept.read_text())["node"] == "train_b"
    with pytest.raises(DatasetError, match="not JSON serializable"):
        room.run("train_b", encoder=_NOT_JSON)
    assert json.loads((room.folder / "own.b.encoder.json").read_text()) == BASE["encoder"]
    assert not kept.exists()


_NOT_JSON = {"width": {1, 2}}
