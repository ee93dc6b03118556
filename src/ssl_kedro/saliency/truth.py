"""Ground truth of stored panoramas as plain arrays: maps of one size, fixations in one list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ssl_kedro.core.config import ConfigError
from ssl_kedro.saliency.ground_truth import saliency_map
from ssl_kedro.saliency.maps import resized
from ssl_kedro.saliency.panoramas import Fixations, PanoramaSource, joined

Arrays = dict[str, np.ndarray]


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
    made, found, numbers = np.zeros(len(indices), dtype=bool), [], []
    for row, index in enumerate(indices):
        sets = source.fixation_sets(index)
        fixations = joined(sets)
        numbers += [number for number, each in enumerate(sets) for _ in range(len(each))]
        published = None if made_from == "fixations" else source.saliency(index)
        found.append(fixations)
        if published is not None:
            maps[row] = resized(np.asarray(published, dtype=np.float64), height, 2 * height)
        elif made_from != "maps" and fixations is not None and len(fixations):
            maps[row] = saliency_map(fixations, height, 2 * height, sigma_deg=sigma_deg)
            made[row] = True
        else:
            wanted = "a map or fixations" if made_from == "auto" else made_from
            raise ConfigError(
                "truth.source", made_from, f"{wanted} of {source.names[index]}, found none"
            )
    lists = [
        Fixations(np.empty(0), np.empty(0), np.empty(0, dtype=np.int64)) if f is None else f
        for f in found
    ]
    starts = np.concatenate([[0], np.cumsum([len(f) for f in lists])]).astype(np.int64)
    return {
        "maps": maps,
        "made_from_fixations": made,
        "known": np.array([f is not None and len(f) > 0 for f in found], dtype=bool),
        "starts": starts,
        "longitude_deg": np.concatenate([f.longitude_deg for f in lists]).astype(np.float64),
        "latitude_deg": np.concatenate([f.latitude_deg for f in lists]).astype(np.float64),
        "viewer": np.concatenate([f.viewer for f in lists]).astype(np.int64),
        "set": np.array(numbers, dtype=np.int64),
    }


def fixations_of(truth: Arrays, row: int) -> Fixations | None:
    """Fixations of one panorama, None where they are not known."""
    if not truth["known"][row]:
        return None
    own = _own(truth, row)
    return Fixations(truth["longitude_deg"][own], truth["latitude_deg"][own], truth["viewer"][own])


def fixation_sets_of(truth: Arrays, row: int) -> tuple[Fixations, ...]:
    """Fixations of one panorama that are scored one by one; () where they are not known."""
    found = fixations_of(truth, row)
    if found is None:
        return ()
    numbers = truth["set"][_own(truth, row)]
    return tuple(found.of(numbers == number) for number in np.unique(numbers))


def _own(truth: Arrays, row: int) -> slice:
    return slice(int(truth["starts"][row]), int(truth["starts"][row + 1]))
