"""What methods need to run on batches of a few images."""

from __future__ import annotations

from ssl_kedro.core.config import Config
from ssl_kedro.methods.base import TwoViewMethod
from ssl_kedro.methods.dino import DINOOptions
from ssl_kedro.methods.moco_v2 import MoCoV2Options
from ssl_kedro.methods.plan import method_classes
from ssl_kedro.methods.seed import SeedOptions
from ssl_kedro.methods.wmse import WMSEOptions

_SMALL: dict[type[Config], Config] = {
    DINOOptions: DINOOptions(prototypes=24, bottleneck=8, frozen=0.3),
    MoCoV2Options: MoCoV2Options(queue=40, splits=2),
    SeedOptions: SeedOptions(queue=40),
}


def small_options(name: str, sub_batch: int = 8) -> Config | None:
    """Options of a method for small batches; None = its own."""
    kind = method_classes()[name].options_type
    return WMSEOptions(2, sub_batch) if kind is WMSEOptions else _SMALL.get(kind)


def budget_of(name: str, budget: float = 0.5) -> float | None:
    """The budget where a method has a gated branch."""
    kind = method_classes()[name]
    dense = issubclass(kind, TwoViewMethod) and "gated" not in kind.view_branches
    return None if dense else budget
