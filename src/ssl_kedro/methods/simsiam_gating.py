"""SimSiam with both views gated: dynamic channel selection (thesis chapter 5)."""

from ssl_kedro.methods.simsiam import SimSiam


class SimSiamGating(SimSiam):
    """Both views through the gated branch; one set of batch norms, L_G on each view."""

    name = "simsiam_gating"
    view_branches = ("gated", "gated")
