"""An encoder that is there already, evaluated without training: ``--tags evaluate``.

It is the one that ``encoder.init`` names; its shape is its own, whatever the parameters say.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from kedro.pipeline import Node, node

from ssl_kedro.core.config import ConfigError
from ssl_kedro.core.devices import resolved_device
from ssl_kedro.encoders.base import Backbone, Encoder
from ssl_kedro.encoders.nested_resnet18 import NestedResNet18
from ssl_kedro.evaluation.linear_probe import ProbeConfig, linear_probe_right
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.images.subsets import label_count, labelled_subset
from ssl_kedro.inference.comparison import key_parts
from ssl_kedro.pipelines.entrance import given
from ssl_kedro.pipelines.gated import nodes, preparation
from ssl_kedro.pipelines.gated.graph import named
from ssl_kedro.pipelines.gated.inference.nodes import measure_inference, race_dense_engines
from ssl_kedro.pipelines.gated.inference.records import DenseEngines, Measurement
from ssl_kedro.pipelines.gated.parameters import EncoderPipelineParameters
from ssl_kedro.pipelines.gated.records import DataSummary, Evaluation, Training, TrainingRecord
from ssl_kedro.pipelines.gated.report.page import to_beat
from ssl_kedro.reporting.html import Card, Report, Section, Table, rendered
from ssl_kedro.reporting.number_format import DASH, percent, three_digits

# Tag of a run that does this and nothing else.
EVALUATE = "evaluate"
# Shares of the labels that linear probes are trained with, beside all of them.
FEW_LABELS = (0.01, 0.1)
# Accuracies of linear probes by branch and share of the labels, one a run.
FewLabels = dict[str, dict[str, list[float]]]
# Accuracies and MACs by budget.
AtBudgets = dict[str, dict[str, float]]
Labelled = tuple[np.ndarray, np.ndarray]
_UNTRAINED = TrainingRecord(
    epochs=0, seconds=0.0, images_per_second=0.0, macs=0, collapsed=False, history=[]
)


def evaluation_nodes(
    pipeline: str, parameters: EncoderPipelineParameters, asked: Sequence[str] = (EVALUATE,)
) -> list[Node]:
    """Features, accuracies, cost and time of the given encoder, and a page of its own.

    Args:
        pipeline: its key.
        parameters: of the run.
        asked: tags of the run.

    Raises:
        ConfigError: no encoder is given, or other tags are.
    """
    parameters.check_alone([EVALUATE], asked)
    if not (start := parameters.initial(pipeline, "")):
        expected = "the encoder to evaluate: a path, file and kind, or the name of an encoder"
        raise ConfigError(f"{pipeline}.encoder.init", None, expected)
    space = f"{pipeline}.given"
    run, images = named(pipeline, "parameters"), named(pipeline, "train_images", "eval_images")
    data, encoder = {"data": f"{pipeline}.data_summary"}, {"encoder": start}
    features, engines = named(space, "features"), named(space, "dense_engines")
    timed = bool(parameters.inference.models)
    results = ("evaluation", "few_labels", "at_budgets", "baselines")
    found = named(space, *results, *["inference"] * timed)
    seen = {"pretrain_images": f"{pipeline}.train_images"}
    training = Training("given", None, parameters.seed)
    judged = run | data | encoder | features | images
    made: list[tuple[Any, Mapping[str, str], str | list[str]]] = [
        (preparation.summarise_data, seen | images, data["data"]),
        (nodes.extract, run | encoder | images, features["features"]),
        (evaluate_given, judged, [found["evaluation"], found["few_labels"]]),
        (evaluate_budgets, run | data | encoder | images, found["at_budgets"]),
        (measure_given_baselines, run | data | encoder | images, found["baselines"]),
        (given_report, run | data | encoder | found, f"{space}.report"),
    ]
    if timed:
        eval_images = {"eval_images": images["eval_images"]}
        measure = given(measure_given, trained=training)
        made += [
            (race_given, run | encoder | eval_images, engines["dense_engines"]),
            (
                measure,
                run | encoder | features | images | engines,
                [found["inference"], f"{space}.answers"],
            ),
        ]
    return [
        node(typed_by(type(parameters), f), dict(inputs), outputs, name=f.__name__, tags=[EVALUATE])
        for f, inputs, outputs in made
    ]


def typed_by(
    model: type[EncoderPipelineParameters], function: Callable[..., Any]
) -> Callable[..., Any]:
    """Function whose parameters are those of a chapter: Kedro reads their type from it."""
    bound = given(function)
    bound.__annotations__ = {**function.__annotations__, "parameters": model}
    return bound


def shaped(parameters: EncoderPipelineParameters, encoder: Encoder) -> EncoderPipelineParameters:
    """The parameters with the shape of an encoder that is there already.

    Raises:
        ConfigError: they ask for times of networks that there are none of for this shape.
    """
    member = encoder.member(encoder.branches[0])
    if not isinstance(member, Backbone):
        return parameters
    member.config.check_side("data.size", parameters.data.size)
    parameters.inference.check_shape(member.config)
    return parameters.model_copy(update={"encoder": member.config})


def evaluate_given(
    parameters: EncoderPipelineParameters,
    data: DataSummary,
    encoder: Encoder,
    features: nodes.Arrays,
    train_images: ImageSet,
    eval_images: ImageSet,
) -> tuple[Evaluation, FewLabels]:
    """Accuracies and cost of each branch, and those of linear probes with few of the labels."""
    training = Training("given", None, parameters.seed)
    evaluation = nodes.evaluate(
        shaped(parameters, encoder),
        data,
        encoder,
        features,
        _UNTRAINED,
        train_images,
        eval_images,
        trained=training,
    )
    if not data.labelled or parameters.probe is None:
        return evaluation, {}
    labels = np.asarray(train_images.labels), np.asarray(eval_images.labels)
    return evaluation, {
        branch: {
            str(share): few_labels(
                parameters,
                (features[f"{branch}.train"], labels[0]),
                (features[f"{branch}.eval"], labels[1]),
                share,
            )
            for share in FEW_LABELS
        }
        for branch in encoder.branches
    }


def few_labels(
    parameters: EncoderPipelineParameters, known: Labelled, asked: Labelled, share: float
) -> list[float]:
    """Accuracies of the linear probe with some of the labels, one a run.

    Args:
        parameters: with a probe.
        known: features (N, D) and labels (N,) to train with.
        asked: those to name.
        share: of the known, of each class as many as of the others and at least one.
    """
    features, labels = known
    kept = labelled_subset(labels, share, parameters.seed)
    right = linear_probe_right(
        features[kept],
        labels[kept],
        *asked,
        parameters.probe or ProbeConfig(),
        seed=parameters.seed,
        device=resolved_device(parameters.train.device),
    )
    found: list[float] = right.mean(axis=1).tolist()
    return found


def evaluate_budgets(
    parameters: EncoderPipelineParameters,
    data: DataSummary,
    encoder: Encoder,
    train_images: ImageSet,
    eval_images: ImageSet,
) -> AtBudgets:
    """Accuracies and cost of a nested encoder at the budgets of the front; of others nothing."""
    if not isinstance(encoder, NestedResNet18) or not len(encoder.budgets) or not data.labelled:
        return {}
    evaluator = nodes.evaluator(parameters, train_images, eval_images, parameters.seed)
    found: AtBudgets = {}
    for budget in sorted(parameters.budgets or parameters.frontier.budgets):
        if budget < encoder.smallest_budget:
            continue
        light = encoder.at_budget(budget)
        features = nodes.extract(parameters, light, train_images, eval_images)
        accuracies = evaluator.accuracies(light, "dense", features).flat()
        found[str(budget)] = {**accuracies, "macs": float(light.cost(data.image_size).dense)}
    return found


def measure_given_baselines(
    parameters: EncoderPipelineParameters,
    data: DataSummary,
    encoder: Encoder,
    train_images: ImageSet,
    eval_images: ImageSet,
) -> dict[str, float]:
    """Chance, raw pixels, and an encoder of its shape with random weights."""
    run = shaped(parameters, encoder)
    return preparation.measure_baselines(run, data, train_images, eval_images)


def race_given(
    parameters: EncoderPipelineParameters, encoder: Encoder, eval_images: ImageSet
) -> DenseEngines:
    """The fastest engine for a dense network of its shape."""
    return race_dense_engines(shaped(parameters, encoder), eval_images)


def measure_given(
    parameters: EncoderPipelineParameters,
    dense_engines: DenseEngines,
    encoder: Encoder,
    features: nodes.Arrays,
    train_images: ImageSet,
    eval_images: ImageSet,
    *,
    trained: Training,
) -> tuple[Measurement, nodes.Arrays]:
    """Time and accuracy of its networks; see :func:`measure_inference`."""
    return measure_inference(
        shaped(parameters, encoder),
        dense_engines,
        encoder,
        features,
        train_images,
        eval_images,
        trained=trained,
    )


def given_report(
    parameters: EncoderPipelineParameters,
    data: DataSummary,
    encoder: Encoder,
    evaluation: Evaluation,
    few_labels: FewLabels,
    at_budgets: AtBudgets,
    baselines: Mapping[str, float],
    inference: Measurement | None = None,
) -> str:
    """A page on one encoder: how good its features are, what they cost, how long they take."""
    where = getattr(parameters.init, "file", parameters.init)
    images, classes = data.images["train"], len(data.class_names)
    counts = {share: label_count(share, images, classes) for share in FEW_LABELS}
    sections = [_accuracies(evaluation, few_labels, baselines, counts), *_budgets(at_budgets)]
    if inference is not None:
        sections.append(_times(inference))
    branch, found = next(iter(evaluation.branches.items()))
    flat = found.flat()
    told = f"of {percent(flat['knn_top1'])} in 1-NN" if flat else "not known: there are no labels"
    lead = [
        ("Trained", f"Nothing in this run: it evaluates {where} as it is."),
        ("Result", f"The {branch} features have an accuracy {told}."),
        ("Use", f'Load it by ssl_kedro.load_encoder("{where}").'),
    ]
    size = f"made for images of {encoder.image_size} px, evaluated on {data.image_size} px"
    cards = [
        Card(f"{evaluation.macs.own / 1e6:,.1f} M", "FLOPs (MACs) an image"),
        Card(f"{evaluation.parameters:,}", "numbers in the encoder"),
        *(Card(percent(v), _WORDS[n]) for n, v in flat.items()),
    ]
    seen = f"{images:,} training and {data.images['eval']:,} evaluation images"
    origin = f"{data.source}: {seen}; {size}"
    return rendered(Report("An encoder as it is", lead, origin, cards, sections))


_WORDS = {"knn_top1": "1-NN", "linear_top1_mean": "linear"}


def _accuracies(
    evaluation: Evaluation,
    few: FewLabels,
    baselines: Mapping[str, float],
    counts: Mapping[float, int],
) -> Section:
    """A row a branch, with what there is to beat."""
    rows = []
    for branch, found in evaluation.branches.items():
        flat, of_few = found.flat(), few.get(branch, {})
        means = [statistics.fmean(of_few[str(s)]) if of_few else None for s in FEW_LABELS]
        values = [flat.get("knn_top1"), *means, flat.get("linear_top1_mean")]
        mean = evaluation.macs.own if branch == "dense" else evaluation.macs.gated_mean
        cost = DASH if mean is None else three_digits(mean / 1e6)
        rows.append([branch, *(DASH if v is None else percent(v) for v in values), cost])
    shares = [f"Linear, {count:,} labels" for count in counts.values()]
    columns = ["Branch", "1-NN", *shares, "Linear, all labels", "FLOPs (M)"]
    said = [to_beat(baselines)] if "chance" in baselines else []
    return Section("How good its features are", said, [Table(columns, rows)])


def _budgets(found: AtBudgets) -> list[Section]:
    """Rows of a nested encoder's networks; nothing for others."""
    rows = [
        [
            percent(float(budget), 0),
            percent(one["knn_top1"]),
            percent(one["linear_top1_mean"]) if "linear_top1_mean" in one else DASH,
            three_digits(one["macs"] / 1e6),
        ]
        for budget, one in found.items()
    ]
    said = "It serves any budget, a share of the dense FLOPs (MACs), without another training."
    columns = ["Budget", "1-NN", "Linear, all labels", "FLOPs (M)"]
    return [Section("At smaller budgets", [said], [Table(columns, rows)])] if rows else []


def _times(inference: Measurement) -> Section:
    rows = [
        [*key_parts(key), found.engine, batch, three_digits(found.ms / compared.batch_size)]
        for batch, compared in inference.batches.items()
        for key, found in compared.networks.items()
    ]
    columns = ["Network", "Precision", "Engine", "Images a batch", "ms an image"]
    threads = max(compared.threads for compared in inference.batches.values())
    said = f"Each on its fastest engine of those that raced, {threads} thread{'s' * (threads > 1)}."
    return Section("How long they take on this machine", [said], [Table(columns, rows, left=3)])
