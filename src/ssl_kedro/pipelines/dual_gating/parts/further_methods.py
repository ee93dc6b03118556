"""Further methods, each plain, gated and dual, beside VICReg in the same forms."""

from collections.abc import Iterator
from dataclasses import replace

from ssl_kedro.pipelines.dual_gating.part import BUDGET, MODEL, SEEDS, Part, measured
from ssl_kedro.pipelines.dual_gating.row import Row, each_model
from ssl_kedro.pipelines.gated.variants import DUAL_GATING, FAMILIES

_VICREG = ("vicreg", "vicreg_gating", "dual")
_DENSE, _GATED = "Dense branch", "Gated branch"
_COLUMNS = (
    MODEL,
    BUDGET,
    SEEDS,
    *measured("dense_linear", "linear_top1", "dense", "Linear", _DENSE),
    *measured("dense_knn", "knn_top1", "dense", "1-NN", _DENSE),
    *measured("gated_linear", "linear_top1", "gated", "Linear", _GATED),
    *measured("gated_knn", "knn_top1", "gated", "1-NN", _GATED),
    *measured("flop_reduction", "flop_reduction", "gated", "FLOP reduction", _GATED),
)


def _part(name: str, title: str, *further: str) -> Part:
    """VICReg's three forms, and further models."""
    models = (*_VICREG, *further)

    def rows(row: Row) -> Iterator[Row]:
        for one in each_model(row, models):
            yield replace(one, branch="gated" if DUAL_GATING[one.model].gated else "dense")

    return Part(f"method_{name}", models, title, _COLUMNS, ("", _DENSE, _GATED), rows=rows)


PARTS = (
    *(
        _part(
            family,
            f"{title}: plain, gated and dual",
            *(f"{family}{form}" for form in ("", "_gating", "_dual")),
        )
        for family, title in FAMILIES.items()
    ),
    _part("consistent", "Gates that decide alike for two views", "vicreg_gating_consistent"),
)
