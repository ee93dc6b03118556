"""Nodes of chapter 3: from images to descriptors, from descriptors to scores."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from ssl_kedro.encoders.frozen import check_present
from ssl_kedro.encoders.maps import MapNetwork
from ssl_kedro.pipelines.retrieval_eval.parameters import RetrievalEvalParameters
from ssl_kedro.retrieval.checks import checked_descriptors
from ssl_kedro.retrieval.descriptors import (
    aggregated,
    aggregated_at,
    concatenated,
    vector_blocks,
)
from ssl_kedro.retrieval.extraction import (
    VectorStore,
    adapted,
    extract_vectors,
    network_fingerprint,
)
from ssl_kedro.retrieval.index import build_index
from ssl_kedro.retrieval.ranking import Searcher, reranked
from ssl_kedro.retrieval.scoring import chance_scores, ranking_scores, similarity_scores
from ssl_kedro.retrieval.search import similarities
from ssl_kedro.retrieval.sets import RetrievalSet
from ssl_kedro.retrieval.whitening import Whitening, learnt_whitening

Json = dict[str, Any]
Arrays = dict[str, np.ndarray]

_log = logging.getLogger(__name__)


def check_data(parameters: RetrievalEvalParameters, *sets: RetrievalSet) -> Json:
    """What every task and whitening set holds; fails before any extraction starts."""
    if not parameters.own_descriptors:
        check_present({n: parameters.encoders[n] for n in parameters.present_encoders})
        for name in parameters.absent_encoders:
            _log.info(
                "Encoder %r is left out: there is nothing at %s",
                name,
                parameters.encoders[name].file,
            )
    return {task.name: _summary(task, parameters.seed) for task in sets}


def _summary(task: RetrievalSet, seed: int) -> Json:
    truth = task.truth
    found: Json = {"cropped": task.cropped}
    if task.database is not None:
        found |= {"images": len(task.database), "fingerprint": task.database.fingerprint()}
    if truth is None:
        return found
    return found | {
        "images": len(truth.database),
        "queries": len(truth.queries),
        "queries_fingerprint": None if task.queries is None else task.queries.fingerprint(),
        "without_positives": {
            level: list(truth.queries_without_positives(level)) for level in truth.levels
        },
        "chance": chance_scores(truth, len(truth.database), seed),
    }


def extract(
    parameters: RetrievalEvalParameters,
    data: Json,
    task: RetrievalSet,
    network: MapNetwork,
    database_store: VectorStore,
    query_store: VectorStore,
    encoder: str,
) -> Json:
    """Pooled vectors of all images, into the stores; what is there already is kept."""
    config, resize = parameters.encoders[encoder], parameters.resize(encoder)
    described = data[task.name]
    identity: Json = {
        "network": network_fingerprint(network),
        "adapted_to": described["fingerprint"] if config.adapt_batch_norm else None,
        "size": resize.side,
        "keep_aspect": resize.keep_aspect,
        "pooling": [parameters.pooling.kind, parameters.pooling.levels, parameters.pooling.power],
        "precision": parameters.extract.precision,
    }
    parts = [("database", task.database, database_store, described["fingerprint"])]
    if task.queries is not None:
        parts.append(("queries", task.queries, query_store, described["queries_fingerprint"]))
    identities = {name: identity | {"images": mark} for name, _, _, mark in parts}
    stale = [n for n, _, store, _ in parts if not store.holds(identities[n])]
    if stale and config.adapt_batch_norm and task.database is not None:
        network = adapted(network, task.database, resize, parameters.extract)
    found: Json = {"parameters": sum(p.numel() for p in network.parameters())}
    for name, photographs, store, _ in parts:
        if photographs is None:
            continue
        label = f"{encoder}, {task.name}, {name}"
        found[name] = extract_vectors(
            photographs,
            network,
            resize,
            parameters.pooling,
            parameters.extract,
            store,
            identities[name],
            label,
        )
    return found


def learn_whitening(extraction: Json, store: VectorStore) -> Arrays:  # noqa: ARG001
    """PCA-whitening of all vectors of a database."""
    return _arrays(learnt_whitening(vector_blocks(store.vectors())))


def _arrays(whitening: Whitening) -> Arrays:
    return {
        "mean": whitening.mean,
        "projection": whitening.projection,
        "variances": whitening.variances,
        "count": np.array([whitening.count]),
    }


def _whitening(arrays: Arrays) -> Whitening:
    return Whitening(
        arrays["mean"], arrays["projection"], arrays["variances"], int(arrays["count"][0])
    )


def describe_database(
    parameters: RetrievalEvalParameters,
    extraction: Json,  # noqa: ARG001  says that the store is complete
    store: VectorStore,
    *whitening: Arrays,
) -> np.ndarray:
    """One descriptor an image, (N, d); whitened where a whitening is given."""
    learnt = _whitening(whitening[0]) if whitening else None
    return aggregated(store.vectors(), store.starts(), learnt, _dimensions(parameters, learnt))


def _dimensions(parameters: RetrievalEvalParameters, whitening: Whitening | None) -> int | None:
    """As many as wanted, or as the whitening set can tell apart."""
    if whitening is None:
        return None
    wanted, possible = parameters.whitening.dimensions, whitening.reliable_dimensions
    if wanted > possible:
        _log.info(
            "%d dimensions in place of %d: whitening was learnt from %s vectors of length %d",
            possible,
            wanted,
            f"{whitening.count:,}",
            len(whitening.mean),
        )
    return min(wanted, possible)


def describe_queries(
    parameters: RetrievalEvalParameters,
    extraction: Json,
    task: RetrievalSet,
    store: VectorStore,
    database: np.ndarray,
    *whitening: Arrays,
) -> np.ndarray:
    """One descriptor a query, (Q, d): of its own image, or its row of the database."""
    if "queries" in extraction:
        return describe_database(parameters, extraction, store, *whitening)
    return np.array(database[task.own_rows])


def describe_ensemble(
    parameters: RetrievalEvalParameters, *descriptors: np.ndarray, members: int
) -> tuple[np.ndarray, np.ndarray]:
    """Descriptors of several encoders side by side, brought to d dimensions by PCA.

    Args:
        parameters: of the run.
        descriptors: of the database by each member, of the queries by each, and of the
            whitening set by each where that is another one.
        members: how many.
    """
    database = concatenated(list(descriptors[:members]))
    queries = concatenated(list(descriptors[members : 2 * members]))
    others = descriptors[2 * members :]
    learn_on = concatenated(list(others)) if others else database
    readable = learn_on[learn_on.any(axis=1)]
    pca = learnt_whitening(vector_blocks(readable), whiten=False)

    def reduced(rows: np.ndarray) -> np.ndarray:
        each = np.arange(len(rows) + 1)
        return aggregated(rows, each, pca, min(parameters.whitening.dimensions, pca.dimensions))

    return reduced(database), reduced(queries)


def check_own_descriptors(
    parameters: RetrievalEvalParameters,
    data: Json,
    database: np.ndarray,
    queries: np.ndarray,
    task: str,
) -> tuple[np.ndarray, np.ndarray]:
    """A user's descriptors at unit length, refused where they do not fit the ground truth."""
    described = data[task]
    files = parameters.descriptors
    checked = checked_descriptors(
        {"database": (database, described["images"]), "queries": (queries, described["queries"])},
        {"database": str(files.database), "queries": str(files.queries)},
    )
    return checked["database"], checked["queries"]


