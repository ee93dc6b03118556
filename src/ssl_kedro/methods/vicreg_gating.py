"""VICReg with both views gated: the gated baseline of chapter 6 (Baseline-2)."""

from ssl_kedro.methods.vicreg import VICReg


class VICRegGating(VICReg):
    """Both views through the gated branch; one set of batch norms, L_G on each view."""

    name = "vicreg_gating"
    view_branches = ("gated", "gated")
