from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from ssl_kedro.augment.config import ViewConfig
from ssl_kedro.augment.views import RandomViews, SeveralViews
from ssl_kedro.encoders.factory import EncoderSetup
from ssl_kedro.encoders.gated_resnet import EncoderConfig
from ssl_kedro.methods.base import ExpanderConfig, Method, MethodConfig
from ssl_kedro.methods.plan import MethodPlan
from ssl_kedro.training.batches import BatchSource


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 3, 16, 16), dtype=np.uint8)


@pytest.fixture
def source(images: np.ndarray) -> BatchSource:
    return BatchSource(images, 8, torch.device("cpu"), seed=3)


@pytest.fixture
def views() -> SeveralViews:
    return SeveralViews(RandomViews(ViewConfig()))


@pytest.fixture
def new_method() -> Callable[[], Method]:
    setup = EncoderSetup(EncoderConfig(width=4), 16, (0.5,) * 3, (0.25,) * 3)
    config = MethodConfig(expander=ExpanderConfig(16, 16))
    return lambda: MethodPlan("dual_gating", setup, config, 0.5, seed=3).build()