def index(parameters: RetrievalEvalParameters, descriptors: np.ndarray) -> Any:
    """A faiss index of the database's descriptors."""
    config = parameters.search
    return build_index(
        descriptors, config.index, train_points=config.train_points, seed=parameters.seed
    )


def search(
    parameters: RetrievalEvalParameters,
    descriptors: np.ndarray,
    queries: np.ndarray,
    *found_index: Any,
) -> Arrays:
    """Global search: database indices, best first, (K, Q); full where the search is exact."""
    searcher = _searcher(parameters, descriptors, *found_index)
    return {"g": searcher.rankings(queries)}


def _searcher(
    parameters: RetrievalEvalParameters, descriptors: np.ndarray, *found_index: Any
) -> Searcher:
    config = parameters.search
    return Searcher(
        descriptors,
        found_index[0] if found_index else None,
        probes=config.probes,
        depth=config.depth,
        refine=config.refine,
        rebuild=lambda rows: index(parameters, rows),
    )


def rerank(
    parameters: RetrievalEvalParameters,
    task: RetrievalSet,
    descriptors: np.ndarray,
    queries: np.ndarray,
    rankings: Arrays,
    *found_index: Any,
) -> Arrays:
    """Rankings after query expansion, database-side augmentation and both, (K, Q) each."""
    config = parameters.reranking
    return reranked(
        _searcher(parameters, descriptors, *found_index),
        queries,
        rankings["g"],
        task.own_rows,
        aqe=config.aqe,
        dba=config.dba,
        dba_aqe=config.dba_aqe,
        alpha_qe=config.alpha_qe,
        alpha=config.alpha,
    )


