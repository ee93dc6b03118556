"""Nodes of chapter 3: from images to descriptors, from descriptors to scores."""

import dataclasses
import logging
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np

from ssl_kedro.core.cluster import HERE, Workers, spread
from ssl_kedro.encoders.maps import MapNetwork, network_fingerprint
from ssl_kedro.pipelines.entrance import nested
from ssl_kedro.pipelines.retrieval_eval.parameters import RetrievalEvalParameters
from ssl_kedro.pipelines.retrieval_eval.records import (
    Data,
    Evaluation,
    Extraction,
    Sweep,
    TaskSummary,
)
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
from ssl_kedro.retrieval.ground_truth.model import GroundTruth
from ssl_kedro.retrieval.scoring import chance_scores, ranking_scores, whitened_scores
from ssl_kedro.retrieval.searcher import (
    Searcher,
    index_of,
    reranked,
)
from ssl_kedro.retrieval.sets import RetrievalSet
from ssl_kedro.retrieval.whitening import Whitening, learnt_whitening

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
    described, pooling = data[task.name], parameters.pooling
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


def _whitening(arrays: Arrays) -> Whitening:
    return Whitening(**{**arrays, "count": int(arrays["count"][0])})  # type: ignore[arg-type]


def describe_database(
    parameters: RetrievalEvalParameters,
    extraction: Extraction,  # noqa: ARG001  says that the store is complete
    database_vectors: VectorStore,
    whitening: Arrays | None = None,
) -> np.ndarray:
    """One descriptor an image, (N, d); whitened where a whitening is given.

    Fewer dimensions than wanted where the whitening set cannot tell so many apart.
    """
    learnt, dimensions = None, None
    if whitening:
        learnt = _whitening(whitening)
        wanted, possible = parameters.whitening.dimensions, learnt.reliable_dimensions
        dimensions = min(wanted, possible)
        if wanted > possible:
            reason = f"was learnt from {learnt.count:,} vectors of length {len(learnt.mean)}"
            _log.info("%d dimensions in place of %d: whitening %s", possible, wanted, reason)
    return aggregated(database_vectors.vectors(), database_vectors.starts(), learnt, dimensions)


def describe_queries(
    parameters: RetrievalEvalParameters,
    extraction: Extraction,
    task: RetrievalSet,
    query_vectors: VectorStore,
    descriptors: np.ndarray,
    whitening: Arrays | None = None,
) -> np.ndarray:
    """One descriptor a query, (Q, d): of its own image, or its row of the database."""
    if extraction.queries is not None:
        return describe_database(parameters, extraction, query_vectors, whitening)
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
    truth, files = _truth(task), parameters.descriptors
    database, queries = checked_descriptors(
        {
            "database": (own_database, len(truth.database), files.database),
            "queries": (own_queries, len(truth.queries), files.queries),
        }
    )
    return {"descriptors": database, "query_descriptors": queries}


def index(parameters: RetrievalEvalParameters, descriptors: np.ndarray) -> Any:
    """A faiss index of the database's descriptors."""
    with _workers(parameters) as workers:
        return index_of(descriptors, parameters.search, parameters.seed, workers)


def _workers(parameters: RetrievalEvalParameters) -> AbstractContextManager[Workers]:
    """Those of the extraction, where the database is searched in pieces."""
    if parameters.search.shards == 1:
        return nullcontext(HERE)
    return spread(parameters.extract.processes, parameters.extract.cluster)


def search(
    parameters: RetrievalEvalParameters,
    descriptors: np.ndarray,
    query_descriptors: np.ndarray,
    index: Any = None,
) -> Arrays:
    """Global search: database indices, best first, (K, Q); full where the search is exact."""
    with _workers(parameters) as workers:
        searcher = Searcher(descriptors, index, parameters.search, parameters.seed, workers)
        return {"g": searcher.rankings(query_descriptors)}


def rerank(
    parameters: RetrievalEvalParameters,
    task: RetrievalSet,
    descriptors: np.ndarray,
    query_descriptors: np.ndarray,
    rankings: Arrays,
    index: Any = None,
) -> Arrays:
    """Rankings after query expansion, database-side augmentation and both, (K, Q) each."""
    own = task.own_rows
    with _workers(parameters) as workers:
        searcher = Searcher(descriptors, index, parameters.search, parameters.seed, workers)
        return reranked(searcher, query_descriptors, rankings["g"], own, parameters.reranking)


def score(
    parameters: RetrievalEvalParameters,
    task: RetrievalSet,
    descriptors: np.ndarray,
    query_descriptors: np.ndarray,
    rankings: Arrays,
    reranked: Arrays,
) -> Evaluation:
    """Scores of every ranking, and what they were made with."""
    truth, usable = _truth(task), np.asarray(query_descriptors.any(axis=1))
    sets = ("own",) if parameters.own_descriptors else parameters.whitening_sets(task.name)
    return Evaluation(
        whitened_on=sets[0],
        cropped=task.cropped,
        dimensions=int(descriptors.shape[1]),
        index=parameters.search.index,
        rankings={
            name: ranking_scores(found, truth, usable)
            for name, found in {**rankings, **reranked}.items()
        },
    )


def sweep(
    parameters: RetrievalEvalParameters,
    extraction: Extraction,
    task: RetrievalSet,
    database_vectors: VectorStore,
    query_vectors: VectorStore,
    **found: Arrays,
) -> Sweep:
    """Global search at other dimensions and with whitening learnt elsewhere.

    Whitenings are by the set that each was learnt on; the task's first one is evaluated at all
    dimensions.
    """
    wanted = parameters.whitening
    queries = task.own_rows if extraction.queries is None else query_vectors
    scores = partial(whitened_scores, _truth(task), database_vectors, queries)
    whitenings = nested(found).get("whitenings", {})
    learnt = {name: _whitening(arrays) for name, arrays in whitenings.items()}
    sets = parameters.whitening_sets(task.name)
    main = next((learnt[name] for name in sets if name in learnt), None)
    # At most what the whitening set spans.
    reachable = sorted({d for d in wanted.sweep if main is not None and d <= main.dimensions})
    return Sweep(
        dimensions=dict(zip(reachable, scores(main, reachable), strict=True)),
        whitened_on={
            name: scores(w, [min(wanted.dimensions, w.reliable_dimensions)])[0]
            for name, w in learnt.items()
        },
        true_dimension=scores(None, [None])[0] if wanted.true_dimension else None,
        channels=extraction.database.channels if wanted.true_dimension else None,
    )


def _truth(task: RetrievalSet) -> GroundTruth:
    if task.truth is None:
        raise ValueError(f"{task.name} has no ground truth")
    return task.truth
