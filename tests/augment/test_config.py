from __future__ import annotations

from typing import Any

import pytest

from ssl_kedro.augment.config import ViewConfig
from ssl_kedro.core.config import ConfigError


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("crop_scale", (0.5, 0.2)),
        ("crop_scale", (0.0, 1.0)),
        ("crop_scale", (0.2, 1.1)),
        ("crop_ratio", (1.5, 0.5)),
        ("crop_ratio", (-1.0, 1.0)),
        ("size", 0),
        ("interpolation", "nearest"),
        ("flip", 1.5),
        ("jitter", -0.1),
        ("brightness", -0.1),
        ("hue", 0.6),
        ("grey", float("nan")),
        ("solarize", 2.0),
        ("noise", -1.0),
        ("blur", 1.1),
        ("blur_sigma", (2.0, 0.1)),
        ("blur_sigma", (0.0, 1.0)),
        ("blur_kernel", 4),
        ("blur_kernel", 1),
    ],
)
def test_value_outside_its_range_names_the_field(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=field):
        ViewConfig(**{field: value})


def test_defaults_are_the_recipe_of_the_thesis() -> None:
    config = ViewConfig()
    assert config.crop_scale == (0.2, 1.0)
    assert (config.brightness, config.contrast, config.saturation, config.hue) == (
        0.4,
        0.4,
        0.2,
        0.1,
    )
    assert (config.flip, config.jitter, config.grey, config.solarize) == (0.5, 0.8, 0.2, 0.1)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"jitter": 0.0, "grey": 0.0}, False),
        ({"jitter": 0.0}, True),
        ({"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0, "grey": 0.0}, False),
        ({"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "grey": 0.0}, True),
    ],
)
def test_changes_colour(changes: dict[str, float], expected: bool) -> None:
    assert ViewConfig(**changes).changes_colour is expected  # type: ignore[arg-type]


def test_crops_alone_are_resized_as_the_recipe_says() -> None:
    config = ViewConfig(interpolation="bicubic", crop_scale=(0.3, 0.9), flip=0.25, blur=0.5)
    crops = config.geometry
    assert (crops.interpolation, crops.crop_scale, crops.flip) == ("bicubic", (0.3, 0.9), 0.25)
    assert (crops.jitter, crops.grey, crops.solarize, crops.blur) == (0, 0, 0, 0)
