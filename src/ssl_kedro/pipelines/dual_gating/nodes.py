"""Nodes that only chapter 6 has: its tables and the embedding."""

import numpy as np
import pandas as pd

from ssl_kedro.core.seeding import numpy_generator
from ssl_kedro.evaluation.embedding import embed_2d
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters
from ssl_kedro.pipelines.dual_gating.part import parts
from ssl_kedro.pipelines.dual_gating.row import Row

Arrays = dict[str, np.ndarray]


def part_table(parameters: DualGatingParameters, rows: pd.DataFrame, *, part: str) -> pd.DataFrame:
    """One table or question of the chapter, measured beside published."""
    common = Row(
        rows,
        dataset=parameters.published,
        is_that_dataset=parameters.on_published_data,
        published_names=parameters.transfer.published,
        teachers=parameters.distillation.shown,
    )
    return parts()[part].table(common)


def embed_features(
    parameters: DualGatingParameters, eval_images: ImageSet, **features: Arrays
) -> pd.DataFrame:
    """Two-dimensional embedding of a sample of the evaluation images, for every branch."""
    count = min(parameters.embedding.samples, len(eval_images))
    draw = numpy_generator(parameters.seed, "embedding sample")
    chosen = np.sort(draw.choice(len(eval_images), count, replace=False))
    labels = np.full(count, -1) if eval_images.labels is None else eval_images.labels[chosen]
    names = [eval_images.class_names[label] if label >= 0 else "" for label in labels]
    frames = []
    for key, arrays in features.items():
        for branch in ("dense", "gated"):
            if f"{branch}.eval" not in arrays:
                continue
            shown = arrays[f"{branch}.eval"][chosen]
            points = embed_2d(shown, parameters.embedding, seed=parameters.seed)
            frame = pd.DataFrame(points, columns=["x", "y"])
            frame.insert(0, "model", key)
            frame.insert(1, "branch", branch)
            frames.append(frame.assign(label=labels, class_name=names))
    return pd.concat(frames, ignore_index=True)
