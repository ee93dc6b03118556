"""``encoder.init``: trained weights that a run's encoders begin with."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torchvision
from kedro.io import DatasetError

from conftest import Project
from ssl_kedro.core.config import ConfigError
from ssl_kedro.datasets.sources import InitialEncoderDataset
from ssl_kedro.encoders.bundle import save_bundle, save_encoder
from ssl_kedro.encoders.frozen import InitialWeights
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.encoders.importers import import_weights
from ssl_kedro.encoders.panorama_encoder import PanoramaEncoder, PanoramaEncoderConfig
from ssl_kedro.pipelines import dual_gating, dynamic_channels
from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters
from ssl_kedro.pipelines.gated.report.page import _recipe
from ssl_kedro.pipelines.parameters import ParameterError, parsed

BOTH = pytest.mark.parametrize(
    ("pipeline", "dense"), [(dual_gating, "vicreg"), (dynamic_channels, "simsiam")]
)


def starts(made: Any) -> dict[str, str]:
    """What each training, and the choice of how to compute, begins with."""
    return {
        str(node.namespace or node.name): name
        for node in made.nodes
        if isinstance(node._inputs, dict)
        for argument, name in node._inputs.items()
        if argument in ("start", "start_0", "start_1")
    }


@BOTH
def test_all_encoders_of_the_run_s_width_begin_with_a_file(
    pipeline: ModuleType, dense: str
) -> None:
    name = pipeline.__name__.rpartition(".")[2]
    values = {"encoder": {"width": 16, "init": "some/folder"}, "budgets": [0.3]}
    made = pipeline.create_pipeline(values, ("frontier",))
    begun = starts(made)
    assert set(begun.values()) == {f"{name}.start"}
    # Narrower networks have other shapes, and students are taught instead.
    assert {f"{name}.{dense}", f"{name}.nested", f"{name}.slim", name} <= set(begun)
    assert not [of for of in begun if "thin" in of or "distilled" in of]
    assert not starts(pipeline.create_pipeline({"encoder": {"width": 16}}, ()))


def test_a_method_begins_otherwise_than_the_run() -> None:
    own = {"methods": {"nested": {"init": "dual_gating.vicreg.encoder"}}}
    made = dual_gating.create_pipeline({"encoder": {"width": 16}, **own}, ("frontier",))
    assert starts(made) == {"dual_gating.nested": "dual_gating.vicreg.encoder"}
    parameters = DualGatingParameters.model_validate(own)
    assert parameters.begins_with_dense("nested")
    assert not parameters.begins_with_dense("slim")
    with pytest.raises(ConfigError, match=r"methods\.nested\.init = 'dual_gating\.vicreg\.enc"):
        parameters.check_missing("dual_gating.vicreg.encoder")


@pytest.mark.parametrize(
    ("values", "tags", "words"),
    [
        (
            {"encoder": {"init": "dual_gating.budget_30.vicreg_gating.encoder"}, "budgets": [0.3]},
            (),
            "expected an encoder of the run's own width that is trained dense",
        ),
        (
            {"encoder": {"width": 16, "init": "dual_gating.width_9.thin.encoder"}},
            ("frontier",),
            "expected an encoder of the run's own width that is trained dense",
        ),
        (
            {
                "encoder": {"init": "dual_gating.budget_30.encoder"},
                "budgets": [0.3],
                "methods": {"dual_gating": {"init": "dual_gating.vicreg.encoder"}},
            },
            (),
            "expected no circle",
        ),
    ],
)
def test_starts_that_cannot_be_are_refused_before_anything_runs(
    values: dict[str, Any], tags: tuple[str, ...], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        dual_gating.create_pipeline(values, tags)


def test_the_page_says_who_began_with_what() -> None:
    values = {"methods": {"dual_gating": {"init": "dual_gating.vicreg.encoder"}}}
    parameters = DualGatingParameters.model_validate(values)
    said = _recipe(parameters, ["vicreg", "dual.budget_30", "vicreg_gating.budget_30"])
    assert "Began with the weights of dual_gating.vicreg.encoder: dual gating. Epochs" in said
    values = {"encoder": {"init": "dual_gating.vicreg.encoder"}}
    parameters = DualGatingParameters.model_validate(values)
    said = _recipe(parameters, ["vicreg", "nested", "simreg.budget_30", "thin.width_9"])
    assert "of dual_gating.vicreg.encoder: nested. Epochs" in said


def test_what_the_run_trains_itself_is_begun_with_seed_by_seed() -> None:
    values = {"encoder": {"width": 16, "init": "dual_gating.vicreg.encoder"}, "recipe": "best"}
    made = dual_gating.create_pipeline({**values, "repeats": 2}, ())
    assert starts(made) == {
        "dual_gating.nested": "dual_gating.vicreg.encoder",
        "dual_gating.nested.seed_1": "dual_gating.vicreg.seed_1.encoder",
    }


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, None),
        ("dual_gating.vicreg.encoder", "dual_gating.vicreg.encoder"),
        ("weights/vicreg", InitialWeights("weights/vicreg")),
        ("s3://bucket/vicreg", InitialWeights("s3://bucket/vicreg")),
        (
            {"kind": "torchvision_resnet18", "file": "resnet18.pth"},
            InitialWeights("resnet18.pth", "torchvision_resnet18"),
        ),
    ],
)
def test_a_path_a_file_or_a_name_is_told_and_written_as_files_have_it(
    given: Any, expected: Any
) -> None:
    parameters = DualGatingParameters.model_validate({"encoder": {"init": given}})
    assert parameters.init == expected
    again = parameters.model_dump(mode="json")
    assert (again["encoder"]["init"] is None) == (given is None)
    assert DualGatingParameters.model_validate(again) == parameters


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"encoder": {"init": 7}},
            r"encoder\.init = 7: expected a path with a slash",
        ),
        ({"encoder": {"init": {"kind": "vgg", "file": "a"}}}, r"init\.kind = 'vgg': expected one"),
        ({"encoder": {"init": {"file": ""}}}, r"init\.file = '': expected a path"),
        ({"encoder": {"init": {"path": "a"}}}, r"init\.path: there is no such key; .*file, kind"),
        ({"init": "a/b"}, "did you mean 'encoder.init'"),
        ({"encoder": {"inti": "a/b"}}, "did you mean 'init'"),
        (
            {"encoder": {"init": "dual_gating.metrics"}},
            "or the catalog name of an encoder",
        ),
        (
            {"methods": {"simreg": {"init": "a.encoder"}}},
            r"simreg\.init = .*: expected null",
        ),
        ({"methods": {"nested": {"init": "a.metrics"}}}, r"methods\.nested\.init"),
        ({"frontier": {"variants": {"thin-x": {"init": "a.encoder"}}}}, "there is no such key"),
        (
            {"recipes": {"text": {"encoder": {"init": "a/b"}}}},
            r"recipes\.text\.encoder\.init = .*: expected a catalog name; files are named in enc",
        ),
    ],
)
def test_what_names_no_weights_is_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        parsed(DualGatingParameters, "dual_gating", values)


def test_what_is_not_there_is_named_with_where_it_comes_from(tmp_path: Path) -> None:
    init = {"kind": "solo_learn", "file": str(tmp_path / "a.ckpt")}
    assert not InitialEncoderDataset(encoder={"init": init}).exists()
    parameters = DualGatingParameters.model_validate({"encoder": {"init": init}})
    with pytest.raises(
        ConfigError, match=r"init\.file = .*, from https://github\.com/vturrisi/solo-learn"
    ):
        parameters.check_missing("dual_gating.start")
    parameters = DualGatingParameters.model_validate({"encoder": {"init": "my.encoder"}})
    with pytest.raises(ConfigError, match=r"encoder\.init = 'my\.encoder': expected a path with"):
        parameters.check_missing("my.encoder")


def test_the_dataset_gives_an_encoder_from_bundles_and_published_files(tmp_path: Path) -> None:
    shape = EncoderConfig("imagenet", 64)
    own = GatedResNet18(shape, branches=("dense",), image_size=32)
    save_encoder(own, tmp_path / "bundle")
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "resnet18.pth")
    published = {"kind": "torchvision_resnet18", "file": str(tmp_path / "resnet18.pth")}
    for init in (str(tmp_path / "bundle"), published):
        found = InitialEncoderDataset(encoder={"init": init}).load()
        assert isinstance(found, GatedResNet18)
        assert found.config == shape
    torch.save(torchvision.models.resnet50().state_dict(), tmp_path / "resnet50.pth")
    network, report = import_weights("torchvision_resnet50", tmp_path / "resnet50.pth")
    save_bundle(network, tmp_path / "maps", report)
    bottlenecks = InitialEncoderDataset(encoder={"init": str(tmp_path / "maps")}).load()
    assert isinstance(bottlenecks, GatedResNet18)
    assert (bottlenecks.config.block, bottlenecks.config.stages) == ("bottleneck", (3, 4, 6, 3))
    save_bundle(PanoramaEncoder(PanoramaEncoderConfig(width=0.1)), tmp_path / "other")
    other = InitialEncoderDataset(encoder={"init": str(tmp_path / "other")})
    with pytest.raises(
        DatasetError, match="found PanoramaEncoder; expected an encoder whose shape"
    ):
        other.load()


def test_a_run_begins_with_its_own_dense_encoder_and_another_with_what_that_left(
    project: Project,
) -> None:
    done = project.run({"encoder.init": "dual_gating.vicreg.encoder", "train.epochs": 2})
    assert done.returncode == 0, done.stdout + done.stderr
    assert (
        "Began with the weights of dual_gating.vicreg.encoder"
        in (project.results / "report.html").read_text()
    )
    losses = {
        name: json.loads((project.path / f"data/06_models/{name}/training.json").read_text())
        for name in ("dual_gating.vicreg", "dual_gating.budget_50")
    }
    assert all(len(found["history"]) == 2 for found in losses.values())
    folder = project.path / "data/06_models/dual_gating.vicreg/encoder"
    kept = folder.rename(project.path / "kept")
    wrong = project.run({"encoder.init": str(kept), "encoder.width": 8})
    assert wrong.returncode
    assert "found width 4 for 8" in wrong.stdout + wrong.stderr
    again = project.run({"encoder.init": str(kept), "train.epochs": 1})
    assert again.returncode == 0, again.stdout + again.stderr
    row = json.loads(
        (project.path / "data/06_models/dual_gating.vicreg/training.json").read_text()
    )["history"][0]
    # Better at once than random weights were after their first epoch.
    assert row["loss"] < losses["dual_gating.vicreg"]["history"][0]["loss"]
