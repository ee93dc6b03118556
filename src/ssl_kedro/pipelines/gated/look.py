"""A look at the images of a run through its encoders: what there is to say without labels."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ssl_kedro.core.rows import rows_of
from ssl_kedro.core.seeding import numpy_generator
from ssl_kedro.evaluation.accuracies import small_pixels
from ssl_kedro.evaluation.overview import (
    Cluster,
    Duplicates,
    Neighbours,
    clusters,
    near_duplicates,
    nearest_images,
)
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.pipelines.entrance import given
from ssl_kedro.pipelines.gated.graph import Made, PlannedModel, named
from ssl_kedro.pipelines.gated.nodes import Arrays
from ssl_kedro.pipelines.gated.parameters import EncoderPipelineParameters
from ssl_kedro.pipelines.gated.variants import label_of
from ssl_kedro.reporting.thumbnails import image_uri

# Longer side in px of the pictures: of many a page stays small.
_SIDE = 56
# Images in memory at a time, where they are a memory map.
_AT_ONCE = 1024
OVERVIEW = "overview"


@dataclass(frozen=True)
class Overview:
    """What a run's features show of its images; places count training images first.

    Args:
        encoder: whose features near-duplicates and groups follow.
        images: that were looked at.
        of: as many there are.
        training: of these were trained with.
        similarity: from which images are near-duplicates.
        duplicates: those, with as many pairs as are shown.
        across: pairs of a training and an evaluation image.
        neighbours: of some evaluation images; none with labels.
        clusters: groups; none with labels.
        pictures: of places, as text that stands in a page.
    """

    encoder: str
    images: int
    of: int
    training: int
    similarity: float
    duplicates: Duplicates
    across: int
    neighbours: tuple[Neighbours, ...] = ()
    clusters: tuple[Cluster, ...] = ()
    pictures: dict[int, str] = field(default_factory=dict)


def overview_of(models: Sequence[PlannedModel], light: Sequence[PlannedModel]) -> list[Made]:
    """The node that looks at the images, by the features of one or two encoders.

    Args:
        models: all trainings.
        light: the one whose gates are looked at, if any.
    """
    own = [model for model in models if model.own_data and not model.repeat]
    cut = [model for model in own if model.training.derived == "budgeted"]
    chosen = [*light, *cut[len(cut) // 2 :]][:1]
    origins = {model.made_from for model in chosen} - {""}
    dense = [m for m in own if m.namespace in origins] or [
        m for m in own if m.training.budget is None and not m.student and not m.made_from
    ]
    both = zip(("whole", "light"), (dense[:1], chosen), strict=True)
    seen = {name: models[0] for name, models in both if models}
    if not seen:
        return []
    labels = {name: label_of(model.key) for name, model in seen.items()}
    inputs = {f"{name}_features": f"{one.namespace}.features" for name, one in seen.items()}
    of_run = named(own[0].pipeline, "parameters", "train_images", "eval_images")
    return [(given(look_at_images, labels=labels), of_run | inputs, OVERVIEW)]


def look_at_images(
    parameters: EncoderPipelineParameters,
    train_images: ImageSet,
    eval_images: ImageSet,
    whole_features: Arrays | None = None,
    light_features: Arrays | None = None,
    *,
    labels: dict[str, str],
) -> Overview:
    """Near-duplicates; without labels also neighbours of some images, and groups."""
    config, sides = parameters.overview, (train_images, eval_images)
    total, training = len(train_images) + len(eval_images), len(train_images)
    generator = numpy_generator(parameters.seed, "overview")
    kept = np.sort(generator.permutation(total)[: config.images])
    kinds = {
        name: np.concatenate([features["train"], features["eval"]])[kept]
        for name, features in _by_name(whole_features, light_features, labels).items()
    }
    encoder, features = next(iter(kinds.items()))
    parts = np.array_split(kept, -(-len(kept) // _AT_ONCE))
    pixels = np.concatenate([small_pixels(_images(sides, part)) for part in parts])
    found = near_duplicates(features, pixels, config.similarity, config.candidates)
    across = sum((kept[p.first] < training) != (kept[p.second] < training) for p in found.pairs)
    neighbours: list[Neighbours] = []
    groups: list[Cluster] = []
    if any(side.labels is None for side in sides):
        asked = generator.permutation(np.flatnonzero(kept >= training))[: config.queries]
        kinds["raw pixels"] = pixels
        neighbours = nearest_images(kinds, np.sort(asked), config.neighbours)
        groups = clusters(features, config.clusters, config.examples, parameters.seed)
    few = replace(found, pairs=found.pairs[: config.examples])
    return Overview(
        encoder=encoder,
        images=len(kept),
        of=total,
        training=int((kept < training).sum()),
        similarity=config.similarity,
        duplicates=few,
        across=int(across),
        neighbours=tuple(neighbours),
        clusters=tuple(groups),
        pictures=_pictures(sides, kept, _shown(few, neighbours, groups)),
    )


def _shown(
    few: Duplicates, neighbours: Sequence[Neighbours], groups: Sequence[Cluster]
) -> set[int]:
    """Places of all images that stand on the page."""
    found = {place for pair in few.pairs for place in (pair.first, pair.second)}
    found |= {place for group in groups for place in group.examples}
    return found | {place for one in neighbours for place in one.places}


def _images(sides: Sequence[ImageSet], places: np.ndarray) -> np.ndarray:
    """Images of ascending places among those of both sides."""
    first, second = sides
    of_second = places[places >= len(first)] - len(first)
    found = [rows_of(first.images, places[places < len(first)]), rows_of(second.images, of_second)]
    return np.concatenate(found)


def _pictures(
    sides: Sequence[ImageSet], kept: np.ndarray, shown: Collection[int]
) -> dict[int, str]:
    """Text of small pictures of some that were kept."""
    places = np.array(sorted(shown), dtype=np.int64)
    images = _images(sides, kept[places])
    return {p: image_uri(one, _SIDE) for p, one in zip(places.tolist(), images, strict=True)}


def _by_name(
    whole: Arrays | None, light: Arrays | None, labels: dict[str, str]
) -> dict[str, dict[str, np.ndarray]]:
    """Dense features first, then gated or cut ones, by part, under the names of their encoders."""

    def of(arrays: Arrays, branch: str) -> dict[str, np.ndarray]:
        return {part: arrays[f"{branch}.{part}"] for part in ("train", "eval")}

    branches = [b for b in ("dense", "gated") if light is not None and f"{b}.eval" in light]
    if light is not None and len(branches) == 2:
        return {f"{labels['light']}, {branch}": of(light, branch) for branch in branches}
    found = {} if whole is None else {labels["whole"]: of(whole, "dense")}
    return found | ({} if light is None else {labels["light"]: of(light, branches[0])})
