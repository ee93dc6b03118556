"""solo-learn (da Costa et al. 2022)."""

import re
from pathlib import Path

from ssl_kedro.encoders.importers.kind import (
    CHECK_KIND,
    CLASSIFIER,
    Kind,
    Selection,
    WeightsError,
    selected,
)
from ssl_kedro.encoders.importers.torch_file import entry, read_torch, tensors_of


def read_solo_learn(path: Path) -> Selection:
    """A Lightning checkpoint of solo-learn: ``backbone.``, or ``encoder.`` in older ones."""
    content = read_torch(path, foreign_objects=True)
    tensors = tensors_of(entry(content, "state_dict", path), path)
    prefixes = ("backbone.", "encoder.")
    prefix = next((p for p in prefixes if any(k.startswith(p) for k in tensors)), None)
    if prefix is None:
        found = f"keys such as {next(iter(tensors))!r}"
        raise WeightsError(path, found, "keys that begin with backbone. or encoder.", CHECK_KIND)
    first = f"{prefix}layer1.0.conv"
    if f"{first}1.weight" in tensors and f"{first}3.weight" not in tensors:
        raise WeightsError(
            path,
            "a ResNet of basic blocks (ResNet-18 or 34)",
            "a ResNet-50, the only one of solo-learn's networks that can be imported",
            "take a checkpoint that was trained with backbone resnet50",
        )
    start = re.escape(prefix)
    reasons = {
        rf"{start}fc\.": CLASSIFIER,
        rf"(?!{start})": "not of the encoder (heads, momentum encoder)",
    }
    return selected(tensors, start, reasons, path)


KINDS = {
    "solo_learn": Kind(
        publisher="da Costa et al. 2022 (solo-learn)",
        file="<method>-<id>-ep=<n>.ckpt",
        hosted="https://github.com/vturrisi/solo-learn (README, Results)",
        read=read_solo_learn,
    ),
}
