"""Pictures of what encoders are trained on: some images of each class, and views of some."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ssl_kedro.augment.views import RandomViews
from ssl_kedro.augment.whole import central_squares
from ssl_kedro.core.seeding import numpy_generator, torch_generator
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.pipelines.gated.nodes import Arrays
from ssl_kedro.pipelines.gated.parameters import EncoderPipelineParameters
from ssl_kedro.reporting.html import Section
from ssl_kedro.reporting.thumbnails import Thumbnail, Thumbnails, image_uri

# How much of the data a page has room for.
_CLASSES, _OF_A_CLASS, _UNLABELLED = 10, 8, 24
_IMAGES_WITH_VIEWS, _VIEWS = 4, 7


def data_pictures(parameters: EncoderPipelineParameters, images: ImageSet) -> Arrays:
    """Some images of a run and views of them, drawn by its seed.

    Args:
        parameters: of the run.
        images: that encoders are trained on.

    Returns:
        "images" uint8 (N, 3, H, W); "labels" int64 (N,), -1 where there are none; "viewed" uint8
        (M, 3, H, W); "views" uint8 (M, V, 3, S, S) of these.
    """
    order = numpy_generator(parameters.seed, "data pictures").permutation(len(images))
    labels = images.labels
    if labels is None:
        chosen = order[:_UNLABELLED]
    else:
        present = np.unique(labels)
        classes = present[np.linspace(0, len(present) - 1, min(_CLASSES, len(present))).astype(int)]
        chosen = np.concatenate([order[labels[order] == of][:_OF_A_CLASS] for of in classes])
    few = chosen[:: max(1, len(chosen) // _IMAGES_WITH_VIEWS)][:_IMAGES_WITH_VIEWS]
    viewed = np.ascontiguousarray(images.images[few])
    generator, size = torch_generator(parameters.seed, "data pictures"), parameters.data.size
    batch, made = torch.from_numpy(viewed), RandomViews(parameters.training_views)
    views = torch.stack([made(batch, generator) for _ in range(_VIEWS)], dim=1)
    return {
        "images": central_squares(np.ascontiguousarray(images.images[chosen]), size),
        "labels": np.full(len(chosen), -1) if labels is None else labels[chosen],
        "viewed": central_squares(viewed, size),
        "views": (views * 255).round().to(torch.uint8).numpy(),
    }


def data_section(manifest: Mapping[str, Any], shown: Arrays | None) -> list[Section]:
    """What the images look like, and what the training makes of them; nothing without pictures.

    Args:
        manifest: of the run; ``manifest["data"]`` has numbers of images and names of classes.
        shown: from :func:`data_pictures`.
    """
    if shown is None:
        return []
    data, labels = manifest["data"], shown["labels"]
    classes = [name for name in np.unique(labels) if name >= 0]
    numbers = ", ".join(
        f"{count:,} to {_USES.get(use, use)}" for use, count in data["images"].items()
    )
    said = [f"Images: {numbers}."]
    if classes:
        said.append(
            "A row is a class. Training does not look at the classes; only its evaluation does."
        )
    rows = [_row(_class_name(data, of), shown["images"][labels == of]) for of in classes] or [
        _row("training images", shown["images"])
    ]
    views = Section(
        "What training sees: views",
        [
            "Training never sees an image as it is. It sees random views, and learns that views of "
            "one image belong together. Framed: an image. Beside it: some of its views."
        ],
        thumbnails=[
            Thumbnails(
                "",
                [
                    Thumbnail(image_uri(image), description="an image", framed=True),
                    *(Thumbnail(image_uri(view), description="a view of it") for view in views),
                ],
            )
            for image, views in zip(shown["viewed"], shown["views"], strict=True)
        ],
    )
    return [Section("The images", said, thumbnails=rows), views]


def _row(words: str, images: np.ndarray) -> Thumbnails:
    return Thumbnails(words, [Thumbnail(image_uri(one), description=words) for one in images])


_USES = {"pretrain": "train encoders on", "train": "teach the evaluation", "eval": "evaluate on"}


def _class_name(data: Mapping[str, Any], label: int) -> str:
    names: Sequence[str] = data.get("class_names", ())
    return names[label] if label < len(names) else f"class {label}"
