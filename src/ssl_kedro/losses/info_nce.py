"""InfoNCE: telling an image's other view among others (Oord et al. 2018), in three forms."""

import torch
from torch import Tensor
from torch.nn import functional

from ssl_kedro.core.collectives import gathered, loss_average, own_slice, rows_for_loss


def nt_xent(z_1: Tensor, z_2: Tensor, temperature: float) -> Tensor:
    """NT-Xent of SimCLR: each of 2N views picks its partner among the 2N - 1 others.

    Mean over all views i with partner j of -log(exp(s_ij / tau) / sum_{k != i} exp(s_ik / tau)), s
    being the cosine (Chen et al. 2020, eq. 1 and algorithm 1). Of a batch that processes share,
    every process computes the loss of the whole: next to an encoder it costs nothing.

    Args:
        z_1: embeddings of the first view, (N, D), of any length.
        z_2: embeddings of the second view, same shape.
        temperature: tau.

    Raises:
        ValueError: the shapes differ.
    """
    if z_1.shape != z_2.shape or z_1.ndim != 2:
        raise ValueError(
            f"expected two (N, D) embeddings, found {tuple(z_1.shape)} and {tuple(z_2.shape)}"
        )
    z = torch.cat([rows_for_loss(functional.normalize(z, dim=1)) for z in (z_1, z_2)])
    places = torch.arange(len(z), device=z.device)
    itself = places[:, None] == places
    logits = (z @ z.T / temperature).masked_fill(itself, float("-inf"))
    return functional.cross_entropy(logits, places.roll(len(z) // 2))


def queue_nce(queries: Tensor, keys: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """InfoNCE of MoCo: each query picks its key among the key and a queue of earlier ones.

    He et al. 2020, eq. 1 and algorithm 1, mean over queries; no gradient but to the queries.

    Args:
        queries: (N, D), of any length.
        keys: (N, D), of any length, constants.
        queue: L2-normalised, (K, D), constants.
        temperature: tau.
    """
    queries = functional.normalize(queries, dim=1)
    own = (queries * functional.normalize(keys.detach(), dim=1)).sum(dim=1, keepdim=True)
    logits = torch.cat([own, queries @ queue.detach().T], dim=1) / temperature
    first = torch.zeros(len(logits), dtype=torch.int64, device=logits.device)
    return loss_average(functional.cross_entropy(logits, first))


def in_batch_nce(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """InfoNCE of MoCo v3: each query picks its key among the keys of the batch.

    With the factor 2 tau of its algorithm 1 (Chen, Xie & He 2021), mean over queries; no gradient
    but to the queries.

    Args:
        queries: (N, D), of any length.
        keys: (N, D), of any length, constants.
        temperature: tau.
    """
    queries = functional.normalize(queries, dim=1)
    of_all = gathered(functional.normalize(keys.detach(), dim=1))
    own = own_slice(len(queries))
    places = torch.arange(own.start, own.stop, device=queries.device)
    found = functional.cross_entropy(queries @ of_all.T / temperature, places)
    return loss_average(2 * temperature * found)
