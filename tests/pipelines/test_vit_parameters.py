"""What a vision transformer cannot do is refused before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from ssl_kedro.core.config import ConfigError
from ssl_kedro.encoders.factory import encoder_setup
from ssl_kedro.encoders.gated_vit import ViTConfig
from ssl_kedro.gating.budget import GateConfig
from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters
from ssl_kedro.pipelines.dual_gating.pipeline import create_pipeline
from ssl_kedro.pipelines.dynamic_channels import parameters as chapter_5
from ssl_kedro.pipelines.dynamic_channels import pipeline as pipeline_5
from ssl_kedro.pipelines.gated.given_encoder import shaped
from ssl_kedro.pipelines.parameters import ParameterError, parsed

CONF = Path(__file__).parents[2] / "conf" / "base"
SHAPE = {"architecture": "vit_tiny", "width": 64, "patch": 8, "depth": 2}
WORKS: dict[str, Any] = {"recipe": "authors", "encoder": SHAPE, "inference": {"models": None}}


def parameters(
    changes: dict[str, Any], kind: Any = DualGatingParameters, key: str = "dual_gating"
) -> Any:
    """Those of the base configuration with changes, nested ones key by key."""
    text = (CONF / f"parameters_{key}.yml").read_text()
    values = yaml.safe_load(text)[key]
    for name, value in {**WORKS, **changes}.items():
        values[name] = {**values[name], **value} if isinstance(value, dict) else value
    return parsed(kind, key, values)


def test_a_run_of_the_thesis_encoders_can_be_of_it() -> None:
    found = parameters({})
    assert found.encoder == ViTConfig(width=64, patch=8, depth=2)
    # The patches' embedding and the gates alone cost more than a tenth of two blocks.
    assert found.gated_budgets == (0.3, 0.5)
    names = {node.name for node in create_pipeline(found).nodes}
    assert any("pretrain_dual_budget_30" in name for name in names)
    key = "dynamic_channels"
    other = parameters({}, chapter_5.DynamicChannelsParameters, key)
    assert pipeline_5.create_pipeline(other).nodes


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"encoder": {**SHAPE, "width": 8}}, "encoder.width = 8: expected a multiple of 64"),
        (
            {"inference": {"models": "all", "engines": "native"}},
            r"inference.engines = \['native'\]: expected one that computes a vit_tiny, such as",
        ),
        ({"data": {"size": 36}}, "data.size = 36: expected a multiple of the encoder's patch, 8"),
        ({"views": {"size": 20}}, "views.size = 20: expected a multiple of the encoder's patch, 8"),
    ],
)
def test_parameters_that_cannot_be(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        parameters(changes)


@pytest.mark.parametrize(
    ("changes", "tags", "words"),
    [
        (
            {"recipe": "best"},
            (),
            r"'vit_tiny': expected a ResNet \(.*\), which alone can be cut, or recipe",
        ),
        (
            {},
            ("frontier",),
            r"without slim, pruned, nested: thin;distilled;learned_static$",
        ),
        ({"frontier": {"models": "pruned"}}, ("frontier",), "without pruned: none$"),
        (
            {"frontier": {"models": "thin"}},
            ("frontier",),
            r"frontier.widths = .*a multiple of 64",
        ),
        ({}, ("export",), "the models to export"),
    ],
)
def test_graphs_that_cannot_be(changes: dict[str, Any], tags: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        create_pipeline(parameters(changes), tags)
    with pytest.raises(ConfigError, match=words):
        found = parameters(changes, chapter_5.DynamicChannelsParameters, "dynamic_channels")
        pipeline_5.create_pipeline(found, tags)


def test_its_networks_are_timed_exported_and_compared_with_peers() -> None:
    timed = {"inference": {"models": "all"}, "encoder": {**SHAPE, "width": 192}}
    names = {node.name for node in create_pipeline(parameters(timed), ("export",)).nodes}
    assert any("export_dual_budget_30" in name for name in names)
    several = timed | {"frontier": {"models": "thin;distilled;learned_static", "widths": "0.3333"}}
    names = {node.name for node in create_pipeline(parameters(several), ("frontier",)).nodes}
    for peer in ("thin_width_64", "distilled_width_64", "learned_static_budget_30"):
        assert any(f"inference_{peer}" in name for name in names), sorted(names)


def test_an_encoder_that_is_given_is_timed_by_engines_that_compute_it() -> None:
    torch.manual_seed(0)
    setup = encoder_setup("vit_tiny", image_size=16, width=64, depth=1)
    encoder = setup.build(("dense",), GateConfig())
    resnet = {"encoder": {"architecture": "resnet18"}}
    of_all = parameters(resnet | {"inference": {"models": "all"}})
    assert shaped(of_all, encoder).encoder == setup.config
    native = parameters(resnet | {"inference": {"models": "all", "engines": "native"}})
    with pytest.raises(ConfigError, match="kernel computes residual networks"):
        shaped(native, encoder)
