"""Ground truth: maps from fixations, one Gaussian on the sphere each, and the arrays of many."""

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from ssl_kedro.core.config import ConfigError
from ssl_kedro.saliency.maps import resized
from ssl_kedro.saliency.panoramas import Fixations, PanoramaSource, joined
from ssl_kedro.spherical.sphere import pixel_solid_angles

Arrays = dict[str, np.ndarray]

# A convention of work on 360-degree images, e.g. of the code of Duan et al., "Saliency in
# Augmented Reality" (ACM MM 2022), for its panoramas.
SIGMA_DEG = 3.34

# Beyond this many deviations the Gaussian is below 2e-14 of its peak.
_REACH = 8.0
# What the transform leaves where there is nothing is rounding, whose ranks would mean nothing.
_ROUNDING = 1e-12


def saliency_map(
    fixations: Fixations, height: int, width: int, *, sigma_deg: float = SIGMA_DEG
) -> np.ndarray:
    """Density of fixations, smoothed by a Gaussian of great-circle distance.

    Each fixation adds exp(-d^2 / (2 sigma^2)), d its distance on the sphere, divided by what it
    sums to over the pixels' solid angles: every fixation has the same mass, at the poles and
    across the seam too. Fixations are first brought to the centres of their pixels; choose a
    size whose pixels are small beside sigma.

    Args:
        fixations: at least one.
        height: rows.
        width: columns.
        sigma_deg: standard deviation of the Gaussian in degrees.

    Returns:
        float32 (height, width), per steradian: x solid angles it sums to 1. Values below 1e-12
        of the largest are 0.

    Raises:
        ValueError: no fixation, or sigma or a side that is not positive.
    """
    return np.asarray(saliency_maps([fixations], height, width, sigma_deg=sigma_deg)[0])


def saliency_maps(
    sets: Sequence[Fixations], height: int, width: int, *, sigma_deg: float = SIGMA_DEG
) -> np.ndarray:
    """Maps of several sets of fixations, float32 (S, height, width); see `saliency_map`.

    The Gaussians of a row of pixels differ by longitude only: they are added by a transform
    along longitude, once a pair of rows, and shared by all sets. The cost does not depend on the
    number of fixations.
    """
    if not sigma_deg > 0:
        raise ValueError(f"sigma_deg = {sigma_deg}: expected a positive angle in degrees")
    if height < 1 or width < 1:
        raise ValueError(f"expected a size of at least 1 x 1, found {height} x {width}")
    for at, fixations in enumerate(sets):
        if not len(fixations):
            raise ValueError(
                f"set {at + 1} of {len(sets)} has no fixations; a map needs at least one"
            )
    pixels = [each.pixels(height, width) for each in sets]
    counts = np.stack([np.bincount(of_set, minlength=height * width) for of_set in pixels])
    counts = counts.reshape(-1, height, width)
    spectra = np.fft.rfft(counts, axis=2)
    sums = np.zeros_like(spectra)
    for row, kernel, targets in _kernels(
        np.flatnonzero(counts.any(axis=(0, 2))), height, width, math.radians(sigma_deg)
    ):
        sums[:, targets] += kernel * spectra[:, row, None]
    maps = np.fft.irfft(sums, n=width, axis=2)
    maps[maps < _ROUNDING * maps.max(axis=(1, 2), keepdims=True)] = 0
    maps /= counts.sum(axis=(1, 2))[:, None, None]
    return maps.astype(np.float32)