def score(
    parameters: RetrievalEvalParameters,
    data: Json,
    task: RetrievalSet,
    descriptors: np.ndarray,
    queries: np.ndarray,
    rankings: Arrays,
    further: Arrays,
    whitened_on: str,
) -> Json:
    """Scores of every ranking, and what they were made with."""
    count = data[task.name]["images"]
    return {
        "whitened_on": whitened_on,
        "cropped": data[task.name]["cropped"],
        "dimensions": int(descriptors.shape[1]),
        "index": parameters.search.index,
        "rankings": {
            name: ranking_scores(found, _truth(task), count, np.asarray(queries.any(axis=1)))
            for name, found in {**rankings, **further}.items()
        },
    }


def sweep(
    parameters: RetrievalEvalParameters,
    extraction: Json,
    task: RetrievalSet,
    database_store: VectorStore,
    query_store: VectorStore,
    *whitenings: Arrays,
    names: tuple[str, ...],
) -> Json:
    """Global search at other dimensions and with whitening learnt elsewhere.

    Args:
        parameters: of the run.
        extraction: of the encoder on the task.
        task: the task.
        database_store: vectors of its database.
        query_store: and of its queries.
        whitenings: learnt on the sets of ``names``.
        names: the first is the main one, of which all dimensions are evaluated.
    """
    stores = [database_store] + ([query_store] if "queries" in extraction else [])
    wanted = parameters.whitening

    def scores(whitening: Whitening | None, dimensions: list[int | None]) -> list[Json]:
        found = [
            aggregated_at(store.vectors(), store.starts(), whitening, dimensions)
            for store in stores
        ]
        results = []
        for d in dimensions:
            database = found[0][d]
            queries = found[1][d] if len(found) > 1 else database[task.own_rows]
            scored = similarity_scores(
                _unseen_last(database, queries), _truth(task), np.asarray(queries.any(axis=1))
            )
            results.append({level: {"map": values["map"]} for level, values in scored.items()})
        return results

    learnt = [_whitening(arrays) for arrays in whitenings]
    swept: Json = {"dimensions": {}, "whitened_on": {}}
    for name, whitening in zip(names, learnt, strict=True):
        most = min(wanted.dimensions, whitening.reliable_dimensions)
        (swept["whitened_on"][name],) = scores(whitening, [most])
    if learnt:
        # At most what the whitening set spans.
        reachable = sorted({d for d in wanted.sweep if d <= learnt[0].dimensions})
        found = scores(learnt[0], list(reachable)) if reachable else []
        swept["dimensions"] = {str(d): one for d, one in zip(reachable, found, strict=True)}
    if wanted.true_dimension:
        (swept["true_dimension"],) = scores(None, [None])
        swept["channels"] = extraction["database"]["channels"]
    return swept


def _unseen_last(database: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Similarities (N, Q), images without a descriptor below all others."""
    found = similarities(database, queries)
    found[~database.any(axis=1)] = -2.0
    return found


def _truth(task: RetrievalSet) -> Any:
    if task.truth is None:
        raise ValueError(f"{task.name} has no ground truth")
    return task.truth
