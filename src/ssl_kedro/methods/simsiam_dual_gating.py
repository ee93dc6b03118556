"""SimSiam in the dual setting (the thesis' third open question)."""

from ssl_kedro.methods.simsiam import SimSiam


class SimSiamDualGating(SimSiam):
    """View 1 gated, view 2 dense; each predicts the other."""

    name = "simsiam_dual_gating"
    view_branches = ("gated", "dense")
