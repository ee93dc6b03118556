"""What trainings left: their curves and times."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ssl_kedro.pipelines.gated.records import Evaluations, Histories
from ssl_kedro.pipelines.gated.variants import (
    budget_percent,
    budgets_of,
    in_table_order,
    name_of,
    title_of,
    width_of,
)
from ssl_kedro.reporting import style
from ssl_kedro.reporting.html import Section
from ssl_kedro.reporting.pictures import Picture
from ssl_kedro.reporting.style import BLUE, DARK, GREY, ORANGE, figure, title

# The models of Table 6.1 have losses of one scale and are few enough for common axes.
_COLOURS = {"vicreg": GREY, "vicreg_gating": ORANGE, "dual": BLUE}
_DASHES = ("-", "--", ":", "-.")


class _Panel(NamedTuple):
    """One quantity over the epochs; ``scale`` takes it to the unit of its label."""

    name: str
    scale: float
    heading: str
    label: str
    short: str


_LOSS = _Panel("loss", 1.0, "Training loss", "training loss", "loss")
_COST = _Panel(
    "flop_ratio",
    100.0,
    "Realised cost, training batches",
    "gated MACs / dense MACs (%)",
    "realised cost",
)
_SPREAD = _Panel(
    "embedding_std",
    1.0,
    "Spread of the embedding",
    "normalised std (0: collapsed)",
    "spread (0: collapsed)",
)


def training_section(models: Evaluations, histories: Histories, *, seeds: bool = False) -> Section:
    """Time that the trainings took, with their curves.

    Args:
        models: evaluation of every model.
        histories: per-epoch rows of every model.
        seeds: whether they are the first of several seeds.
    """
    trained = [model.training for key, model in models.items() if key in histories]
    taken = sum(training.seconds for training in trained)
    rates = [training.images_per_second for training in trained]
    of_seed = " of the first seed" if seeds else ""
    sentence = (
        f"{len(trained)} trainings{of_seed} took {taken / 60:.1f} minutes in all, at "
        f"{min(rates):,.0f} to {max(rates):,.0f} images a second (two views each). Losses of "
        "different methods have different terms: compare their shapes, not their heights."
    )
    picture = Picture(
        training_curves(histories),
        "Training loss, realised cost and spread of the embedding of each model over the epochs",
    )
    return Section("Training", (sentence,), pictures=[picture])


def training_curves(histories: Histories) -> Figure:
    """Loss, realised cost and spread of the embedding over the epochs, one line a model.

    The models of Table 6.1 share their axes. Where there are others every model has a row of
    panels of its own with its budgets in it, because losses differ in scale and a dozen lines
    cannot be told apart.

    Args:
        histories: rows of every model, at least one; those without a quantity are left out
            of its panel.
    """
    shown = (_LOSS, _COST, _SPREAD)
    panels = [p for p in shown if any(p.name in rows[0] for rows in histories.values())]
    if all(name_of(key) in _COLOURS for key in histories):
        return _on_common_axes(histories, panels)
    return _one_row_a_model(histories, panels)


def _on_common_axes(histories: Histories, panels: Sequence[_Panel]) -> Figure:
    """Models by colour, budgets by dashes."""
    budgets = budgets_of(histories)
    dashes = {percent: _DASHES[i % len(_DASHES)] for i, percent in enumerate(budgets)}
    made, axes = figure(3.9 * len(panels), 3.7, columns=len(panels))
    for axis, panel in zip(axes, panels, strict=True):
        for key, rows in histories.items():
            dash = dashes.get(budget_percent(key) or 0, "-")
            _curve(axis, panel, rows, _COLOURS[name_of(key)], dash)
        title(axis, panel.heading)
        axis.set_xlabel("epoch")
        axis.set_ylabel(panel.label)
        _limits(axis, panel, dict.fromkeys(budgets, DARK))
    names = dict.fromkeys(map(name_of, histories))
    handles = [Line2D([], [], color=_COLOURS[name], lw=2, label=title_of(name)) for name in names]
    handles += [
        Line2D([], [], color=DARK, ls=dash, label=f"budget {percent} %")
        for percent, dash in dashes.items()
    ]
    _legend(made, handles)
    return made


def _one_row_a_model(histories: Histories, panels: Sequence[_Panel]) -> Figure:
    """Models by row, budgets and widths by colour."""
    models, columns = in_table_order(histories), len(panels)
    sizes = [f"budget {percent} %" for percent in budgets_of(histories)]
    sizes += [f"width {width}" for width in sorted({width_of(key) or 0 for key in histories} - {0})]
    shown = {
        size: style.CLASS_COLOURS[i % len(style.CLASS_COLOURS)] for i, size in enumerate(sizes)
    }
    colours = {percent: shown[f"budget {percent} %"] for percent in budgets_of(histories)}
    made, axes = figure(3.9 * columns, 1.65 * len(models) + 0.7, len(models), columns)
    for index, axis in enumerate(axes):
        model, panel = models[index // columns], panels[index % columns]
        of_model = {key: rows for key, rows in histories.items() if name_of(key) == model}
        if not any(panel.name in rows[0] for rows in of_model.values()):
            axis.set_axis_off()
            continue
        for key, rows in of_model.items():
            _curve(axis, panel, rows, shown.get(_size(key), GREY), "-")
        _limits(axis, panel, colours)
        title(axis, f"{title_of(model)}: {panel.short}")
        if panel is _COST:
            axis.set_ylabel("%")
        if model == models[-1]:
            axis.set_xlabel("epoch")
    if not shown:
        return made
    if any(_size(key) not in shown for key in histories):
        shown["no budget"] = GREY
    handles = [Line2D([], [], color=colour, lw=2, label=label) for label, colour in shown.items()]
    _legend(made, handles)
    return made


def _size(key: str) -> str:
    """What a model is named after beside its method, as the legend has it; "" where nothing."""
    percent, width = budget_percent(key), width_of(key)
    if percent is not None:
        return f"budget {percent} %"
    return "" if width is None else f"width {width}"


def _curve(
    axis: Axes, panel: _Panel, rows: Sequence[Mapping[str, float]], colour: str, style: str
) -> None:
    if panel.name in rows[0]:
        epochs = [row["epoch"] for row in rows]
        values = [panel.scale * row[panel.name] for row in rows]
        axis.plot(epochs, values, color=colour, ls=style, lw=1.3)


def _limits(axis: Axes, panel: _Panel, budgets: Mapping[int, str]) -> None:
    """Whole epochs; costs from 0 to 100 % with the budgets beside the axes; spreads from 0."""
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    if panel is _SPREAD:
        axis.set_ylim(0, max(1.05, axis.get_ylim()[1]))
    elif panel is _COST:
        axis.set_ylim(0, 100)
        for percent, colour in budgets.items():
            axis.axhline(percent, color=colour, lw=0.6, alpha=0.5)
            style.label_level(axis, f"{percent} %", (1.01, percent), colour, "center")


def _legend(made: Figure, handles: Sequence[Line2D]) -> None:
    columns = min(6, len(handles))
    made.legend(
        handles=handles, loc="outside lower center", ncols=columns, fontsize=9, frameon=False
    )
