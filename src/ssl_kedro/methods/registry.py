"""Finding a method by name: every module of this package is looked at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch

from ssl_kedro.core.plugins import classes
from ssl_kedro.core.seeding import derived_seed
from ssl_kedro.encoders.factory import EncoderSetup
from ssl_kedro.methods.base import Method, MethodConfig


@cache
def method_classes() -> dict[str, type[Method]]:
    """All methods by name."""
    found = classes("ssl_kedro.methods", Method)  # type: ignore[type-abstract]
    return {method.name: method for method in found}


@dataclass(frozen=True)
class MethodPlan:
    """A method before it is built; another process can build the same one.

    Args:
        name: as in the method's class.
        setup: the encoder to build.
        config: heads, losses and gates.
        budget: t_d for methods with a gated branch, else None.
        seed: the run's seed.
    """

    name: str
    setup: EncoderSetup
    config: MethodConfig
    budget: float | None
    seed: int

    def build(self) -> Method:
        """The method; see :func:`build_method`."""
        return build_method(self.name, self.setup, self.config, self.budget, self.seed)


def build_method(
    name: str,
    setup: EncoderSetup,
    config: MethodConfig,
    budget: float | None,
    seed: int,
) -> Method:
    """A method with freshly initialised weights.

    The weights depend on the seed and on nothing drawn before: torch's global generator is
    left as it was found. Methods of one seed share data, order and views; their weights only
    where they build the same modules in the same order.

    Args:
        name: as in the method's class.
        setup: the encoder to build.
        config: heads, losses and gates.
        budget: t_d for methods with a gated branch, else None.
        seed: the run's seed.

    Raises:
        ValueError: unknown name, or a budget that does not fit the method.
    """
    known = method_classes()
    if name not in known:
        raise ValueError(f"method {name!r} is not known; known: {', '.join(sorted(known))}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "weights"))
        return known[name](setup, config, budget)
