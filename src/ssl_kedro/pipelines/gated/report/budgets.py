"""Accuracy over the cost of an image, and what one training for every budget comes to in words."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ssl_kedro.pipelines.gated.parameters import EncoderPipelineParameters
from ssl_kedro.pipelines.gated.report.page import cost_card, levels_to_beat, reference_lines
from ssl_kedro.pipelines.gated.variants import label_of, name_of, title_of
from ssl_kedro.reporting.html import Card
from ssl_kedro.reporting.labels import label_point, mark_point, settled
from ssl_kedro.reporting.number_format import percent
from ssl_kedro.reporting.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    figure,
    title,
)

BUDGETS_TITLE = "One encoder, trained once, for every budget"
MEASURES = {"linear_top1": "linear evaluation", "knn_top1": "1-NN"}
# Of the one for every budget; the dense baseline is grey, others share the rest.
_OURS, _COLOURS = BLUE, (ORANGE, GREEN, RED, PURPLE)
_MARKERS = "^vsDPX<>"


def measured(peers: pd.DataFrame) -> list[str]:
    """Accuracies of the table of peers that were measured, the one to choose by first."""
    return [name for name in MEASURES if peers[name].notna().any()]


def accuracy_by_budget(
    parameters: EncoderPipelineParameters,
    peers: pd.DataFrame,
    baselines: Mapping[str, float],
    only: str = "",
) -> Figure:
    """Every network of the table of peers: accuracy over its share of the dense MACs.

    Args:
        parameters: of the run.
        peers: from :func:`~ssl_kedro.pipelines.gated.report.peers.peers_table`.
        baselines: what there is to beat, fractions.
        only: the one accuracy to show; "" = all.
    """
    measures = [name for name in measured(peers) if only in ("", name)]
    made, axes = figure(5 * max(1, len(measures)), 4.4, columns=max(1, len(measures)))
    if not measures:
        axes[0].set_axis_off()
        axes[0].text(0.5, 0.5, "no labels: not evaluated", ha="center", transform=axes[0].transAxes)
        return made
    for axis, measure in zip(axes, measures, strict=True):
        _panel(axis, parameters, peers, measure)
        # Levels are those of 1-NN, but for chance; what is far below would flatten the curves.
        lowest = 1.6 * axis.dataLim.y0 - 0.6 * axis.dataLim.y1 - 2
        levels = [
            (at, name)
            for at, name in levels_to_beat(baselines)
            if at > lowest and (measure == "knn_top1" or name == "chance")
        ]
        reference_lines(axis, levels)
        axis.margins(y=0.12)
        title(axis, MEASURES[measure])
        axis.set_xlabel("FLOPs (MACs) of the dense encoder (%)")
        axis.set_ylabel("top-1 (%)")
        axis.set_xlim(0, 108)
    handles, labels = axes[0].get_legend_handles_labels()
    made.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    return settled(made)


def _panel(
    axis: Axes, parameters: EncoderPipelineParameters, peers: pd.DataFrame, measure: str
) -> None:
    names = peers["model"].map(name_of)
    ours, dense = parameters.for_every_budget, parameters.dense_method
    others = 0
    for (name, network), rows in peers.groupby([names, "network"], sort=False):
        line = rows.dropna(subset=[measure]).sort_values("cost_share")
        if name in (ours, dense):
            colour, marker = (_OURS, "o") if name == ours else (GREY, "s")
        else:
            colour = _COLOURS[others % len(_COLOURS)]
            marker, others = _MARKERS[others % len(_MARKERS)], others + 1
        label = title_of(str(name))
        alone = (names == name).sum() == len(rows)
        axis.errorbar(
            line["cost_share"],
            line[measure],
            yerr=None if line[f"{measure}_std"].isna().all() else line[f"{measure}_std"],
            color=colour,
            marker=marker,
            lw=2 if name == ours else 1,
            ms=7 if name == ours else 6,
            capsize=2,
            zorder=3 if name == ours else 2,
            label=label if alone else f"{label}, {network}",
        )
        for key, cost, accuracy in line[["model", "cost_share", measure]].itertuples(index=False):
            told = f"{label_of(key)}, {network}: {accuracy:.1f} % at {cost:.0f} % of the FLOPs"
            mark_point(axis, (cost, accuracy), told, color=colour, marker=marker, ms=7, zorder=3)
            if name == ours:
                label_point(axis, f"{cost:.0f} %", (cost, accuracy), colour)


def budgets_lead(parameters: EncoderPipelineParameters, peers: pd.DataFrame) -> str:
    """What one training for every budget comes to, in one sentence; "" where there was none.

    Args:
        parameters: of the run.
        peers: from :func:`~ssl_kedro.pipelines.gated.report.peers.peers_table`.
    """
    ours = _networks(peers, parameters.for_every_budget)
    if ours.empty:
        return ""
    least, most = (percent(ours["cost_share"].iloc[at] / 100, 0) for at in (0, -1))
    start = f"One training made encoders of any cost from {least} to {most} of the FLOPs (MACs)"
    if not (measures := measured(peers)):
        return f"{start}. The images have no labels, so accuracy was not evaluated."
    measure, within = measures[0], parameters.frontier.within
    dense = _networks(peers, parameters.dense_method)[measure].iloc[0]
    known = f"{title_of(parameters.dense_method)} ({percent(dense / 100)} in {MEASURES[measure]})"
    reaching = ours[ours[measure] >= dense - within]
    if reaching.empty:
        best = percent(ours[measure].max() / 100)
        return f"{start}. None is within {_points(within)} of a dense {known}; the best has {best}."
    cost, accuracy = (
        percent(reaching[of].iloc[0] / 100, n) for of, n in (("cost_share", 0), (measure, 1))
    )
    return (
        f"{start}. The lightest within {_points(within)} of a dense {known} needs {cost} and "
        f"reaches {accuracy}."
    )


def _points(count: float) -> str:
    return f"{count:g} point{'' if count == 1 else 's'}"


def _networks(peers: pd.DataFrame, name: str) -> pd.DataFrame:
    """Rows of one variant, the cheapest first."""
    return peers[peers["model"].map(name_of) == name].sort_values("cost_share")


def budgets_cards(
    parameters: EncoderPipelineParameters, metrics: Mapping[str, float], peers: pd.DataFrame
) -> list[Card]:
    """Cost of the dense encoder, its accuracy, and those of the networks for every budget."""
    cards = [cost_card(metrics, parameters, "dense")]
    if not (measures := measured(peers)):
        return cards
    measure = measures[0]
    for name, of_dense in ((parameters.dense_method, True), (parameters.for_every_budget, False)):
        for row in _networks(peers, name).to_dict("records"):
            cost = f"at {percent(row['cost_share'] / 100, 0)} of the FLOPs (MACs)"
            said = f"of {title_of(name)}, dense" if of_dense else cost
            cards.append(Card(percent(row[measure] / 100), f"{MEASURES[measure]}, {said}"))
    return cards
