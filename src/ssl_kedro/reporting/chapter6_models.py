"""Names of chapter 6's models: "vicreg", "vicreg_gating.budget_30", "dual.budget_30"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Models = Mapping[str, Mapping[str, Any]]
Histories = Mapping[str, Sequence[Mapping[str, float]]]

SHORT_NAMES = {"vicreg": "VICReg", "vicreg_gating": "VICReg-Gating", "dual": "dual gating"}


def method_of(key: str) -> str:
    """First part of a key: "vicreg", "vicreg_gating" or "dual"."""
    return key.split(".", maxsplit=1)[0]


def budget_percent(key: str) -> int | None:
    """Budget in percent, None for the dense baseline."""
    return int(key.rsplit("_", 1)[1]) if ".budget_" in key else None


def budgets_of(keys: Iterable[str]) -> list[int]:
    """All budgets among the keys in percent, ascending."""
    return sorted({percent for key in keys if (percent := budget_percent(key)) is not None})


def budget_label(key: str) -> str:
    """Readable name: "dual.budget_30" -> "dual gating, 30 %"."""
    percent = budget_percent(key)
    return "VICReg (dense)" if percent is None else f"{SHORT_NAMES[method_of(key)]}, {percent} %"


def middle_dual_model(models: Models) -> tuple[str, Mapping[str, Any]]:
    """Key and evaluation of the dual model whose budget is nearest to 30 %."""
    dual = {key: model for key, model in models.items() if model["method"] == "dual_gating"}
    key = min(dual, key=lambda name: abs(dual[name]["budget"] - 0.3))
    return key, dual[key]
