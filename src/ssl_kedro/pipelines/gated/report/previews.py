"""What Kedro-Viz shows of trainings, evaluations and the front."""

from typing import Any

import pandas as pd
from kedro_datasets._typing import PlotlyPreview, TablePreview

from ssl_kedro.pipelines.gated.frontier.names import (
    ENGINES,
    MEASURE_TITLES,
    batch_label,
    form_label,
)
from ssl_kedro.pipelines.gated.frontier.points import measure_of
from ssl_kedro.pipelines.gated.records import Evaluation, Evaluations, Histories
from ssl_kedro.pipelines.gated.variants import label_of
from ssl_kedro.reporting.previews import curves, figure, table
from ssl_kedro.reporting.style import BLUE, GREY, ORANGE


def losses(histories: Histories) -> PlotlyPreview:
    """Of all trainings; those of different methods have different terms."""
    return curves({label_of(key): rows for key, rows in histories.items()})


def accuracies(models: Evaluations) -> TablePreview:
    """A row a branch of each model: accuracies in percent, and what an image costs."""
    rows = [row for key, found in models.items() for row in _rows(label_of(key), found)]
    return table(["Model", *_COLUMNS], rows)


def accuracies_of_one(evaluation: Evaluation) -> TablePreview:
    """The same of one encoder."""
    return table(["Method", *_COLUMNS], _rows(evaluation.method, evaluation))


_COLUMNS = ("Branch", "1-NN (%)", "Linear (%)", "FLOPs, MACs (M)")


def _rows(name: str, found: Evaluation) -> list[list[Any]]:
    rows: list[list[Any]] = []
    for branch, accuracy in found.branches.items():
        flat = {measure: 100 * value for measure, value in accuracy.flat().items()}
        macs = found.macs.own if branch == "dense" else found.macs.gated_mean
        cost = None if macs is None else macs / 1e6
        rows.append([name, branch, flat.get("knn_top1"), flat.get("linear_top1_mean"), cost])
    return rows


def front(frontier_table: pd.DataFrame) -> PlotlyPreview:
    """Accuracy against time of each network on its fastest engine; of one batch size at first.

    Others are in the legend: a click shows them.

    Args:
        frontier_table: from
            :func:`~ssl_kedro.pipelines.gated.frontier.points.frontier_frame`.
    """
    measure = measure_of(frontier_table)
    rows = frontier_table[frontier_table["fastest"].astype(bool)].dropna(subset=[measure])
    traces = []
    for number, (batch, of) in enumerate(rows.sort_values("ms_per_image").groupby("batch")):
        on_front, deployed = of["on_front"].astype(bool), of["deployed"].astype(bool)
        looks: list[tuple[str, pd.DataFrame, dict[str, Any]]] = [
            ("beaten", of[~on_front], {"mode": "markers", "marker": {"color": GREY}}),
            (
                "front",
                of[on_front],
                {"mode": "lines+markers", "marker": {"color": BLUE}, "line": {"shape": "hv"}},
            ),
            (
                "to deploy",
                of[deployed],
                {
                    "mode": "markers",
                    "marker": {"color": ORANGE, "size": 16, "symbol": "circle-open"},
                },
            ),
        ]
        traces += [
            {
                "type": "scatter",
                "name": f"{words}, {batch_label(int(str(batch)))}",
                "x": chosen["ms_per_image"].tolist(),
                "y": chosen[measure].tolist(),
                "text": [_named(row) for row in chosen.to_dict("records")],
                "visible": "legendonly" if number else True,
                **look,
            }
            for words, chosen, look in looks
            if len(chosen)
        ]
    return figure(traces, "milliseconds an image", f"{MEASURE_TITLES[measure]} (%)", type="log")


def _named(row: dict[Any, Any]) -> str:
    form = form_label(str(row["model"]), str(row["network"]), str(row["precision"]))
    return f"{form}, {ENGINES[str(row['engine'])]}"
