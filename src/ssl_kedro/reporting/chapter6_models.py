"""Names of chapter 6's models: "vicreg", "vicreg_gating.budget_30", "dual.budget_30"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Models = Mapping[str, Mapping[str, Any]]
Histories = Mapping[str, Sequence[Mapping[str, float]]]

# Every model of the chapter, in the order of its tables.
SHORT_NAMES = {
    "vicreg": "VICReg",
    "vicreg_gating": "VICReg-Gating",
    "dual": "dual gating",
    "simreg": "SimReg",
    "seed": "SEED",
    "barlow_dual": "Barlow Twins dual",
    "two_encoders": "two encoders",
    "without_invariance": "no invariance",
    "dense_anchored": "dense anchor",
    "channel_diversity": "channel diversity",
    "simsiam_dual": "SimSiam dual",
    "byol_dual": "BYOL dual",
    "dual_ascent": "dual ascent",
    "simsiam": "SimSiam",
    "simsiam_gating": "SimSiam, gated",
}


def method_of(key: str) -> str:
    """First part of a key, a name among SHORT_NAMES: "dual.budget_30" -> "dual"."""
    return key.split(".", maxsplit=1)[0]


def budget_percent(key: str) -> int | None:
    """Budget in percent, None for the dense baseline."""
    return int(key.rsplit("_", 1)[1]) if ".budget_" in key else None


def budgets_of(keys: Iterable[str]) -> list[int]:
    """All budgets among the keys in percent, ascending."""
    return sorted({percent for key in keys if (percent := budget_percent(key)) is not None})


def in_table_order(keys: Iterable[str]) -> list[str]:
    """The models among the keys, once each, as SHORT_NAMES orders them."""
    present = {method_of(key) for key in keys}
    return [name for name in SHORT_NAMES if name in present]


def budget_label(key: str) -> str:
    """Readable name: "dual.budget_30" -> "dual gating, 30 %"."""
    percent = budget_percent(key)
    name = SHORT_NAMES[method_of(key)]
    return f"{name} (dense)" if percent is None else f"{name}, {percent} %"


def middle_dual_model(models: Models) -> tuple[str, Mapping[str, Any]] | None:
    """Key and evaluation of the dual model whose budget is nearest to 30 %, if there is one."""
    dual = dual_models(models)
    if not dual:
        return None
    key = min(dual, key=lambda name: abs(dual[name]["budget"] - 0.3))
    return key, dual[key]


def dual_models(models: Models) -> dict[str, Mapping[str, Any]]:
    """Plain dual gating at every budget; other models may share its method."""
    return {key: model for key, model in models.items() if method_of(key) == "dual"}
