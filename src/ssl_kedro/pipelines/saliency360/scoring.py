"""Nodes of chapter 4 that score predictions and the baselines beside them."""

from __future__ import annotations

import numpy as np

from ssl_kedro.core.seeding import numpy_generator
from ssl_kedro.pipelines.saliency360.parameters import Saliency360Parameters
from ssl_kedro.pipelines.saliency360.records import Scored
from ssl_kedro.saliency.baselines import ceiling_scores, equator_prior, mean_map, uniform_map
from ssl_kedro.saliency.evaluation import Scores, TruthsOfTested, score_all, transposed
from ssl_kedro.saliency.folds import part
from ssl_kedro.saliency.ground_truth import fixations_of
from ssl_kedro.saliency.store import StoredPanoramas

Arrays = dict[str, np.ndarray]


def learn_priors(
    parameters: Saliency360Parameters, stored: StoredPanoramas, truth: Arrays
) -> Arrays:
    """What is known before a panorama is seen, from the training maps of each part.

    Returns:
        "<part>.equator", what latitude alone says, and "<part>.mean", the mean of the training
        maps, which also knows where viewers start; float32 (h, 2h), densities per solid angle.
    """
    height, width = truth["maps"].shape[1:]
    found: Arrays = {}
    for name in parameters.parts:
        rows = part(name, stored.scenes, stored.splits, parameters.folds, parameters.seed)
        found[f"{name}.equator"] = equator_prior(truth["maps"][rows.train], height, width)
        found[f"{name}.mean"] = mean_map(truth["maps"][rows.train], height, width)
    return found


def truths_of_tested(
    parameters: Saliency360Parameters,
    stored: StoredPanoramas,
    truth: Arrays,
    priors: Arrays,
    *,
    own: bool,
) -> tuple[list[int], TruthsOfTested, list[str]]:
    """Rows of the tested panoramas and what predictions of them are compared with.

    Args:
        parameters: of the run.
        stored: the panoramas.
        truth: their maps and fixations.
        priors: by part.
        own: whether they are the run's own data; others are all tested, with the deployed
            part's prior.

    Returns:
        Rows, panoramas, and the part that each is tested in.
    """
    rows: list[int] = []
    parts: list[str] = []
    if own:
        for name in parameters.parts:
            tested = part(
                name, stored.scenes, stored.splits, parameters.folds, parameters.seed
            ).test
            rows += tested.tolist()
            parts += [name] * len(tested)
    else:
        rows = list(range(len(stored.names)))
        parts = [parameters.deployed_part] * len(rows)
    tested_priors = [priors[f"{name}.equator"] for name in parts]
    return rows, TruthsOfTested(truth, rows, tested_priors), parts


def score_model(
    parameters: Saliency360Parameters,
    stored: StoredPanoramas,
    truth: Arrays,
    priors: Arrays,
    predictions: Arrays,
    *,
    own: bool,
) -> Scored:
    """Scores of one model's predictions, an image at a time."""
    rows, panoramas, _ = truths_of_tested(parameters, stored, truth, priors, own=own)
    at = {int(row): index for index, row in enumerate(predictions["rows"])}
    maps = (predictions["maps"][at[row]] for row in rows)
    return _described(stored, rows, score_all(maps, panoramas, parameters.score.modes))


def score_baselines(
    parameters: Saliency360Parameters,
    stored: StoredPanoramas,
    truth: Arrays,
    priors: Arrays,
    *,
    own: bool,
) -> dict[str, Scored]:
    """Scores of a uniform map, of latitude alone, of the mean map, and of other viewers."""
    rows, panoramas, parts = truths_of_tested(parameters, stored, truth, priors, own=own)
    height, width = truth["maps"].shape[1:]
    modes = parameters.score.modes
    found: dict[str, Scores] = {
        "uniform": score_all([uniform_map(height, width)] * len(rows), panoramas, modes),
        "equator": score_all([priors[f"{name}.equator"] for name in parts], panoramas, modes),
        "mean": score_all([priors[f"{name}.mean"] for name in parts], panoramas, modes),
    }
    if all(panorama.fixations is not None for panorama in panoramas):
        ceilings = [
            ceiling_scores(
                viewers,
                numpy_generator(parameters.seed, "ceiling", stored.names[row]),
                height=height,
                sigma_deg=parameters.truth.sigma_deg,
                repeats=parameters.score.ceiling_repeats,
                equator_prior=panorama.prior,
                other_fixations=panorama.others,
                modes=modes,
            )
            for row, panorama in zip(rows, panoramas, strict=True)
            if (viewers := fixations_of(truth, row)) is not None
        ]
        found["ceiling"] = transposed(ceilings, modes)
    return {name: _described(stored, rows, scores) for name, scores in found.items()}


def _described(stored: StoredPanoramas, rows: list[int], scores: Scores) -> Scored:
    return Scored([stored.names[row] for row in rows], [stored.scenes[row] for row in rows], scores)
