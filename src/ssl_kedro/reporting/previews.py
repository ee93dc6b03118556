"""What Kedro-Viz shows of values: tables, and figures that Plotly draws in the browser.

Figures are plain dictionaries of the fields that Plotly documents; nothing here needs it installed.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import pandas as pd
from kedro_datasets._typing import PlotlyPreview, TablePreview

from ssl_kedro.reporting.style import CLASS_COLOURS


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> TablePreview:
    """A table; numbers are rounded to four digits, what is missing is empty."""
    shown = [[_rounded(value) for value in row] for row in rows]
    return TablePreview({"index": [*range(len(rows))], "columns": [*columns], "data": shown})


def _rounded(value: Any) -> Any:
    if pd.isna(value):  # NaN is no JSON
        return ""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def metric_table(metrics: Mapping[str, Any]) -> TablePreview:
    """Flat metrics as a table: "dual.budget_30.gated.knn_top1" is of a row and a column.

    Args:
        metrics: numbers by key; what is no number is left out.
    """
    numbers = {key: n for key, n in metrics.items() if isinstance(n, int | float)}
    split = {key: key.rpartition(".")[::2] for key in numbers}
    quantities = dict.fromkeys(last for _, last in split.values())
    rows: dict[str, dict[str, Any]] = {}
    for key, (of, quantity) in split.items():
        rows.setdefault(of, {})[quantity] = numbers[key]
    data = [[of or "the run", *map(found.get, quantities)] for of, found in rows.items()]
    return table(["of", *quantities], data)


class Trained(Protocol):
    """A record of one training."""

    @property
    def history(self) -> Sequence[Mapping[str, float]]:
        """A row an epoch."""


def training_loss(record: Trained) -> PlotlyPreview:
    """The loss of one training over its epochs."""
    return curves({"training": record.history})


def curves(
    histories: Mapping[str, Sequence[Mapping[str, float]]], quantity: str = "loss"
) -> PlotlyPreview:
    """One quantity over the epochs, a line each.

    Args:
        histories: rows an epoch, by name of the line.
        quantity: of the rows.
    """
    lines = []
    for number, (name, rows) in enumerate(histories.items()):
        known = [row for row in rows if quantity in row]
        colour = CLASS_COLOURS[number % len(CLASS_COLOURS)]
        lines.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": name,
                "x": [row["epoch"] for row in known],
                "y": [row[quantity] for row in known],
                "line": {"color": colour},
            }
        )
    return figure(lines, "epoch", quantity)


def figure(data: Sequence[Mapping[str, Any]], across: str, up: str, **axis: Any) -> PlotlyPreview:
    """A figure of two axes.

    Args:
        data: traces.
        across: title of the horizontal axis.
        up: title of the vertical one.
        axis: further fields of the horizontal one.
    """
    layout = {
        "xaxis": {"title": {"text": across}, **axis},
        "yaxis": {"title": {"text": up}},
        "legend": {"orientation": "h", "y": -0.25},
        "showlegend": True,
        "hovermode": "closest",
        "margin": {"l": 60, "r": 20, "t": 20, "b": 60},
    }
    return PlotlyPreview({"data": [*data], "layout": layout})
