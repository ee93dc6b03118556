"""Nodes of chapter 3 from descriptors to scores."""

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np

from ssl_kedro.core.cluster import HERE, Workers, spread
from ssl_kedro.pipelines.entrance import nested
from ssl_kedro.pipelines.retrieval_eval.nodes import Arrays, wanted_dimensions, whitening_of
from ssl_kedro.pipelines.retrieval_eval.parameters import RetrievalEvalParameters
from ssl_kedro.pipelines.retrieval_eval.records import Evaluation, Extraction, Sweep
from ssl_kedro.retrieval.extraction import VectorStore
from ssl_kedro.retrieval.scoring import ranking_scores, whitened_scores
from ssl_kedro.retrieval.searcher import Searcher, index_of, reranked
from ssl_kedro.retrieval.sets import RetrievalSet


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
    *,
    encoder: str,
) -> Evaluation:
    """Scores of every ranking, and what they were made with."""
    truth, usable = task.judged, np.asarray(query_descriptors.any(axis=1))
    return Evaluation(
        whitened_on=parameters.whitened_on(task.name, encoder),
        pooled_by=parameters.pooled_by(encoder),
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
    *,
    encoder: str,
    **found: Arrays,
) -> Sweep:
    """Global search at other dimensions and with whitening learnt elsewhere.

    Whitenings are by the set that each was learnt on; the task's first one is evaluated at all
    dimensions.
    """
    wanted = parameters.whitening
    queries = task.own_rows if extraction.queries is None else query_vectors
    scores = partial(whitened_scores, task.judged, database_vectors, queries)
    whitenings = nested(found).get("whitenings", {})
    learnt = {n: whitening_of(parameters, encoder, arrays) for n, arrays in whitenings.items()}
    sets = parameters.whitening_sets(task.name, encoder)
    main = next((learnt[name] for name in sets if name in learnt), None)
    # At most what the whitening set spans.
    reachable = sorted({d for d in wanted.sweep if main is not None and d <= main.dimensions})
    return Sweep(
        dimensions=dict(zip(reachable, scores(main, reachable), strict=True)),
        whitened_on={
            name: scores(w, [wanted_dimensions(parameters, w)])[0] for name, w in learnt.items()
        },
        true_dimension=scores(None, [None])[0] if wanted.true_dimension else None,
        channels=extraction.database.channels if wanted.true_dimension else None,
    )
