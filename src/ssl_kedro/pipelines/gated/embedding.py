"""A trained encoder put to use: ``--tags embed`` a folder, ``--tags find`` pictures in it."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from kedro.pipeline import Node, node

from ssl_kedro.core.config import ConfigError
from ssl_kedro.core.errors import InputError, first_few, shown
from ssl_kedro.core.names import Names
from ssl_kedro.encoders.base import Encoder
from ssl_kedro.images.photographs import SquareFiles
from ssl_kedro.pipelines.entrance import given
from ssl_kedro.pipelines.gated.embed_parameters import EMBED, FIND
from ssl_kedro.pipelines.gated.given_encoder import typed_by
from ssl_kedro.pipelines.gated.graph import named
from ssl_kedro.pipelines.gated.parameters import EncoderPipelineParameters
from ssl_kedro.pipelines.gated.report.gallery import found_gallery
from ssl_kedro.retrieval.embeddings import (
    Embeddings,
    FeatureNetwork,
    embed,
    most_similar,
    similarity_index,
)
from ssl_kedro.retrieval.extraction import ExtractConfig, VectorStore

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EmbeddingRecord:
    """What ``--tags embed`` did.

    Args:
        encoder: where it lies, or its name in the catalog.
        part: "dense", "gated" or a budget.
        folder: of the images.
        images: that were embedded.
        dimensions: of a vector.
        seconds: that it took, in this run or the one that made it.
        skipped: path and reason of each file that could not be read.
        passed_over: numbers of files of a kind that is not read, by ending.
        remarks: how the images differ from those in training.
    """

    encoder: str
    part: str
    folder: str
    images: int
    dimensions: int
    seconds: float
    skipped: list[tuple[str, str]]
    passed_over: dict[str, int]
    remarks: list[str]


def embedding_nodes(
    pipeline: str, parameters: EncoderPipelineParameters, asked: Sequence[str]
) -> list[Node]:
    """Nodes of the two tags, those that are asked for; nothing is trained.

    Args:
        pipeline: its key.
        parameters: of the run.
        asked: tags of the run.

    Raises:
        ConfigError: other tags of the pipeline beside these, or a parameter that they need is
            missing.
    """
    tags = [tag for tag in (EMBED, FIND) if tag in asked]
    parameters.check_alone(tags, asked)
    what = {EMBED: ("input", "a folder of images"), FIND: ("query", "a picture, or a folder")}
    for tag in tags:
        key, expected = what[tag]
        if not getattr(getattr(parameters, tag), key):
            raise ConfigError(f"{pipeline}.{tag}.{key}", None, f"{expected}: --params sets it")
    chosen = parameters.embed.encoder
    name = chosen if isinstance(chosen, str) else f"{pipeline}.encoder_to_use"
    encoder = {"encoder": name}
    run, left = named(pipeline, "parameters"), named(pipeline, "embeddings", "embedding_index")
    vectors, query = named(pipeline, "embeddings"), {"files": f"{pipeline}.find_files"}
    folder = {"files": f"{pipeline}.embed_files", "store": f"{pipeline}.embedding_store"}
    put = given(embed_folder, pipeline=pipeline, name=name)
    search = given(find_similar, pipeline=pipeline, name=name)
    embedded = [*vectors.values(), f"{pipeline}.embedding_record"]
    shown_too = named(pipeline, "found", "embeddings") | query
    made: list[tuple[str, Callable[..., Any], Mapping[str, str], str | list[str]]] = [
        (EMBED, put, run | encoder | folder, embedded),
        (EMBED, index_embeddings, run | vectors, left["embedding_index"]),
        (FIND, search, run | encoder | query | left, shown_too["found"]),
        (FIND, found_gallery, shown_too, f"{pipeline}.found_gallery"),
    ]
    return [
        node(
            typed_by(type(parameters), function) if "parameters" in inputs else function,
            dict(inputs),
            outputs,
            name=function.__name__,
            tags=[tag],
        )
        for tag, function, inputs, outputs in made
        if tag in tags
    ]


@contextmanager
def _of_parameter(pipeline: str) -> Iterator[None]:
    """Complete the keys of errors."""
    try:
        yield
    except ConfigError as error:
        key = f"{pipeline}.{EMBED}.{error.field}"
        raise ConfigError(key, error.value, error.expected) from error


def _network(
    parameters: EncoderPipelineParameters, encoder: Encoder, pipeline: str
) -> FeatureNetwork:
    with _of_parameter(pipeline):
        return FeatureNetwork.of(encoder, parameters.embed.branch, parameters.embed.budget)


def _how(parameters: EncoderPipelineParameters) -> ExtractConfig:
    of_run = parameters.embed
    return ExtractConfig(
        device=parameters.train.device,
        batch_size=of_run.batch_size,
        max_skipped=of_run.max_skipped,
    )


def embed_folder(
    parameters: EncoderPipelineParameters,
    encoder: Encoder,
    files: SquareFiles,
    store: VectorStore,
    *,
    pipeline: str,
    name: str,
) -> tuple[Embeddings, EmbeddingRecord]:
    """Features of all files; what differs from training, and what could not be read, is told."""
    network, place = _network(parameters, encoder, pipeline), getattr(encoder, "place", name)
    own, others = network.label, [b for b in encoder.branches if b != network.label]
    beside = f" (it also has {', '.join(others)})" if others else ""
    _log.info("%d images by %s, %s%s", len(files), place, own, beside)
    with _of_parameter(pipeline):
        found = embed(
            network,
            files,
            store,
            _how(parameters),
            f"{pipeline}.{EMBED}.max_skipped",
            {"encoder": place, "branch": own if own in encoder.branches else "dense"}
            | ({} if parameters.embed.budget is None else {"budget": str(parameters.embed.budget)}),
        )
    for remark in found.remarks:
        _log.warning(remark)
    if found.skipped:
        listed = first_few(f"{path} ({why})" for path, why in found.skipped)
        _log.warning("%d files could not be read: %s", len(found.skipped), listed)
    made = found.embeddings
    return made, EmbeddingRecord(
        encoder=place,
        part=own,
        folder=shown(made.facts["folder"]),
        images=len(made.names),
        dimensions=made.vectors.shape[1],
        seconds=found.seconds,
        skipped=[(shown(path), why) for path, why in found.skipped],
        passed_over=found.passed_over,
        remarks=found.remarks,
    )


def index_embeddings(parameters: EncoderPipelineParameters, embeddings: Embeddings) -> Any:
    """A faiss index over them, by cosine."""
    return similarity_index(embeddings.vectors, parameters.embed.index, parameters.seed)


def find_similar(
    parameters: EncoderPipelineParameters,
    encoder: Encoder,
    files: SquareFiles,
    embeddings: Embeddings,
    embedding_index: Any,
    *,
    pipeline: str,
    name: str,
) -> pd.DataFrame:
    """The most similar images of each picture: query, rank, path below the folder, similarity.

    Raises:
        InputError: the index is that of another encoder, or no picture can be read.
    """
    network = _network(parameters, encoder, pipeline)
    _check_belong(network, getattr(encoder, "place", name), embeddings, embedding_index, pipeline)
    if len(files) > (most := parameters.find.limit):
        told = "the first %d of %d pictures are looked for (%s.find.limit)"
        _log.warning(told, most, len(files), pipeline)
        files = SquareFiles(files.root, Names.of(files.names[:most]))
    made = network.vectors(files, _how(parameters))
    if made.skipped:
        listed = first_few(f"{shown(path)} ({why})" for path, why in made.skipped)
        if len(made.skipped) == len(files):
            key = f"{pipeline}.{FIND}.query"
            remedy = "name a JPEG, PNG or another image that can be opened"
            raise InputError(key, f"no picture that can be read: {listed}", "an image", remedy)
        _log.warning("%d pictures could not be read: %s", len(made.skipped), listed)
    similarities, places = most_similar(
        embedding_index,
        embeddings.vectors,
        made.vectors,
        parameters.find.count,
        probes=parameters.find.probes,
    )
    asked = [shown(files.names[row]) for row in np.flatnonzero(made.counts).tolist()]
    rows = [
        (query, rank, embeddings.names[place], float(similarity))
        for query, scores, of_query in zip(asked, similarities, places.tolist(), strict=True)
        for rank, (place, similarity) in enumerate(zip(of_query, scores, strict=True), start=1)
        if place >= 0
    ]
    return pd.DataFrame(rows, columns=["query", "rank", "path", "similarity"])


def _check_belong(
    network: FeatureNetwork, place: str, embeddings: Embeddings, index: Any, pipeline: str
) -> None:
    """Refuse an index of another encoder, and one that is not of these vectors."""
    facts = embeddings.facts
    if network.fingerprint != facts.get("fingerprint"):
        keys = [key for key in ("encoder", "branch", "budget") if key in facts]
        given_by = ",".join(f"{pipeline}.{EMBED}.{key}={facts[key]}" for key in keys)
        raise InputError(
            f"--tags {FIND}",
            f"{place}, {network.label}",
            f"what made the index: {facts.get('encoder')}, {facts.get('part')}",
            f"add --params {given_by}, or embed the folder again",
        )
    if len(embeddings.vectors) != index.ntotal:
        found = f"an index of {index.ntotal} images and {len(embeddings.vectors)} vectors"
        remedy = "embed the folder again: a run has ended between the two"
        raise InputError(f"--tags {FIND}", found, "as many of both", remedy)
