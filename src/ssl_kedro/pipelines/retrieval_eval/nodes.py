"""Nodes of chapter 3 from images to descriptors; ``ranking_nodes`` has those that follow."""

import dataclasses
import logging

import numpy as np

from ssl_kedro.core.cluster import spread
from ssl_kedro.encoders.maps import MapNetwork, network_fingerprint
from ssl_kedro.pipelines.entrance import nested
from ssl_kedro.pipelines.retrieval_eval.parameters import RetrievalEvalParameters
from ssl_kedro.pipelines.retrieval_eval.records import (
    Data,
    Extraction,
    TaskSummary,
)
from ssl_kedro.retrieval.described import head_arrays
from ssl_kedro.retrieval.descriptors import (
    aggregated,
    checked_descriptors,
    concatenated,
    vector_blocks,
)
from ssl_kedro.retrieval.extraction import (
    VectorStore,
    adapted,
    extract_vectors,
)
from ssl_kedro.retrieval.scoring import chance_scores
from ssl_kedro.retrieval.sets import RetrievalSet
from ssl_kedro.retrieval.whitening import PublishedWhitening, Whitening, learnt_whitening

Arrays = dict[str, np.ndarray]

_log = logging.getLogger(__name__)


def check_data(parameters: RetrievalEvalParameters, **found: RetrievalSet) -> Data:
    """What every task and whitening set holds; fails before any extraction starts."""
    with spread(cluster=parameters.extract.cluster):
        pass  # is reached, or says so
    if not parameters.own_descriptors:
        for name in parameters.absent_encoders:
            file = parameters.encoders[name].file
            _log.info("Encoder %r is left out: there is nothing at %s", name, file)
    return {name: _summary(task, parameters.seed) for name, task in nested(found)["sets"].items()}


def _summary(task: RetrievalSet, seed: int) -> TaskSummary:
    truth = task.truth
    fingerprint, queries_fingerprint = (
        None if images is None else images.fingerprint() for images in (task.database, task.queries)
    )
    if truth is None:
        count, passed = len(task.database or ()), dict(task.passed_over)
        return TaskSummary(task.cropped, count, fingerprint, passed_over=passed)
    return TaskSummary(
        task.cropped,
        len(truth.database),
        fingerprint,
        len(truth.queries),
        queries_fingerprint,
        {level: truth.queries_without_positives(level) for level in truth.levels},
        chance_scores(truth, seed),
        dict(task.passed_over),
    )


def extract(
    parameters: RetrievalEvalParameters,
    data: Data,
    task: RetrievalSet,
    network: MapNetwork,
    database_vectors: VectorStore,
    query_vectors: VectorStore,
    *,
    encoder: str,
) -> Extraction:
    """Pooled vectors of all images, into the stores; what is there already is kept."""
    config, resize = parameters.encoders[encoder], parameters.resize(encoder)
    described, pooling = data[task.name], config.pooling_of(parameters.pooling, network)
    identity = {
        "network": network_fingerprint(network),
        "adapted_to": described.fingerprint if config.adapt_batch_norm else None,
        "size": resize.side,
        "keep_aspect": resize.keep_aspect,
        "pooling": [pooling.kind, pooling.levels, pooling.power],
        "precision": parameters.extract.precision,
    }
    parts = {"database": (task.database, database_vectors, described.fingerprint)}
    if task.queries is not None:
        parts["queries"] = (task.queries, query_vectors, described.queries_fingerprint)
    identities = {name: identity | {"images": mark} for name, (_, _, mark) in parts.items()}
    stale = [name for name, (_, store, _) in parts.items() if not store.holds(identities[name])]
    if stale and config.adapt_batch_norm and task.database is not None:
        network = adapted(network, task.database, resize, parameters.extract)
    made = [
        extract_vectors(
            photographs,
            network,
            resize,
            pooling,
            parameters.extract,
            store,
            identities[name],
            f"{encoder}, {task.name}, {name}",
        )
        for name, (photographs, store, _) in parts.items()
        if photographs is not None
    ]
    return Extraction(network.weights, *made)


