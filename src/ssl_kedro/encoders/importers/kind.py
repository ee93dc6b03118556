"""What is to be said of a kind of weight file, and what files of ResNets have in common."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor

from ssl_kedro.encoders.bottleneck_resnet import BottleneckConfig, BottleneckResNet, MaxPool
from ssl_kedro.encoders.importers.report import CHECK_KIND, Selection, WeightsError
from ssl_kedro.encoders.maps import IMAGENET_MEAN, IMAGENET_STD, MapNetwork

IMAGENET = "ImageNet mean (0.485, 0.456, 0.406) and deviation (0.229, 0.224, 0.225)"
CLASSIFIER = "the classifier, which is no part of the encoder"


@dataclass(frozen=True)
class Kind:
    """One publisher's kind of file.

    Args:
        publisher: who trained it.
        file: as the publisher calls it.
        hosted: the publisher's page or address.
        read: file -> tensors under the network's names.
        network: tensors -> a network of their shape, still without them.
        normalisation: of pixels, in words.
        row: in Tables 3.1-3.4 of the thesis; "" where it has none.
        sources: path that the user gives -> files that are read.
    """

    publisher: str
    file: str
    hosted: str
    read: Callable[[Path], Selection]
    network: Callable[[Selection, Path], MapNetwork]
    normalisation: str = IMAGENET
    row: str = ""
    sources: Callable[[Path], Sequence[Path]] = lambda path: (path,)


def resnet(
    depth: Literal[50, 101] = 50,
    *,
    max_pool: MaxPool = "symmetric",
    width: int | None = None,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> Callable[[Selection, Path], MapNetwork]:
    """Builder of a ResNet as wide as the file's first convolution.

    Args:
        depth: 50 or 101.
        max_pool: see :class:`BottleneckConfig`.
        width: the only one allowed; None = any.
        mean: of pixels.
        std: of pixels.
    """

    def build(selection: Selection, path: Path) -> MapNetwork:
        stem = selection.tensors.get("conv1.weight")
        if stem is None or stem.ndim != 4 or not 1 <= stem.shape[0] <= 1024:
            key = next(iter(selection.sources.values()), None)
            found = f"keys such as {key!r}, without a first convolution conv1.weight"
            raise WeightsError(path, found, f"a ResNet-{depth}", CHECK_KIND)
        if width not in (None, stem.shape[0]):
            found = f"{stem.shape[0]} channels after the first convolution"
            remedy = f"{CHECK_KIND}: one of another width has another kind"
            raise WeightsError(path, found, f"{width}", remedy)
        config = BottleneckConfig(depth, int(stem.shape[0]), max_pool)
        return BottleneckResNet(config, pixel_mean=mean, pixel_std=std)

    return build


def selected(
    tensors: Mapping[str, Tensor], prefix: str, reasons: Mapping[str, str], path: Path
) -> Selection:
    """A file's tensors under the network's names, less those with a reason to drop.

    Args:
        tensors: of the file.
        prefix: regular expression of what is taken off the beginning of a name; names that do
            not begin so keep their own and match nothing.
        reasons: regular expression of the beginning of a name in the file -> why it is dropped.
        path: for messages.
    """
    found = Selection()
    for key, value in tensors.items():
        reason = next((why for start, why in reasons.items() if re.match(start, key)), None)
        if reason is not None:
            found.dropped[key] = reason
            continue
        name = re.sub(f"^(?:{prefix})", "", key)
        if name in found.tensors:
            twice = f"{name} twice, as {found.sources[name]} and {key}"
            raise WeightsError(path, twice, "once", "check the file")
        found.tensors[name], found.sources[name] = value, key
    return found
