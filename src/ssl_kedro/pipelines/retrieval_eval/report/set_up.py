"""What a run does otherwise than the thesis: settings, encoders, data, and what to know of them."""

import dataclasses
from typing import Any

from ssl_kedro.pipelines.retrieval_eval.parameters import RetrievalEvalParameters
from ssl_kedro.pipelines.retrieval_eval.records import Data, Results
from ssl_kedro.reporting.html import Section
from ssl_kedro.reporting.published import (
    Setting,
    compared,
    published_in,
    published_recipe,
    recipe_section,
    values_of,
)
from ssl_kedro.retrieval.described import OWN, RUN

_CHAPTER = "3"
_GEM = "GeM (AP)"
_INSTRE = (
    "INSTRE: the thesis says 1,200 queries; Iscen's protocol, which it cites, has 1,250 (five of "
    "each of 250 objects), and its ground truth is used as published."
)
_PUBLISHER = (
    "GeM (AP): its publisher states 89.1 % on Oxford5k and 93.0 % on Paris6k, with GeM, the "
    "projection and whitening that lie in its file, images in their own size and batch norms as "
    "trained. The thesis prints 66.90 and 49.87 %. In its Table 3.4 whitening to 512 dimensions "
    "on the searched database costs the other encoders 6 to 33 points on Paris6k against their "
    "best dimension; its row is not what the publisher's encoder can do. An encoder's parameters "
    "pooling and whitening choose between both."
)
_DBA = (
    "The weight of the neighbour of rank r among k is (k - r)/k; the thesis prints kr/k, which "
    "would weigh the farthest most."
)


def set_up_section(parameters: RetrievalEvalParameters, data: Data, results: Results) -> Section:
    """A table of what differs, what is as in the thesis, and notes on encoders and data."""
    settings = [
        *_settings(parameters),
        *_encoder_settings(parameters, results),
        *_data_settings(data, results),
    ]
    what = "Settings of the run, encoders that are described otherwise, and data of another size."
    made = recipe_section(settings, published_in(_CHAPTER), what)
    return dataclasses.replace(made, paragraphs=[*made.paragraphs, *_notes(parameters, results)])


def _settings(parameters: RetrievalEvalParameters) -> list[Setting]:
    published = published_recipe(_CHAPTER)
    run = values_of(parameters, [*published])
    run["whitening.learn_on"] = parameters.whitening.learn_on[0]
    if parameters.own_descriptors:  # whose making nobody knows
        run = {name: value for name, value in run.items() if name.split(".")[0] == "reranking"}
    return compared(published, run)


def _encoder_settings(parameters: RetrievalEvalParameters, results: Results) -> list[Setting]:
    """Of encoders of the thesis, what each does otherwise than it."""
    found = []
    for name in () if parameters.own_descriptors else parameters.present_encoders:
        config = parameters.encoders[name]
        published = published_recipe(_CHAPTER, config.row)
        run: dict[str, Any] = {"encoder.adapt_batch_norm": config.adapt_batch_norm}
        if config.pooling != RUN:
            run["encoder.pooling"] = "gem" if config.pooling == OWN else config.pooling
        if config.whitening != RUN:
            task = next(iter(results.evaluations))
            run["encoder.whitening"] = "its publisher's" if config.whitening == OWN else "nothing"
            run["encoder.dimensions"] = results.evaluations[task][name].dimensions
        if config.image_size is not None:
            run["encoder.image_size"] = config.image_size
        if config.kind == "amdim":
            run["encoder.map_side"] = config.map_side
        found += [
            dataclasses.replace(one, name=f"{config.row}: {one.name}")
            for one in compared(published, run)
            if config.row and one.published is not None and not one.same
        ]
    return found


def _data_settings(data: Data, results: Results) -> list[Setting]:
    """Numbers of images and queries that the thesis states and that are others."""
    found = []
    for task in results.evaluations:
        run = {"data.images": data[task].images, "data.queries": data[task].queries}
        found += [
            dataclasses.replace(one, name=f"{task}: {one.name}")
            for one in compared(published_recipe(_CHAPTER, task), run)
            if one.published is not None and not one.same
        ]
    return found


def _notes(parameters: RetrievalEvalParameters, results: Results) -> list[str]:
    rows = {parameters.encoders[n].row for n in parameters.evaluated if n in parameters.encoders}
    return [
        *([_INSTRE] if "instre" in results.evaluations else []),
        *([_PUBLISHER] if _GEM in rows else []),
        _DBA,
    ]
