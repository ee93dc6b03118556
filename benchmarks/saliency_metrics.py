"""Saliency metrics beside their plain counterparts, in one run; prints ratios.

python benchmarks/saliency_metrics.py [--threads 1] [--rounds 7]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping

import numpy as np
import torch

from ssl_kedro.saliency.baselines import ceiling_scores, equator_prior
from ssl_kedro.saliency.ground_truth import saliency_map
from ssl_kedro.saliency.maps import MODES
from ssl_kedro.saliency.metric import RankedMap
from ssl_kedro.saliency.panoramas import Fixations
from ssl_kedro.saliency.scores import PanoramaTruth, scores_by_mode
from ssl_kedro.spherical.sphere import pixel_directions, pixel_solid_angles


def interleaved_seconds(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each, taken turn by turn after one round of warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for at in range(rounds + 1):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            if at:
                seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(taken) for name, taken in seconds.items()}


def threshold_by_threshold(prediction: np.ndarray, fixated: np.ndarray) -> float:
    """AUC-Judd in the manner of the published code: one pass over the map a threshold.

    Half a step of each trapezoid is taken back, so that both give the same number where
    nothing ties.
    """
    values, hit = prediction.ravel(), fixated.ravel()
    thresholds = np.sort(values[hit])[::-1]
    count, rest = len(thresholds), int((~hit).sum())
    true, false = np.zeros(count + 2), np.zeros(count + 2)
    true[-1] = false[-1] = 1
    for at, threshold in enumerate(thresholds):
        true[at + 1] = (at + 1) / count
        false[at + 1] = (np.sum(values >= threshold) - at - 1) / rest
    return float(np.trapezoid(true, false)) - float(false[-2]) / (2 * count)


def weighted_threshold_by_threshold(
    prediction: np.ndarray, pixels: np.ndarray, weights: np.ndarray
) -> float:
    """The same loop with the solid angles of all pixels."""
    values, weights = prediction.ravel(), weights.ravel()
    found = [
        weights @ (values < value) + 0.5 * (weights @ (values == value)) for value in values[pixels]
    ]
    return float(np.mean(found) / weights.sum())


def fixation_by_fixation(
    fixations: Fixations, height: int, width: int, sigma_deg: float
) -> np.ndarray:
    """One Gaussian over the whole sphere after the other."""
    directions = pixel_directions(height, width).numpy()
    areas = pixel_solid_angles(height, width).numpy()
    total = np.zeros((height, width))
    for pixel in fixations.pixels(height, width):
        cosine = directions @ directions.reshape(-1, 3)[pixel]
        angle = np.arccos(np.clip(cosine, -1, 1))
        gaussian = np.exp(-0.5 * (angle / np.radians(sigma_deg)) ** 2)
        total += gaussian / (gaussian * areas).sum()
    return total / len(fixations)


def example(count: int, seed: int) -> Fixations:
    """Fixations of 48 viewers that crowd towards the equator."""
    generator = np.random.default_rng(seed)
    latitude = np.clip(generator.normal(0, 20, count), -90, 90)
    return Fixations(
        generator.uniform(-180, 180, count), latitude, generator.integers(0, 48, count)
    )


def report(title: str, seconds: dict[str, float]) -> None:
    """One line a run, with its ratio to the first."""
    print(f"\n{title}")
    first = next(iter(seconds.values()))
    for name, taken in seconds.items():
        print(f"  {name:42s} {1000 * taken:9.2f} ms   x {first / taken:8.1f}")


def compare_auc(count: int, rounds: int) -> None:
    """AUC-Judd of one 512 x 1024 map."""
    height, width = 512, 1024
    generator = np.random.default_rng(0)
    prediction = generator.random((height, width))
    pixels = np.unique(example(count, 1).pixels(height, width))
    fixated = np.zeros(height * width, dtype=bool)
    fixated[pixels] = True
    plain = threshold_by_threshold(prediction, fixated)
    ours = RankedMap(prediction).auc_against_rest(pixels)
    assert abs(plain - ours) < 1e-9, (plain, ours)
    angles = pixel_solid_angles(height, width).numpy()
    shares = angles[:, 0]
    weighted = weighted_threshold_by_threshold(prediction, pixels, angles)
    ours = RankedMap(prediction).auc_against_sphere(pixels, shares)
    assert abs(weighted - ours) < 1e-9, (weighted, ours)
    both: dict[str, dict[str, Callable[[], object]]] = {
        "planar": {
            "a loop over thresholds": lambda: threshold_by_threshold(prediction, fixated),
            "ranks": lambda: RankedMap(prediction).auc_against_rest(pixels),
        },
        "sphere": {
            "a weighted loop over thresholds": lambda: weighted_threshold_by_threshold(
                prediction, pixels, angles
            ),
            "ranks and weights": lambda: RankedMap(prediction).auc_against_sphere(pixels, shares),
        },
    }
    for mode, runs in both.items():
        report(
            f"AUC-Judd, {mode}, {height} x {width}, {len(pixels)} fixated pixels",
            interleaved_seconds(runs, rounds if count < 1000 else 1),
        )


def time_metrics(count: int, rounds: int) -> None:
    """All seven metrics of one 512 x 1024 pair."""
    fixations, others = example(count, 1), example(5 * count, 2)
    truth = saliency_map(fixations, 512, 1024)
    prediction = saliency_map(others, 512, 1024)
    small = saliency_map(others, 160, 320)
    prior = equator_prior([truth], 512, 1024)
    panorama = PanoramaTruth(truth, [fixations], others, prior)
    runs: dict[str, Callable[[], object]] = {
        "all metrics, all modes": lambda: scores_by_mode(prediction, panorama),
        "the same, prediction of 160 x 320": lambda: scores_by_mode(small, panorama),
    }
    for mode in MODES:
        runs[f"all metrics, {mode}"] = lambda mode=mode: scores_by_mode(  # type: ignore[misc]
            prediction, panorama, (mode,)
        )
    report(f"one 512 x 1024 pair, {count} fixations", interleaved_seconds(runs, rounds))


def time_maps(rounds: int) -> None:
    """Ground truth of 7,000 fixations, and the ceiling."""
    fixations = example(7000, 1)
    few = fixations.of(np.arange(200))
    slow = fixation_by_fixation(few, 256, 512, 3.34)
    error = np.abs(saliency_map(few, 256, 512) - slow).max() / slow.max()
    assert error < 1e-5, error
    began = time.perf_counter()
    fixation_by_fixation(few, 256, 512, 3.34)
    one_by_one = (time.perf_counter() - began) * len(fixations) / len(few)
    seconds = {"one Gaussian after the other (from 200)": one_by_one}
    seconds |= interleaved_seconds(
        {
            "row by row, transformed": lambda: saliency_map(fixations, 256, 512),
            "the same, 512 x 1024": lambda: saliency_map(fixations, 512, 1024),
            "ceiling, 10 halvings, 128 x 256, all modes": lambda: ceiling_scores(
                fixations, np.random.default_rng(0)
            ),
        },
        rounds,
    )
    report("7,000 fixations to a map of 256 x 512", seconds)


def main() -> None:
    """Print all comparisons."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    for count in (300, 7000):
        compare_auc(count, chosen.rounds)
        time_metrics(count, chosen.rounds)
    time_maps(chosen.rounds)


if __name__ == "__main__":
    main()
