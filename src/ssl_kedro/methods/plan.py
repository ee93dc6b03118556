"""Methods by name, and what one is before it is built."""

from dataclasses import dataclass
from functools import cache

from ssl_kedro.core.plugins import classes
from ssl_kedro.core.seeding import weights_drawn
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
        """The method with freshly initialised weights.

        They depend on the seed and on nothing drawn before: torch's global generator is left as
        it was found. Methods of one seed share data, order and views; their weights only where
        they build the same modules in the same order.

        Raises:
            ValueError: unknown name, or a budget that does not fit the method.
        """
        known = method_classes()
        if self.name not in known:
            raise ValueError(
                f"method {self.name!r} is not known; known: {', '.join(sorted(known))}"
            )
        with weights_drawn(self.seed, "weights"):
            return known[self.name](self.setup, self.config, self.budget)
