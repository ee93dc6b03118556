"""Heads of two layers, which projectors and predictors are."""

from torch import nn


def two_layers(given: int, hidden: int, output: int, *, norm: bool = True) -> nn.Sequential:
    """Linear, batch norm, ReLU, linear.

    Args:
        given: dimensions that come in.
        hidden: width between the layers.
        output: dimensions that go out.
        norm: whether there is the batch norm.
    """
    norms = [nn.BatchNorm1d(hidden)] if norm else []
    return nn.Sequential(
        nn.Linear(given, hidden), *norms, nn.ReLU(inplace=True), nn.Linear(hidden, output)
    )
