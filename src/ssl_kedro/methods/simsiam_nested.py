"""Nested dual gating in the SimSiam setting, for chapter 5."""

from dataclasses import dataclass

from ssl_kedro.methods.nested import NestedMethod, NestedOptions
from ssl_kedro.methods.simsiam import SimSiam, SimSiamOptions


@dataclass(frozen=True)
class SimSiamNestedOptions(NestedOptions, SimSiamOptions):
    """Parameters of SimSiam and of a nested method."""


class SimSiamNested(NestedMethod, SimSiam):
    """SimSiam of two whole views, and of each narrow one with both; see :class:`Nested`."""

    name = "simsiam_nested"
    options_type = SimSiamNestedOptions
    options: SimSiamNestedOptions
