"""Finding a method by name: every module of this package is looked at once."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from dataclasses import dataclass
from functools import cache

import torch

import ssl_kedro.methods
from ssl_kedro.core.seeding import derived_seed
from ssl_kedro.methods.base import EncoderSetup, Method, MethodConfig


@cache
def method_classes() -> dict[str, type[Method]]:
    """All methods by name."""
    classes: dict[str, type[Method]] = {}
    for module_info in pkgutil.iter_modules(ssl_kedro.methods.__path__):
        module = importlib.import_module(f"{ssl_kedro.methods.__name__}.{module_info.name}")
        for _, member in inspect.getmembers(module, inspect.isclass):
            if issubclass(member, Method) and not inspect.isabstract(member):
                classes[member.name] = member
    return classes


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
    classes = method_classes()
    if name not in classes:
        raise ValueError(f"method {name!r} is not known; known: {', '.join(sorted(classes))}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "weights"))
        return classes[name](setup, config, budget)
