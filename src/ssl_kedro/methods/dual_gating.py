"""VICReg dual gating (chapter 6, BMVC 2023): one encoder, trained once, dense and gated."""

from ssl_kedro.methods.vicreg import VICReg


class DualGating(VICReg):
    """View 1 through the gated branch, view 2 through the dense one; L_G on the gated view."""

    name = "dual_gating"
    view_branches = ("gated", "dense")
