"""Every model of chapters 5 and 6: what trains it, and its name in tables and figures.

A model's key is its name, and its budget or width where it has one: "vicreg", "dual.budget_30",
"thin.width_9".
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar


@dataclass(frozen=True)
class Variant:
    """One row of a comparison, before budgets and seeds.

    Args:
        title: its name in tables and figures.
        method: name of the method that trains it.
        gated: whether it is trained once a budget, or once.
        student: whether it distils a teacher: among peers the dense baseline, else into the
            channels that dual gating learnt.
        gates: gate parameters that differ from the run's own.
        train: fields of its method's recipe that it has otherwise.
        options: options of its method that it has otherwise.
        ablation: gate parameters that the run's ``ablation`` has values for.
        widths: whether there is one of each width in ``frontier.widths``.
        derived: how it is cut from another encoder: "pruned" from the dense baseline, "narrowed"
            or "budgeted" from one that its method has trained for every width or budget; "" = it is
            trained itself.
    """

    title: str
    method: str
    gated: bool = True
    student: bool = False
    gates: Mapping[str, Any] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    ablation: tuple[str, ...] = ()
    widths: bool = False
    derived: Literal["", "pruned", "narrowed", "budgeted"] = ""

    @property
    def one_for_all(self) -> bool:
        """Whether its method trains one encoder, of which all networks are cut."""
        return self.derived in ("narrowed", "budgeted")


# Methods that stand beside VICReg in all three forms, and their names in tables.
FAMILIES = {
    "simsiam": "SimSiam",
    "byol": "BYOL",
    "simclr": "SimCLR",
    "moco_v2": "MoCo v2",
    "moco_v3": "MoCo v3",
    "barlow": "Barlow Twins",
    "wmse": "W-MSE",
    "dino": "DINO",
}


def _forms(family: str) -> dict[str, Variant]:
    """Plain, gated, dual."""
    title = FAMILIES[family]
    return {
        family: Variant(title, family, gated=False),
        f"{family}_gating": Variant(f"{title}, gated", f"{family}_gating"),
        f"{family}_dual": Variant(f"{title} dual", f"{family}_dual_gating"),
    }


_SIMSIAM = _forms("simsiam")
DYNAMIC_CHANNELS = {
    "simsiam": _SIMSIAM["simsiam"],
    "simsiam_gating": _SIMSIAM["simsiam_gating"],
    "simsiam_gating_consistent": Variant("SimSiam, alike", "simsiam_gating_consistent"),
}
DUAL_GATING = {
    "vicreg": Variant("VICReg", "vicreg", gated=False),
    "vicreg_gating": Variant("VICReg-Gating", "vicreg_gating"),
    "dual": Variant("dual gating", "dual_gating"),
    "two_encoders": Variant("two encoders", "two_encoders"),
    "without_invariance": Variant("no invariance", "without_invariance"),
    "simreg": Variant("SimReg", "simreg", student=True),
    "seed": Variant("SEED", "seed", student=True),
    "dense_anchored": Variant("dense anchor", "dense_anchored"),
    "channel_diversity": Variant("channel diversity", "dual_gating", ablation=("diversity",)),
    "dual_ascent": Variant("dual ascent", "dual_gating", gates={"steering": "dual_ascent"}),
    "rotnet_dual": Variant("RotNet dual", "rotnet_dual_gating"),
    "vicreg_gating_consistent": Variant("VICReg-Gating, alike", "vicreg_gating_consistent"),
    **{name: form for family in FAMILIES for name, form in _forms(family).items()},
}


def _peers(dense: str, gated: str, slim: str, nested: str) -> dict[str, Variant]:
    """What a user would take instead of a gated encoder.

    Args:
        dense: method of the ungated baseline.
        gated: method of the gated encoder.
        slim: method that trains one encoder for every width.
        nested: method that trains one encoder for every budget.
    """
    return {
        "thin": Variant("thin", dense, gated=False, widths=True),
        "distilled": Variant("distilled", "simreg", gated=False, student=True, widths=True),
        "learned_static": Variant("learned static", gated, gates={"input_dependent": False}),
        "slim": Variant("slim", slim, gated=False, widths=True, derived="narrowed"),
        "pruned": Variant("pruned", dense, derived="pruned"),
        "nested": Variant("nested", nested, gated=False, derived="budgeted"),
    }


DYNAMIC_CHANNELS_PEERS = _peers("simsiam", "simsiam_gating", "simsiam_slim", "simsiam_nested")
DUAL_GATING_PEERS = _peers("vicreg", "dual_gating", "slim", "nested")
PEERS = tuple(DUAL_GATING_PEERS)
_ALL = DYNAMIC_CHANNELS | DUAL_GATING | DUAL_GATING_PEERS


def gated_names(variants: Mapping[str, Variant]) -> tuple[str, ...]:
    """Names of the variants that learn gates; students take over what others have learnt."""
    return tuple(name for name, made in variants.items() if made.gated and not made.student)


def has_gates(key: str) -> bool:
    """Whether a model's encoder has gates, and so gated, static and dense networks."""
    variant = variant_of(key)
    if variant is None:
        return budget_percent(key) is not None
    return variant.gated and not variant.student and not variant.derived


