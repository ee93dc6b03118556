"""Dual gating without the invariance term (thesis Table 6.6): collapses, and shows why."""

from __future__ import annotations

import dataclasses

from ssl_kedro.encoders.factory import EncoderSetup
from ssl_kedro.methods.base import MethodConfig, options_of
from ssl_kedro.methods.dual_gating import DualGating
from ssl_kedro.methods.vicreg import VICRegOptions


class WithoutInvariance(DualGating):
    """Dual gating whose views are regularised but never compared."""

    name = "without_invariance"

    def __init__(self, setup: EncoderSetup, config: MethodConfig, budget: float | None) -> None:
        vicreg = dataclasses.replace(options_of(config, VICRegOptions).vicreg, invariance=0.0)
        super().__init__(setup, dataclasses.replace(config, options=VICRegOptions(vicreg)), budget)
