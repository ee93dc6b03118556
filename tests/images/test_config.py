"""Data parameters and the list of sources."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from ssl_kedro.core.config import ConfigError
from ssl_kedro.images.load import DataConfig, image_source, source_names


def test_every_source_is_found_by_its_name() -> None:
    asked = {"textures", "digits", "folder", "npz", "cifar10", "cifar100", "stl10", "imagenet100"}
    assert asked <= set(source_names())
    assert all(DataConfig(source=name).source == name for name in asked)


def test_only_stl10_has_an_unlabelled_part() -> None:
    assert [name for name in source_names() if image_source(name).unlabelled] == ["stl10"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("source", "imagenet"),
        ("size", 7),
        ("size", 1025),
        ("size", 32.5),
        ("limit", 0),
        ("eval_limit", 0),
        ("eval_fraction", 0),
        ("eval_fraction", 1),
        ("generated", 0),
        ("generated_eval", 0),
        ("memory_limit_mb", 0),
        ("workers", -1),
        ("max_skipped", 1),
        ("max_skipped", -0.1),
    ],
)
def test_values_out_of_range(field: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        DataConfig(**{field: value})
    assert caught.value.field == field
    with pytest.raises(ValidationError, match=field):
        TypeAdapter(DataConfig).validate_python({field: value})


@pytest.mark.parametrize("source", ["textures", "digits"])
def test_root_for_a_source_without_files(source: str) -> None:
    with pytest.raises(ConfigError, match=f"source = {source} reads no files; give source"):
        DataConfig(source=source, root="photos")


def test_parameter_files_can_say_none() -> None:
    parsed = TypeAdapter(DataConfig).validate_python({"limit": None, "root": None, "size": 64})
    assert parsed == DataConfig(size=64)
