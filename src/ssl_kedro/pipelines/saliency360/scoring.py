"""Nodes of chapter 4 that score predictions and the baselines beside them."""

from dataclasses import replace

import numpy as np

from ssl_kedro.core.seeding import numpy_generator
from ssl_kedro.pipelines.saliency360.parameters import Saliency360Parameters
from ssl_kedro.pipelines.saliency360.records import Scored
from ssl_kedro.saliency import given_maps
from ssl_kedro.saliency.baselines import ceiling_scores, equator_prior, mean_map, uniform_map
from ssl_kedro.saliency.evaluation import Scores, TruthsOfTested, score_all, transposed
from ssl_kedro.saliency.folds import Part, part
from ssl_kedro.saliency.given_maps import MapFolder
from ssl_kedro.saliency.ground_truth import Arrays, fixations_of
from ssl_kedro.saliency.panoramas import PanoramaSource
from ssl_kedro.saliency.store import StoredPanoramas


def part_of(
    parameters: Saliency360Parameters, found: StoredPanoramas | PanoramaSource, name: str
) -> Part:
    """Which panoramas one part learns from and is tested on."""
    return part(name, found.scenes, found.splits, parameters.folds, parameters.seed)


def tested_rows(
    parameters: Saliency360Parameters, stored: StoredPanoramas, *, own: bool
) -> dict[str, np.ndarray]:
    """Rows of the tested panoramas by the part whose decoder is tested on them, int64.

    Those that are not the run's own data are all tested, by the deployed part.
    """
    if not own:
        return {parameters.deployed_part: np.arange(len(stored.names), dtype=np.int64)}
    return {name: part_of(parameters, stored, name).test for name in parameters.parts}


def learn_priors(
    parameters: Saliency360Parameters, stored: StoredPanoramas, truth: Arrays
) -> Arrays:
    """What is known before a panorama is seen, from the training maps of each part.

    Returns:
        "<part>.equator", what latitude alone says, and "<part>.mean", the mean of the training
        maps, which also knows where viewers start; float32 (h, 2h), densities per solid angle.
    """
    size = truth["maps"].shape[1:]
    found: Arrays = {}
    for name in parameters.parts:
        maps = truth["maps"][part_of(parameters, stored, name).train]
        found[f"{name}.equator"] = equator_prior(maps, *size)
        found[f"{name}.mean"] = mean_map(maps, *size)
    return found


def truths_of_tested(
    parameters: Saliency360Parameters,
    stored: StoredPanoramas,
    truth: Arrays,
    priors: Arrays,
    *,
    own: bool,
) -> tuple[list[int], TruthsOfTested, list[str]]:
    """Rows that are tested, what predictions of them are compared with, and the part of each."""
    tested = tested_rows(parameters, stored, own=own)
    rows = [int(row) for of_part in tested.values() for row in of_part]
    parts = [name for name, of_part in tested.items() for _ in of_part]
    return rows, TruthsOfTested(truth, rows, [priors[f"{name}.equator"] for name in parts]), parts


def read_maps(
    parameters: Saliency360Parameters,
    stored: StoredPanoramas,
    source: PanoramaSource,
    folder: MapFolder,
    *,
    model: str,
    own: bool,
) -> Arrays:
    """What somebody else's predictor says of the tested panoramas, as :func:`predict_tested`.

    Returns:
        "maps": float32 (T, h, 2h), at the size of the truth; "rows": int64 (T,).
    """
    rows = np.concatenate(list(tested_rows(parameters, stored, own=own).values()))
    paths = folder.paired([stored.names[row] for row in rows], source.names)
    return {"maps": given_maps.read_maps(paths, parameters.truth.height, model), "rows": rows}


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
    scored = _described(stored, rows, score_all(maps, panoramas, parameters.score.modes))
    macs = predictions.get("encoder_macs")  # earlier versions left none
    return scored if macs is None else replace(scored, encoder_macs=float(macs.mean()))


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
    maps = {
        "uniform": [uniform_map(height, width)] * len(rows),
        "equator": [priors[f"{name}.equator"] for name in parts],
        "mean": [priors[f"{name}.mean"] for name in parts],
    }
    found: dict[str, Scores] = {k: score_all(of, panoramas, modes) for k, of in maps.items()}
    if all(panorama.fixations for panorama in panoramas):
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
