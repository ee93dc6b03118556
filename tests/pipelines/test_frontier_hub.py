"""What is to be deployed as a folder of the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from ssl_kedro.core.config import ConfigError
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.inference.compact import dense_network
from ssl_kedro.inference.export import export_bundle
from ssl_kedro.inference.plain_module import load
from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters
from ssl_kedro.pipelines.gated.frontier.hub import export_hub, model_card
from ssl_kedro.pipelines.gated.inference.records import Deployment, Export
from ssl_kedro.pipelines.parameters import ParameterError, parsed

PARAMETERS = DualGatingParameters.model_validate(
    {
        "methods": {"nested": {"train": {"epochs": 12}}},
        "train": {"epochs": 17},
        "views": {"size": 24},
    }
)
MANIFEST: dict[str, Any] = {
    "data": {
        "source": "textures",
        "image_size": 32,
        "class_names": ["a", "b"],
        "images": {"train": 2000, "eval": 1000},
    },
    "parameters": PARAMETERS.as_written,
}


def point(model: str, ms: float, linear: float, **changes: Any) -> dict[str, Any]:
    made = {"model": model, "network": "static", "precision": "f32", "cost_share": 0.32}
    made |= {"linear": linear, "knn": linear - 10, "batch": 1, "engine": "native"}
    return made | {"fastest": True, "offered": "", "ms_per_image": ms} | changes


TABLE = pd.DataFrame(
    [
        point("nested.budget_32", 0.2, 90.0),
        point("thin.width_9", 0.3, 89.0),  # slower and worse
        point("vicreg", 0.5, 95.0, network="dense"),
        point("vicreg", 0.1, 99.0, network="dense", precision="int8", offered=None),
        point("vicreg", 0.1, 99.0, network="dense", fastest=False),
        point("vicreg", 0.01, 99.0, network="dense", batch=32),
    ]
)


def test_the_card_says_how_it_was_trained_and_shows_the_front() -> None:
    chosen = Deployment("Deploy it.", "nested.budget_32", "static", "f32")
    card = model_card(chosen, "nested", TABLE, MANIFEST, "mit")
    assert card.title == "nested, 32 %, static: features of textures"
    assert card.summary.startswith("Deploy it.")
    assert card.data == "textures: images of 32 px, 2 classes; 2,000 for train, 1,000 for eval."
    assert card.recipe["method"] == "nested"
    assert card.recipe["train.epochs"] == "17"
    assert card.recipe["nested.train.epochs"] == "12"
    assert card.recipe["views.size"] == "24"
    # Neither other methods' fields nor those that only say how the machine was used.
    assert not [n for n in card.recipe if "simreg" in n or n in ("train.resume", "train.device")]
    _, *rows = card.figures["Accuracy against time"]
    assert [(row[0], row[3], row[5]) for row in rows] == [
        ("nested, 32 %, static", "90.0", "0.2"),
        ("VICReg (dense), dense", "95.0", "0.5"),
    ]


def test_without_labels_all_networks_stand_by_time() -> None:
    table = TABLE.assign(linear=float("nan"), knn=float("nan"))
    card = model_card(Deployment("", "vicreg", "dense"), "vicreg", table, MANIFEST, "mit")
    assert len(card.figures["Accuracy against time"]) == 4


def exported(folder: Path, network: str) -> tuple[Deployment, dict[str, Export], GatedResNet18]:
    torch.manual_seed(0)
    encoder = GatedResNet18(EncoderConfig("cifar_pad1", 4), branches=("dense",), image_size=32)
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8).numpy()
    report = export_bundle(dense_network(encoder.eval()), folder / "dense_kernel", images)
    files: dict[str, Any] = {"dense_kernel": report}
    chosen = Deployment("Deploy it.", "vicreg", network, "int8")
    return chosen, {"vicreg": Export(str(folder), files, None)}, encoder


def test_the_network_to_deploy_is_written(tmp_path: Path) -> None:
    chosen, exports, encoder = exported(tmp_path, "dense")
    found = export_hub(PARAMETERS, chosen, exports, TABLE, MANIFEST, tmp_path / "hub")
    assert found.file is not None and found.file.difference == 0
    assert (found.why, found.sent) == ("", "")
    images = torch.rand(2, 3, 32, 32)
    expected = encoder.dense(images)
    torch.testing.assert_close(load(tmp_path / "hub")(images), expected, rtol=1e-4, atol=1e-4)
    assert "license: other" in (tmp_path / "hub/README.md").read_text()


def test_it_is_sent_where_a_repository_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = []

    def push(folder: Path, repository: str) -> str:
        sent.append((folder, repository, (folder / "README.md").is_file()))
        return "address"

    monkeypatch.setattr("ssl_kedro.pipelines.gated.frontier.hub.push_to_hub", push)
    chosen, exports, _ = exported(tmp_path, "dense")
    values = {"hub": {"repository": "me/model", "licence": "mit"}}
    parameters = DualGatingParameters.model_validate(values)
    found = export_hub(parameters, chosen, exports, TABLE, MANIFEST, tmp_path / "hub")
    assert sent == [(tmp_path / "hub", "me/model", True)]
    assert found.sent == "address"
    assert "license: mit" in (tmp_path / "hub/README.md").read_text()


def test_what_cannot_be_written_says_why(tmp_path: Path) -> None:
    chosen, exports, _ = exported(tmp_path, "gated")
    found = export_hub(PARAMETERS, chosen, exports, TABLE, MANIFEST, tmp_path / "hub")
    assert found.file is None
    assert "looks at each image" in found.why
    assert not (tmp_path / "hub").exists()
    with pytest.raises(ConfigError, match=r"deployment\.model = 'no labels': expected one of"):
        export_hub(PARAMETERS, Deployment("no labels"), exports, TABLE, MANIFEST, tmp_path / "hub")


@pytest.mark.parametrize(("field", "value"), [("repository", "no slash"), ("licence", "M I T")])
def test_names_that_no_hub_takes_are_refused(field: str, value: str) -> None:
    with pytest.raises(ParameterError, match=rf"hub\.{field} = '{value}'"):
        parsed(DualGatingParameters, "dual_gating", {"hub": {field: value}})
