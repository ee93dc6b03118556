"""What gates look at: cheap and dear images, and channels that follow a class, with pictures."""

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ssl_kedro.core.devices import resolved_device
from ssl_kedro.core.seeding import numpy_generator
from ssl_kedro.encoders.base import Encoder
from ssl_kedro.evaluation.gate_responses import ClassChannel, GateResponses, difficulty
from ssl_kedro.evaluation.gate_responses import gate_responses as found_responses
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.pipelines.gated.nodes import Arrays
from ssl_kedro.pipelines.gated.parameters import EncoderPipelineParameters
from ssl_kedro.pipelines.gated.variants import label_of
from ssl_kedro.reporting.html import Section
from ssl_kedro.reporting.number_format import percent, plain
from ssl_kedro.reporting.style import figure
from ssl_kedro.reporting.thumbnails import Thumbnail, Thumbnails, image_uri

# Evaluation images that are looked at, at most.
_LOOKED_AT = 2000


def gate_responses(
    parameters: EncoderPipelineParameters,
    encoder: Encoder,
    features: Arrays,
    train_images: ImageSet,
    eval_images: ImageSet,
    *,
    model: str,
) -> GateResponses:
    """What the gates of one encoder do on evaluation images; of many a random part."""
    count = len(eval_images)
    kept = np.arange(count)
    if count > _LOOKED_AT:
        generator = numpy_generator(parameters.seed, "gate responses")
        kept = np.sort(generator.permutation(count)[:_LOOKED_AT])
    labels, hard = None, None
    if train_images.labels is not None and eval_images.labels is not None:
        labels = eval_images.labels[kept]
        branch = encoder.branches[0]
        sides = features[f"{branch}.train"], train_images.labels
        hard = difficulty(*sides, features[f"{branch}.eval"][kept], labels)
    found = found_responses(
        encoder,
        eval_images.images[kept],
        labels,
        eval_images.class_names,
        hard,
        model=model,
        device=resolved_device(parameters.train.device),
    )
    return found.at(kept)


def gate_section(responses: GateResponses | None, images: ImageSet | None) -> list[Section]:
    """How much the cost of an image varies, with what, and pictures; nothing without gates.

    Args:
        responses: of one encoder.
        images: those that its places are of.
    """
    if responses is None or images is None:
        return []
    varies = (
        f"An image costs {percent(responses.mean, 1)} of the dense FLOPs (MACs) on average, from "
        f"{percent(responses.lowest, 1)} to {percent(responses.highest, 1)} "
        f"({label_of(responses.model)}, {responses.images:,} evaluation images)."
    )
    said = [varies]
    if responses.class_share is not None:
        said.append(
            f"{percent(responses.class_share, 0)} of the variance of costs lies between classes."
        )
    if responses.difficulty is not None:
        said.append(
            f"The rank correlation of cost and difficulty is {plain(responses.difficulty, 2)}: 1 "
            "where harder images cost more, 0 where cost has nothing to do with it. Difficulty: "
            "distance to the nearest training image of the own class less that of another."
        )
    if responses.highest <= responses.lowest:
        said.append("All images cost the same: these gates do not look at the image.")
    rows = []
    for words, places, costs in _rows(responses):
        below = [percent(cost, 0) for cost in costs] or [""] * len(places)
        shown = zip(images.images[list(places)], below, strict=True)
        pictures = [Thumbnail(image_uri(image), cost, f"{words} {cost}") for image, cost in shown]
        rows.append(Thumbnails(words, pictures))
    return [Section("What the gates look at", said, thumbnails=rows)]


def gate_plot(responses: GateResponses, images: ImageSet) -> Figure:
    """The pictures as a file of their own."""
    return gate_pictures(responses, images.images)


def gate_pictures(responses: GateResponses, images: np.ndarray) -> Figure:
    """Rows of images: the cheapest and the dearest, and for some channels who opens it, who not.

    Args:
        responses: of one encoder.
        images: uint8 (N, 3, H, W), that its places are of.
    """
    rows = _rows(responses)
    columns = max(len(places) for _, places, _ in rows)
    made, axes = figure(0.95 * columns + 2.6, 1.05 * len(rows), len(rows), columns)
    for index, (words, places, costs) in enumerate(rows):
        row = axes[index * columns : (index + 1) * columns]
        for axis in row:
            axis.set_axis_off()
        for number, (axis, place) in enumerate(zip(row, places, strict=False)):
            axis.imshow(images[place].transpose(1, 2, 0), interpolation="nearest")
            if costs:
                axis.set_title(percent(costs[number], 0), fontsize=8, pad=2)
        _words(row[0], words)
    return made


class _Row(NamedTuple):
    words: str
    places: tuple[int, ...]
    costs: tuple[float, ...] = ()


def _rows(responses: GateResponses) -> list[_Row]:
    """What pictures show: places of images with what they have in common."""
    rows = [
        _Row("cheapest", responses.cheapest, responses.cheapest_costs),
        _Row("dearest", responses.dearest, responses.dearest_costs),
    ]
    for channel in responses.channels:
        rows += [_Row(_opened(channel), channel.opened), _Row(_closed(channel), channel.closed)]
    return rows


def _words(axis: Axes, words: str) -> None:
    axis.text(-0.15, 0.5, words, ha="right", va="center", fontsize=8, transform=axis.transAxes)


def _opened(channel: ClassChannel) -> str:
    return (
        f"{channel.block}, channel {channel.channel}\nopens: {percent(channel.most_rate, 0)} of "
        f"{channel.most}"
    )


def _closed(channel: ClassChannel) -> str:
    return f"stays closed: opens for\n{percent(channel.least_rate, 0)} of {channel.least}"
