"""Nearest-neighbour accuracy of features."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from ssl_kedro.core.config import Config, Range


@dataclass(frozen=True)
class KnnConfig(Config):
    """Nearest-neighbour evaluation.

    Args:
        k: neighbours that vote (1, thesis 6.5).
        normalise: L2-normalise features first (false for Tables 6.1 and 6.4-6.6, true for
            Table 6.3).
    """

    k: Annotated[int, Range(at_least=1)] = 1
    normalise: bool = False


@torch.inference_mode()
def nearest_neighbours(
    bank: Tensor, queries: Tensor, k: int, *, block: int = 1024, bank_block: int = 4096
) -> Tensor:
    """Indices of the k nearest bank vectors by Euclidean distance, (Q, k), nearest first.

    Distances come from blocked matrix products, |b|^2 - 2 q.b, which is the squared
    distance less the query's own norm; centring both sides first keeps float32 exact enough
    for features far from the origin. Only a block of the bank is copied at a time.

    Args:
        bank: (N, D).
        queries: (Q, D), on the same device.
        k: at most N.
        block: queries at a time.
        bank_block: bank vectors at a time.
    """
    centre = bank.mean(dim=0)
    found = []
    for part in torch.split(queries, block):
        nearest = torch.full((len(part), k), torch.inf, device=bank.device)
        indices = torch.zeros(len(part), k, dtype=torch.int64, device=bank.device)
        for start in range(0, len(bank), bank_block):
            known = bank[start : start + bank_block] - centre
            norms = torch.linalg.vector_norm(known, dim=1).square()
            distances = norms - 2 * (part - centre) @ known.T
            closest, places = distances.topk(min(k, len(known)), dim=1, largest=False)
            candidates = torch.cat([indices, places + start], dim=1)
            nearest, order = torch.cat([nearest, closest], dim=1).topk(k, dim=1, largest=False)
            indices = candidates.gather(1, order)
        found.append(indices)
    return torch.cat(found)


def knn_right(
    bank: np.ndarray,
    bank_labels: np.ndarray,
    queries: np.ndarray,
    query_labels: np.ndarray,
    *,
    k: int = 1,
    normalise: bool = False,
    device: torch.device | str = "cpu",
) -> np.ndarray:
    """For which queries the k nearest neighbours vote for their class; the mean is the accuracy.

    Chapter 6 uses k = 1, Euclidean, features as they are (Tables 6.4-6.6) or L2-normalised
    (Table 6.3). Among classes with equal votes the one of the nearest neighbour wins.

    Args:
        bank: training features (N, D).
        bank_labels: (N,) int.
        queries: evaluation features (Q, D).
        query_labels: (Q,) int.
        k: neighbours that vote.
        normalise: divide every vector by its L2 norm first.
        device: where to compute.

    Returns:
        Boolean (Q,).

    Raises:
        ValueError: k is not between 1 and N, or the dimensions differ.
    """
    neighbours = neighbours_of(bank, queries, k, normalise=normalise, device=device)
    votes = torch.from_numpy(np.asarray(bank_labels)[neighbours])
    return np.asarray(_majority(votes).numpy() == np.asarray(query_labels))


def neighbours_of(
    bank: np.ndarray,
    queries: np.ndarray,
    k: int,
    *,
    normalise: bool = False,
    device: torch.device | str = "cpu",
) -> np.ndarray:
    """Indices of the k nearest bank features of each query, (Q, k) int64, nearest first.

    Args:
        bank: (N, D).
        queries: (Q, D).
        k: at most N.
        normalise: divide every vector by its L2 norm first.
        device: where to compute.

    Raises:
        ValueError: k is not between 1 and N, or the dimensions differ.
    """
    if not 1 <= k <= len(bank):
        raise ValueError(f"k = {k}: expected 1 to {len(bank)}, the number of training features")
    if bank.shape[1] != queries.shape[1]:
        raise ValueError(f"features have {bank.shape[1]} and {queries.shape[1]} dimensions")
    points = torch.from_numpy(np.ascontiguousarray(bank)).to(device).float()
    asked = torch.from_numpy(np.ascontiguousarray(queries)).to(device).float()
    if normalise:
        points = torch.nn.functional.normalize(points, dim=1)
        asked = torch.nn.functional.normalize(asked, dim=1)
    return nearest_neighbours(points, asked, k).cpu().numpy()


def right_in_random_halves(neighbour_labels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How likely the nearest neighbour in a random half of the bank has a query's class, (Q,).

    Where each bank feature is kept with probability 1/2, the k-th neighbour is the nearest of
    those kept with probability 2^-k. The mean over queries is the 1-NN accuracy in the mean over
    all halves: two neighbours that change places change it little, where plain 1-NN flips. So it
    tells with fewer images whether a form of a network loses accuracy.

    Args:
        neighbour_labels: classes of the nearest, (Q, K), nearest first; what lies behind the K-th
            counts as wrong, at most 2^-K.
        labels: of the queries, (Q,).
    """
    chances = 0.5 ** np.arange(1, neighbour_labels.shape[1] + 1)
    return np.asarray((neighbour_labels == labels[:, None]) @ chances)


def _majority(votes: Tensor) -> Tensor:
    """Most frequent value of each row; ties go to the one that stands first."""
    counts = (votes[:, :, None] == votes[:, None, :]).sum(dim=2)
    # argmax returns the first of equal maxima only by convention: make it certain.
    rank = torch.arange(votes.shape[1], 0, -1)
    best = (counts * (votes.shape[1] + 1) + rank).argmax(dim=1)
    return votes.gather(1, best[:, None])[:, 0]
