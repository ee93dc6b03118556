"""Noise-contrastive estimation against a memory bank (Wu et al. 2018, Tian et al. 2019)."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_kedro.core.collectives import gathered, loss_average

# The bank is multiplied as a whole where it has at most so many rows for each negative: a
# matrix product of all rows is then cheaper than gathering some of them for each sample.
_WHOLE_BANK = 50


class MemoryBank(nn.Module):
    """A unit vector for each training image: a moving average of its embedding.

    Args:
        count: n, images.
        dimensions: D.
        generator: of the first vectors, which are Gaussian at unit length.
    """

    vectors: Tensor
    log_normaliser: Tensor

    def __init__(self, count: int, dimensions: int, generator: torch.Generator) -> None:
        super().__init__()
        first = torch.randn(count, dimensions, generator=generator)
        self.register_buffer("vectors", functional.normalize(first, dim=1))
        # log Z of each kind of score, fixed by the first batch that is scored.
        self.register_buffer("log_normaliser", torch.full((2,), math.nan))

    def scores(
        self, embeddings: Tensor, indices: Tensor, negatives: Tensor, temperature: float
    ) -> tuple[Tensor, Tensor]:
        """Scores m . f / tau of each sample with its own vector and with its negatives.

        The bank takes no gradient. Vectors of negatives are never laid out for all samples at
        once: (B, K, D) would be 2.6 GB at a batch of 80 and 16,000 negatives.

        Args:
            embeddings: float (B, D).
            indices: int64 (B,), whose they are.
            negatives: int64 (B, K), rows of the bank.
            temperature: tau.

        Returns:
            (B,) and (B, K).
        """
        positive = (embeddings * self.vectors[indices]).sum(dim=1)
        if len(self.vectors) <= _WHOLE_BANK * negatives.shape[1]:
            negative = (embeddings @ self.vectors.T).gather(1, negatives)
        else:
            negative = _GatheredScores.apply(embeddings, self.vectors, negatives)
        return positive / temperature, negative / temperature

    def normaliser(self, kind: int, positive: Tensor, negative: Tensor) -> Tensor:
        """Log Z of one kind of score; the first call fixes it to n times the mean of exp s."""
        if bool(torch.isnan(self.log_normaliser[kind])):
            found = torch.cat([positive[:, None], negative], dim=1).detach().flatten()
            mean = torch.logsumexp(found, dim=0) - math.log(found.numel())
            of_processes = gathered(mean[None])
            mean = torch.logsumexp(of_processes, dim=0) - math.log(len(of_processes))
            self.log_normaliser[kind] = mean + math.log(len(self.vectors))
        return self.log_normaliser[kind]

    @torch.no_grad()
    def update(self, indices: Tensor, embeddings: Tensor, momentum: float) -> None:
        """M <- norm(momentum m + (1 - momentum) f) for some images.

        Of a batch that processes share, each moves the vectors of all.

        Args:
            indices: int64 (B,), each image once.
            embeddings: (B, D) at unit length.
            momentum: of the old vectors.
        """
        indices, embeddings = gathered(indices), gathered(embeddings)
        moved = momentum * self.vectors[indices] + (1 - momentum) * embeddings
        self.vectors[indices] = functional.normalize(moved, dim=1)


class _GatheredScores(torch.autograd.Function):
    """Products with gathered rows, a sample at a time; gathered again for the gradient."""

    @staticmethod
    def forward(ctx: Any, embeddings: Tensor, vectors: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(vectors, rows)
        found = [vectors[chosen] @ one for chosen, one in zip(rows, embeddings, strict=True)]
        return torch.stack(found)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        vectors, rows = ctx.saved_tensors
        (gradient,) = gradients
        found = [of_one @ vectors[chosen] for of_one, chosen in zip(gradient, rows, strict=True)]
        return torch.stack(found), None, None


def memory_nce(positive: Tensor, negative: Tensor, log_normaliser: Tensor, count: int) -> Tensor:
    """Negative log-likelihood of telling the sample's own vector from noise (eq. 4.1, 4.2).

    With p = exp(s) / Z and noise of probability 1 / n, P(D = 1) = p / (p + K / n); the loss is the
    mean over samples of -log P(D = 1 | own) - sum over its K negatives of log P(D = 0 | negative).

    Args:
        positive: scores (B,) with the sample's own vector.
        negative: scores (B, K) with vectors drawn uniformly, its own perhaps among them.
        log_normaliser: log Z.
        count: n, vectors in the bank.
    """
    offset = log_normaliser + math.log(negative.shape[1] / count)
    own = functional.softplus(offset - positive)
    noise = functional.softplus(negative - offset).sum(dim=1)
    return loss_average((own + noise).mean())


def chance_loss(negatives: int) -> float:
    """The loss of embeddings that say nothing: all scores alike, Z = n exp s.

    log(1 + K) + K log(1 + 1 / K), which is log K + 1 for many negatives.

    Args:
        negatives: K.
    """
    return math.log1p(negatives) + negatives * math.log1p(1 / negatives)