def variant_of(key: str) -> Variant | None:
    """What a model is, or what a further one ("thin-longer") is named after; None = from elsewhere.

    Methods are chapter 6's.
    """
    return _ALL.get(name_of(key).partition("-")[0])


def title_of(name: str) -> str:
    """Name in tables and figures; that of a model from elsewhere in words."""
    base, _, word = name.partition("-")
    title = _ALL[base].title if base in _ALL else base.replace("_", " ")
    return f"{title}, {word.replace('_', ' ')}" if word else title


def capitalised_title(name: object, _: float = 0.0) -> str:
    """The title as a table's cell starts with it."""
    title = title_of(str(name))
    return title[0].upper() + title[1:]


def name_of(key: str) -> str:
    """First part of a key: "dual.budget_30" -> "dual"."""
    return key.split(".", maxsplit=1)[0]


def budget_percent(key: str) -> int | None:
    """Budget in percent, None for a dense model."""
    return int(key.rsplit("_", 1)[1]) if ".budget_" in key else None


def width_of(key: str) -> int | None:
    """Width in channels of a narrower network, None for others."""
    return int(key.rsplit("_", 1)[1]) if ".width_" in key else None


def budgets_of(keys: Iterable[str]) -> list[int]:
    """All budgets among the keys in percent, ascending."""
    return sorted({percent for key in keys if (percent := budget_percent(key)) is not None})


def in_table_order(keys: Iterable[str]) -> list[str]:
    """Names of the models among the keys, once each, as they are declared."""
    present = dict.fromkeys(name_of(key) for key in keys)
    return [name for name in dict.fromkeys((*_ALL, *present)) if name in present]


def label_of(key: str) -> str:
    """Readable name: "dual.budget_30" -> "dual gating, 30 %", "thin.width_9" -> "thin, width 9"."""
    percent, width = budget_percent(key), width_of(key)
    title = title_of(name_of(key))
    if width is not None:
        return f"{title}, width {width}"
    return f"{title} (dense)" if percent is None else f"{title}, {percent} %"


M = TypeVar("M")


def dual_models(models: Mapping[str, M]) -> dict[str, M]:
    """Plain dual gating at every budget; other models may share its method."""
    return {key: model for key, model in models.items() if name_of(key) == "dual"}


def middle_dual_key(models: Mapping[str, Any]) -> str | None:
    """Key of the dual model whose budget is nearest to 30 %, if there is one."""
    return min(
        dual_models(models), key=lambda key: abs((budget_percent(key) or 0) - 30), default=None
    )
