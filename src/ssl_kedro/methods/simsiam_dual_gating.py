"""SimSiam in the dual setting (the thesis' third open question)."""

from __future__ import annotations

from typing import ClassVar

from ssl_kedro.encoders.base import Branch
from ssl_kedro.methods.simsiam import SimSiam


class SimSiamDualGating(SimSiam):
    """View 1 gated, view 2 dense; each predicts the other."""

    name = "simsiam_dual_gating"
    view_branches: ClassVar[tuple[Branch, Branch]] = ("gated", "dense")