def learn_whitening(extraction: Extraction, database_vectors: VectorStore) -> Arrays:  # noqa: ARG001
    """PCA-whitening of all vectors of a database."""
    learnt = learnt_whitening(vector_blocks(database_vectors.vectors()))
    return dataclasses.asdict(learnt) | {"count": np.array([learnt.count])}


def publish_whitening(
    parameters: RetrievalEvalParameters, network: MapNetwork, *, encoder: str
) -> Arrays:
    """The whitening that an encoder's publisher gives out with it."""
    return head_arrays(parameters.encoders[encoder].head_of(network))


def whitening_of(parameters: RetrievalEvalParameters, encoder: str, arrays: Arrays) -> Whitening:
    """A whitening from the arrays that it is kept as."""
    if "weight" in arrays:
        power = parameters.encoders[encoder].whitening_power
        return PublishedWhitening.of_arrays(arrays, power)
    return Whitening(**{**arrays, "count": int(arrays["count"][0])})  # type: ignore[arg-type]


def wanted_dimensions(parameters: RetrievalEvalParameters, whitening: Whitening) -> int:
    """As many as asked for and reliable; all of a published one."""
    if isinstance(whitening, PublishedWhitening):
        return whitening.dimensions
    return min(parameters.whitening.dimensions, whitening.reliable_dimensions)


def describe_database(
    parameters: RetrievalEvalParameters,
    extraction: Extraction,  # noqa: ARG001  says that the store is complete
    database_vectors: VectorStore,
    whitening: Arrays | None = None,
    *,
    encoder: str,
) -> np.ndarray:
    """One descriptor an image, (N, d); whitened where a whitening is given.

    Fewer dimensions than wanted where the whitening set cannot tell so many apart.
    """
    learnt, dimensions = None, None
    if whitening:
        learnt = whitening_of(parameters, encoder, whitening)
        dimensions, wanted = wanted_dimensions(parameters, learnt), parameters.whitening.dimensions
        if wanted > dimensions:
            reason = f"was learnt from {learnt.count:,} vectors of length {len(learnt.mean)}"
            _log.info("%d dimensions in place of %d: whitening %s", dimensions, wanted, reason)
    return aggregated(database_vectors.vectors(), database_vectors.starts(), learnt, dimensions)


def describe_queries(
    parameters: RetrievalEvalParameters,
    extraction: Extraction,
    task: RetrievalSet,
    query_vectors: VectorStore,
    descriptors: np.ndarray,
    whitening: Arrays | None = None,
    *,
    encoder: str,
) -> np.ndarray:
    """One descriptor a query, (Q, d): of its own image, or its row of the database."""
    if extraction.queries is not None:
        return describe_database(parameters, extraction, query_vectors, whitening, encoder=encoder)
    return np.array(descriptors[task.own_rows])


def describe_ensemble(parameters: RetrievalEvalParameters, **descriptors: np.ndarray) -> Arrays:
    """Descriptors of several encoders side by side, brought to d dimensions by PCA.

    They are called "database.<member>", "queries.<member>", and "learn_on.<member>" of the
    whitening set where that is another one.

    Returns:
        "descriptors" and "query_descriptors".
    """
    joined = {
        part: concatenated(list(members.values())) for part, members in nested(descriptors).items()
    }
    learn_on = joined.get("learn_on", joined["database"])
    pca = learnt_whitening(vector_blocks(learn_on[learn_on.any(axis=1)]), whiten=False)
    d = min(parameters.whitening.dimensions, pca.dimensions)
    database, queries = (
        aggregated(rows, np.arange(len(rows) + 1), pca, d)
        for rows in (joined["database"], joined["queries"])
    )
    return {"descriptors": database, "query_descriptors": queries}


def check_own_descriptors(
    parameters: RetrievalEvalParameters,
    task: RetrievalSet,
    own_database: np.ndarray,
    own_queries: np.ndarray,
) -> Arrays:
    """A user's descriptors at unit length, refused where they do not fit the ground truth."""
    truth, files = task.judged, parameters.descriptors
    database, queries = checked_descriptors(
        {
            "database": (own_database, len(truth.database), files.database),
            "queries": (own_queries, len(truth.queries), files.queries),
        }
    )
    return {"descriptors": database, "query_descriptors": queries}
