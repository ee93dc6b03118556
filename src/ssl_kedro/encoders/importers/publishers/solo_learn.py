"""solo-learn (da Costa et al. 2022)."""

import re
from pathlib import Path

from ssl_kedro.encoders.importers.basic_resnet import basic_resnet, of_basic_blocks
from ssl_kedro.encoders.importers.kind import (
    CHECK_KIND,
    CLASSIFIER,
    IMAGENET,
    Kind,
    Selection,
    WeightsError,
    resnet,
    selected,
)
from ssl_kedro.encoders.importers.torch_file import entry, read_torch, tensors_of
from ssl_kedro.encoders.maps import MapNetwork


def read_solo_learn(path: Path) -> Selection:
    """A Lightning checkpoint of solo-learn: ``backbone.``, or ``encoder.`` in older ones.

    ResNet-18, 34 or 50; for images of 32 px with a first convolution of 3x3 that pads by 2.
    """
    content = read_torch(path, foreign_objects=True)
    tensors = tensors_of(entry(content, "state_dict", path), path)
    prefixes = ("backbone.", "encoder.")
    prefix = next((p for p in prefixes if any(k.startswith(p) for k in tensors)), None)
    if prefix is None:
        found = f"keys such as {next(iter(tensors))!r}"
        raise WeightsError(path, found, "keys that begin with backbone. or encoder.", CHECK_KIND)
    start = re.escape(prefix)
    reasons = {
        rf"{start}fc\.": CLASSIFIER,
        rf"(?!{start})": "not of the encoder (heads, momentum encoder)",
    }
    return selected(tensors, start, reasons, path)


def resnet_of_any_blocks(selection: Selection, path: Path) -> MapNetwork:
    """ResNet-18, 34 or 50, whichever the file has."""
    build = basic_resnet if of_basic_blocks(selection) else resnet()
    return build(selection, path)


KINDS = {
    "solo_learn": Kind(
        publisher="da Costa et al. 2022 (solo-learn)",
        file="<method>-<id>-ep=<n>.ckpt",
        hosted="https://github.com/vturrisi/solo-learn (README, Results)",
        read=read_solo_learn,
        network=resnet_of_any_blocks,
        normalisation=f"{IMAGENET}; with a 3x3 stem those of CIFAR-10",
    ),
}
