"""PCA-whitening, learnt once for every dimension (Jegou & Chum 2012; thesis 3.3.1).

The components stand in the order of their variance, so that the first d columns of the
transform are the transform to d dimensions: a sweep over d learns nothing again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from ssl_kedro.core.errors import UserError

# Components below this share of the largest variance are rounding noise of float32 input;
# dividing by their standard deviation would blow it up to unit variance.
_NOISE = 1e-9
_VECTORS_A_DIMENSION = 4


class WhiteningError(UserError, ValueError):
    """Vectors that no whitening can be learnt from.

    Cause: there are fewer than two, or all are equal: the encoder has collapsed.
    Remedy: learn on more images (``whitening.learn_on``), or use another encoder.
    """


@dataclass(frozen=True)
class Whitening:
    """y = (x - mean) @ projection.

    Args:
        mean: (D,), float32.
        projection: (D, K), float32; component k divided by its standard deviation, most
            variance first, K at most D and at most the number of vectors less one.
        variances: of the components, (K,), float64.
        count: vectors that it was learnt from.
    """

    mean: np.ndarray
    projection: np.ndarray
    variances: np.ndarray
    count: int

    @property
    def dimensions(self) -> int:
        """Components there are: the most that :meth:`applied` can give."""
        return int(self.projection.shape[1])

    @property
    def reliable_dimensions(self) -> int:
        """Components with enough vectors behind them.

        As many dimensions as vectors would place every vector equally far from every other,
        whatever they show: the last components separate single vectors.
        """
        return max(1, min(self.dimensions, self.count // _VECTORS_A_DIMENSION))

    def applied(self, vectors: Tensor, dimensions: int | None = None) -> Tensor:
        """Whitened vectors, (..., D) -> (..., d).

        Args:
            vectors: float32.
            dimensions: d; None = all there are.

        Raises:
            ValueError: more dimensions than there are components.
        """
        wanted = self.dimensions if dimensions is None else dimensions
        if not 1 <= wanted <= self.dimensions:
            raise ValueError(
                f"expected 1 to {self.dimensions} dimensions, which is what the whitening set "
                f"spans, found {wanted}"
            )
        mean = torch.from_numpy(self.mean).to(vectors.device)
        projection = torch.from_numpy(self.projection[:, :wanted].copy()).to(vectors.device)
        return (vectors - mean) @ projection

    def prepared(self, vectors: Tensor) -> Tensor:
        """Pooled vectors, (M, C), as :meth:`applied` takes them: at unit length, (M, D).

        Zero stays zero: an empty region (a dead map) has no direction.
        """
        return torch.nn.functional.normalize(vectors, dim=1)


@dataclass(frozen=True)
class PublishedWhitening(Whitening):
    """A projection and a PCA that somebody has published; see ``encoders.descriptor_head``.

    Args:
        weight: (D, C), float32.
        bias: (D,), float32.
    """

    weight: np.ndarray
    bias: np.ndarray

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray], power: float) -> Self:
        """Arrays "mean", "projection" (components in columns), "variances", "weight", "bias".

        Args:
            arrays: those.
            power: of the variances that components are divided by.
        """
        scale = np.maximum(arrays["variances"], np.finfo(np.float32).tiny) ** power
        scaled = (arrays["projection"] / scale).astype(np.float32)
        return cls(**{**arrays, "projection": scaled, "count": len(scale)})

    @property
    def reliable_dimensions(self) -> int:
        """All: it was learnt on more than there is to see here."""
        return self.dimensions

    def prepared(self, vectors: Tensor) -> Tensor:
        """Projected and brought to unit length; zero stays zero."""
        weight, bias = (torch.from_numpy(a).to(vectors.device) for a in (self.weight, self.bias))
        alive = vectors.abs().amax(dim=1, keepdim=True) > 0 if len(vectors) else vectors[:, :1] > 0
        return torch.nn.functional.normalize(vectors @ weight.T + bias, dim=1) * alive


def learnt_whitening(
    blocks: Iterable[np.ndarray], *, whiten: bool = True, normalise: bool = True
) -> Whitening:
    """PCA of vectors that come block by block; memory does not grow with their number.

    Args:
        blocks: float (M_b, D) each, all of one D.
        whiten: divide each component by its standard deviation; else plain PCA.
        normalise: bring each vector to unit length first, as descriptors are (thesis 3.3.1).

    Raises:
        ValueError: fewer than two vectors, unequal lengths, a value that is not finite, or
            vectors that are all equal.
    """
    count, shift, total, outer = _moments(blocks, normalise)
    mean = total / count
    covariance = outer / count - np.outer(mean, mean)
    variances, components = np.linalg.eigh(covariance)
    variances, components = variances[::-1], components[:, ::-1]
    if variances[0] <= _NOISE:
        raise WhiteningError(
            "the vectors to learn whitening from are all equal: expected images that differ, or "
            "an encoder that has not collapsed"
        )
    kept = np.flatnonzero(variances > _NOISE * variances[0])[: count - 1]
    variances, components = variances[kept], components[:, kept]
    # Eigenvectors have no sign of their own; without a rule it would differ between machines.
    largest = np.abs(components).argmax(axis=0)
    components = components * np.sign(components[largest, np.arange(len(kept))])
    if whiten:
        components = components / np.sqrt(variances)
    return Whitening(
        (mean + shift).astype(np.float32), components.astype(np.float32), variances.copy(), count
    )


def _moments(
    blocks: Iterable[np.ndarray], normalise: bool
) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """Count, shift, sum and sum of outer products of the vectors less the shift."""
    count = 0
    shift = total = outer = np.zeros(0)
    for block in blocks:
        if not len(block):
            continue
        if block.ndim != 2 or not np.isfinite(block).all():
            raise ValueError(
                f"expected blocks of finite vectors, (M, D); found shape {block.shape}"
                + ("" if block.ndim != 2 else " with values that are not finite")
            )
        vectors = np.asarray(block, dtype=np.float32)
        if normalise:
            vectors = unit_rows(vectors)
        if not count:
            # Near the mean, so that the variance is not a difference of large numbers.
            shift = vectors.mean(axis=0, dtype=np.float64)
            total, outer = np.zeros_like(shift), np.zeros((len(shift), len(shift)))
        elif vectors.shape[1] != len(shift):
            raise ValueError(f"expected vectors of length {len(shift)}, found {vectors.shape[1]}")
        centred = torch.from_numpy(vectors - shift.astype(np.float32))
        total += centred.sum(dim=0, dtype=torch.float64).numpy()
        outer += (centred.T @ centred).numpy()
        count += len(vectors)
    if count < 2:
        raise WhiteningError(f"expected at least 2 vectors to learn whitening from, found {count}")
    # The shift that was subtracted is the rounded one.
    return count, shift.astype(np.float32).astype(np.float64), total, outer


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Vectors (..., D) divided by their length; zero stays zero."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12))
