"""Deep image retrieval (Revaud et al. 2019)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ssl_kedro.encoders.descriptor_head import POWER, PROJECTION, WHITENING
from ssl_kedro.encoders.importers.kind import Kind, Selection, resnet, selected
from ssl_kedro.encoders.importers.pickled_arrays import KeptState
from ssl_kedro.encoders.importers.torch_file import entry, read_torch, tensors_of

# The publisher's evaluation takes this PCA of those that a file may hold.
_LEARNT_ON = "Landmarks_clean"
_REASONS = {
    r"(module\.)?fc\.": "the projection behind the pooling, kept apart",
    r"(module\.)?adpool\.p": "the exponent of the pooling, kept as gem_p",
}


def read_gem_ap(path: Path) -> Selection:
    """The encoder, and what stands behind it: see :mod:`ssl_kedro.encoders.descriptor_head`.

    Of objects of scikit-learn only a PCA's arrays are read; no class of it is loaded.
    """
    content = read_torch(path, foreign_objects=True)
    tensors = tensors_of(entry(content, "state_dict", path), path)
    plain = {key.removeprefix("module."): value for key, value in tensors.items()}
    selection = selected(tensors, r"(module\.)?", _REASONS, path)
    others = [str(key) for key in content if key != "state_dict"]
    selection.dropped.update(dict.fromkeys(others, "not of the network; not read"))
    if "adpool.p" in plain and plain["adpool.p"].numel() == 1:
        selection.notes[POWER] = float(plain["adpool.p"])
    for name, kept in zip(("fc.weight", "fc.bias"), PROJECTION, strict=True):
        if name in plain:
            selection.extras[kept] = plain[name]
    arrays = _pca(content.get("pca"))
    if arrays:
        selection.dropped["pca"] = f"the PCA of {_LEARNT_ON}, kept apart"
        selection.extras.update(arrays)
    return selection


def _pca(found: Any) -> dict[str, torch.Tensor]:
    """Mean, components and variances; nothing where they are not there or do not fit together."""
    if isinstance(found, Mapping):
        found = found.get(_LEARNT_ON)
    state = found.state if isinstance(found, KeptState) else None
    if not isinstance(state, Mapping):
        return {}
    found = [state.get(name) for name in ("mean_", "components_", "explained_variance_")]
    arrays = [array for array in found if isinstance(array, np.ndarray)]
    if len(arrays) < len(found):
        return {}
    mean, components, variances = arrays
    if components.shape != (*variances.shape, *mean.shape):
        return {}
    return {
        name: torch.from_numpy(array.astype(np.float32))
        for name, array in zip(WHITENING, arrays, strict=True)
    }


KINDS = {
    "gem_ap": Kind(
        publisher="Revaud et al. 2019 (Naver Labs Europe)",
        # In the archive; commands of the publisher's README spell it Resnet101-AP-GeM.pt.
        file="Resnet-101-AP-GeM.pt",
        hosted="https://github.com/naver/deep-image-retrieval (README, Pre-trained models)",
        row="GeM (AP)",
        trained="fine-tuned",
        read=read_gem_ap,
        network=resnet(101),
    ),
}
