"""What a publisher makes of its network's maps: generalised means, a projection, PCA-whitening.

For GeM (AP) that is, as naver/deep-image-retrieval evaluates it::

    v = (mean of x^p)^(1/p)           p of the file ("adpool.p")
    y = W v + b, at unit length       of the file ("fc")
    z = U (y - m) / s^w, at unit length

m, U and s are mean, components and variances of a PCA that the file holds ("pca"), learnt on
Landmarks-clean; w is .25 there, where .5 would be whitening proper.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file
from torch import Tensor

from ssl_kedro.encoders.bundle import EXTRAS_NAME, provenance_of

# Of what an import keeps beside the network.
POWER = "gem_p"
PROJECTION = ("projection.weight", "projection.bias")
WHITENING = ("whitening.mean", "whitening.components", "whitening.variances")


@dataclass(frozen=True)
class DescriptorHead:
    """What stands behind the maps in a publisher's file.

    Args:
        power: p of GeM.
        arrays: those of ``PROJECTION`` and ``WHITENING`` that the file holds, float32:
            weight (D, C), bias (D,), mean (D,), components (K, D), variances (K,).
    """

    power: float
    arrays: Mapping[str, np.ndarray]

    @property
    def whitens(self) -> bool:
        """Whether a PCA is there."""
        return set(WHITENING) <= set(self.arrays)


def descriptor_head(
    notes: Mapping[str, Any], extras: Mapping[str, Tensor]
) -> DescriptorHead | None:
    """The head in what an import has kept; None where there is none.

    Args:
        notes: of a key report.
        extras: of a key report.
    """
    if POWER not in notes:
        return None
    found = {
        name: extras[name].float().numpy() for name in (*PROJECTION, *WHITENING) if name in extras
    }
    return DescriptorHead(float(notes[POWER]), found)


def bundled_head(folder: Path) -> DescriptorHead | None:
    """The head of a bundle that an import has written; None where there is none."""
    extras = folder / EXTRAS_NAME
    notes = provenance_of(folder).get("notes", {})
    return descriptor_head(notes, load_file(extras) if extras.is_file() else {})
