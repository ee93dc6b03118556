"""What the pages of chapters 5 and 6 share, and the manifest of their runs."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from ssl_kedro.pipelines.gated.inference.records import Deployment
from ssl_kedro.pipelines.gated.parameters import EncoderPipelineParameters
from ssl_kedro.pipelines.gated.records import DataSummary, Evaluation, Evaluations
from ssl_kedro.pipelines.gated.report.use_section import deploy_sentence
from ssl_kedro.pipelines.gated.variants import name_of, title_of
from ssl_kedro.reporting.html import Card, Report, Section, rendered
from ssl_kedro.reporting.manifest import run_manifest
from ssl_kedro.reporting.number_format import listed, percent
from ssl_kedro.reporting.published import compared, published_in, published_recipe, recipe_section
from ssl_kedro.reporting.run_sections import manifest_section, skipped_section
from ssl_kedro.reporting.style import DARK, label_level, spread
from ssl_kedro.training.config import Execution


def _recipe(parameters: EncoderPipelineParameters, models: Iterable[str]) -> str:
    """Which recipe ran, and whose each kind of encoder is."""
    names = {name_of(key).partition("-")[0] for key in models}
    said = [f"Recipe: {parameters.recipe}."]
    if parameters.for_every_budget in names:
        said.append("The nested encoder, one for every budget, is not in the thesis.")
    if names - {parameters.for_every_budget, *parameters.peers, parameters.dense_method}:
        as_in = {"text": "as the thesis prints them, where its authors' code differs"}
        whose = as_in.get(parameters.recipe, "as the authors' code has them")
        said.append(f"Encoders and losses of the thesis are {whose}.")
    else:
        said.append("recipe=authors trains the encoders of the thesis, one a budget.")
    begun: dict[str, list[str]] = {}
    for name in sorted(names):
        variant = {**parameters.variants, **parameters.peers}.get(name)
        begins = variant is not None and not variant.student and not variant.widths
        if variant is not None and begins and (init := parameters.init_of(variant.method)):
            begun.setdefault(str(getattr(init, "file", init)), []).append(title_of(name))
    said += [
        f"Began with the weights of {where}: {', '.join(who)}. Epochs and seconds are those on top."
        for where, who in begun.items()
    ]
    return " ".join(said)


def describe_run(
    parameters: EncoderPipelineParameters,
    data_summary: DataSummary,
    execution: Execution,
    origins: Mapping[str, str],
    **evaluations: Evaluation,
) -> dict[str, Any]:
    """Versions, commit, data, seed, device and cost of the run."""
    return run_manifest(
        seed=parameters.seed,
        data=dataclasses.asdict(data_summary),
        execution=dataclasses.asdict(execution),
        parameters=parameters.as_written,
        training_seconds=sum(model.training.seconds for model in evaluations.values()),
        origins=origins,
    )


def page(
    chapter: str,
    parameters: EncoderPipelineParameters,
    manifest: Mapping[str, Any],
    *,
    models: Evaluations,
    title: str,
    name: str,
    result: str,
    deployment: Deployment | None,
    cards: Sequence[Card],
    sections: Iterable[Section],
) -> str:
    """A chapter's self-contained HTML; :func:`closing_sections` stand behind its own.

    Args:
        chapter: of the thesis.
        parameters: of the run.
        manifest: of the run.
        models: evaluations of all models, by key.
        title: of the page.
        name: of what was run.
        result: what came out, in one sentence.
        deployment: what to deploy; None where nothing was timed.
        cards: key figures.
        sections: the chapter's own.
    """
    run = parameters.as_published(manifest)
    width = f"width {run['encoder.width']}, " if "encoder.width" in run else ""
    epochs = f"{run['train.epochs']} epoch{'' if run['train.epochs'] == 1 else 's'}"
    origin = (
        f"{name} (chapter {chapter}) on {run['data.source']} images, {width}{epochs}, "
        f"seed {manifest['seed']}, {manifest['created'][:10]}"
    )
    lead = [
        ("Trained", _trained(models, run, labelled=manifest["data"].get("labelled", True))),
        ("Result", result),
        ("Deploy", deploy_sentence(deployment)),
    ]
    closing = closing_sections(chapter, parameters, manifest, models)
    return rendered(Report(title, lead, origin, cards, [*sections, *closing]))


# So many methods a sentence names.
_NAMED = 4


def _trained(models: Evaluations, run: Mapping[str, Any], *, labelled: bool) -> str:
    """What was trained on what."""
    of_run = {key: model for key, model in models.items() if model.training.epochs}
    names = dict.fromkeys(title_of(name_of(key)) for key in of_run)
    epochs = sorted({model.training.epochs for model in of_run.values()})
    span = " to ".join(map(str, dict.fromkeys((epochs[0], epochs[-1]))))
    words = listed([*names]) if len(names) <= _NAMED else f"{len(names)} methods"
    images = f"{run.get('images.pretrain', 0):,} {run['data.source']} images"
    labels = "without their labels" if labelled else "which have no labels"
    return f"{words} on {images} of {run['image_size']} px, {span} epochs each, {labels}."


def cost_card(
    metrics: Mapping[str, float], parameters: EncoderPipelineParameters, encoder: str
) -> Card:
    """What an image costs without gates."""
    label = f"FLOPs (MACs) an image, {encoder} encoder, {parameters.stem}"
    return Card(f"{metrics['dense_macs'] / 1e6:,.1f} M", label)


def closing_sections(
    chapter: str,
    parameters: EncoderPipelineParameters,
    manifest: Mapping[str, Any],
    models: Iterable[str],
) -> list[Section]:
    """What differs from the thesis, skipped files and the manifest."""
    run = parameters.as_published(manifest)
    if parameters.on_published_data:
        run["data.source"] = parameters.published
    published = compared(published_recipe(chapter, parameters.published), run)
    return [
        recipe_section(published, published_in(chapter), _recipe(parameters, models)),
        *skipped_section(manifest),
        manifest_section(manifest),
    ]


# What there is to beat by 1-NN.
_LEVELS = (
    ("raw_pixels.knn_top1", "raw pixels"),
    ("random_init.knn_top1", "random encoder"),
    ("chance", "chance"),
)


def levels_to_beat(metrics: Mapping[str, float]) -> list[tuple[float, str]]:
    """Accuracies in percent with their names, those that were measured."""
    return [(100 * metrics[key], name) for key, name in _LEVELS if key in metrics]


def to_beat(metrics: Mapping[str, float]) -> str:
    """The same in a sentence."""
    return (
        f"What there is to beat, by 1-NN: chance {percent(metrics['chance'])} (the most frequent "
        f"class), raw pixels {percent(metrics.get('raw_pixels.knn_top1'))}, an encoder with random "
        f"weights {percent(metrics.get('random_init.knn_top1'))}."
    )


def reference_lines(axis: Axes, levels: Sequence[tuple[float, str]]) -> None:
    """A dotted line a level, with labels that do not overlap."""
    for value, _ in levels:
        axis.axhline(value, color=DARK, lw=0.8, ls=":")
    axis.relim()
    values = [value for value, _ in levels]
    heights = spread(values, 0.05 * (axis.dataLim.y1 - axis.dataLim.y0))
    for (value, name), height in zip(levels, heights, strict=True):
        label_level(axis, f"{name} {value:.1f} %", (0.01, height), DARK, "bottom")
