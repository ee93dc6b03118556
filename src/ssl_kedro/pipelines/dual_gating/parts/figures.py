"""Figures 6.1 and 6.2, which need models and have no table."""

from __future__ import annotations

from ssl_kedro.pipelines.dual_gating.part import Part

PARTS = (Part("figure_6_1", ("dual",)), Part("figure_6_2", ("vicreg", "dual")))