def _kernels(
    rows: np.ndarray, height: int, width: int, sigma: float
) -> Iterator[tuple[int, np.ndarray, slice]]:
    """Spectrum along longitude of a fixation's Gaussian, by its row.

    Yields:
        The row, the spectra (targets, width // 2 + 1), real because the Gaussian is even in
        longitude, and the rows they are for.
    """
    latitude = math.pi / 2 - (np.arange(height) + 0.5) * math.pi / height
    angles = pixel_solid_angles(height, width)[:, 0].numpy()
    # sin^2 of half the difference in longitude; one half of the circle, the other mirrors it.
    half = np.sin(np.arange(width // 2 + 1) * (math.pi / width)) ** 2
    mirrored = np.minimum(np.arange(width), width - np.arange(width))
    reach = math.ceil(_REACH * sigma / math.pi * height) + 1
    for row in rows.tolist():
        targets = slice(max(0, row - reach), min(height, row + reach + 1))
        # Haversine: exact also at small distances, where the arc cosine is not.
        apart = np.sin((latitude[targets] - latitude[row]) / 2) ** 2
        across = np.cos(latitude[targets]) * math.cos(latitude[row])
        squared = np.clip(apart[:, None] + across[:, None] * half, 0, 1)
        distance = 2 * np.arcsin(np.sqrt(squared))
        kernel = np.exp(-0.5 * (distance / sigma) ** 2)[:, mirrored]
        kernel /= angles[targets] @ kernel.sum(axis=1)
        yield row, np.fft.rfft(kernel, axis=1).real, targets


def truth_arrays(
    source: PanoramaSource,
    indices: Sequence[int],
    made_from: Literal["auto", "maps", "fixations"],
    height: int,
    sigma_deg: float,
) -> Arrays:
    """Maps and fixations of some panoramas.

    Args:
        source: the panoramas.
        indices: which, in this order.
        made_from: published "maps", "fixations", or "auto": maps where there are any.
        height: rows of the maps.
        sigma_deg: of the Gaussian that fixations are smoothed with.

    Returns:
        "maps": float32 (N, height, 2 height), densities per solid angle; "made_from_fixations":
        bool (N,); "known": bool (N,), whether fixations are; "starts": int64 (N + 1,), where
        each panorama's fixations begin in "longitude_deg", "latitude_deg" (float64), "viewer"
        and "set" (int64; sets, as of two eyes, are scored one by one).

    Raises:
        ConfigError: a panorama has neither, or not what is asked for.
    """
    maps = np.empty((len(indices), height, 2 * height), dtype=np.float32)
    made = np.zeros(len(indices), dtype=bool)
    every: list[Fixations] = []
    numbers: list[int] = []
    starts = [0]
    for row, index in enumerate(indices):
        sets = source.fixation_sets(index)
        fixations = joined(sets)
        every += sets
        numbers += [number for number, each in enumerate(sets) for _ in range(len(each))]
        starts.append(len(numbers))
        published = None if made_from == "fixations" else source.saliency(index)
        if published is not None:
            maps[row] = resized(published, height, 2 * height)
        elif made_from != "maps" and fixations is not None:
            maps[row] = saliency_map(fixations, height, 2 * height, sigma_deg=sigma_deg)
            made[row] = True
        else:
            wanted = "a map or fixations" if made_from == "auto" else made_from
            raise ConfigError(
                "truth.source", made_from, f"{wanted} of {source.names[index]}, found none"
            )
    together = joined(every) or Fixations(*np.empty((3, 0)))
    return {
        "maps": maps,
        "made_from_fixations": made,
        "known": np.diff(starts) > 0,
        "starts": np.array(starts, dtype=np.int64),
        "longitude_deg": together.longitude_deg.astype(np.float64),
        "latitude_deg": together.latitude_deg.astype(np.float64),
        "viewer": together.viewer.astype(np.int64),
        "set": np.array(numbers, dtype=np.int64),
    }


def fixations_of(truth: Arrays, row: int) -> Fixations | None:
    """Fixations of one panorama, None where they are not known."""
    return joined(fixation_sets_of(truth, row))


def fixation_sets_of(truth: Arrays, row: int) -> tuple[Fixations, ...]:
    """Fixations of one panorama that are scored one by one; () where they are not known."""
    own = slice(*truth["starts"][row : row + 2].tolist())
    numbers = truth["set"][own]
    found = Fixations(truth["longitude_deg"][own], truth["latitude_deg"][own], truth["viewer"][own])
    return tuple(found.of(numbers == number) for number in np.unique(numbers))
