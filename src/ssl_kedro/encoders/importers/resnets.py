"""What the files of ResNets have in common, whoever published them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from torch import Tensor

from ssl_kedro.encoders.bottleneck_resnet import BottleneckConfig, BottleneckResNet, MaxPool
from ssl_kedro.encoders.importers.report import Selection, WeightsError
from ssl_kedro.encoders.maps import IMAGENET_MEAN, IMAGENET_STD, MapNetwork

CLASSIFIER = "the classifier, which is no part of the encoder"


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
            raise WeightsError(
                path,
                f"keys such as {next(iter(selection.sources.values()), None)!r}, without a "
                "first convolution conv1.weight",
                f"a ResNet-{depth}",
                "check the kind of the file",
            )
        if width not in (None, stem.shape[0]):
            raise WeightsError(
                path,
                f"{stem.shape[0]} channels after the first convolution",
                f"{width}",
                "check the kind of the file: one of another width has another kind",
            )
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
    chosen: dict[str, Tensor] = {}
    sources: dict[str, str] = {}
    dropped: dict[str, str] = {}
    for key, value in tensors.items():
        reason = next((why for start, why in reasons.items() if re.match(start, key)), None)
        if reason is not None:
            dropped[key] = reason
            continue
        begins = re.match(prefix, key)
        name = key[begins.end() :] if begins else key
        if name in chosen:
            raise WeightsError(
                path, f"{name} twice, as {sources[name]} and {key}", "once", "check the file"
            )
        chosen[name], sources[name] = value, key
    return Selection(chosen, sources, dropped)
