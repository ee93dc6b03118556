"""ResNets of basic blocks that others trained, as encoders of this project.

Files name their tensors as torchvision does ("layer1.0.conv1.weight"). The network is a
:class:`~ssl_kedro.encoders.gated_resnet.GatedResNet18` with a dense branch alone.
"""

import re
from pathlib import Path
from typing import Literal

from ssl_kedro.encoders.folding import Stem
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.encoders.importers.kind import CHECK_KIND, Selection, WeightsError, rename
from ssl_kedro.encoders.maps import IMAGENET_MEAN, IMAGENET_STD, BranchMaps
from ssl_kedro.encoders.torchvision_names import encoder_name

# Of the training images of CIFAR-10; networks with a 3x3 stem were trained on 32 px.
CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)
_STEMS: dict[int, Stem] = {7: "imagenet", 3: "cifar"}
_SIDES: dict[Stem, int] = {"imagenet": 224, "cifar": 32}
_STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}


def of_basic_blocks(selection: Selection) -> bool:
    """Whether blocks begin with a convolution of 3x3, where a bottleneck's is of 1x1."""
    first = selection.tensors.get("layer1.0.conv1.weight")
    return first is not None and first.ndim == 4 and first.shape[-1] == 3


def basic_resnet(
    selection: Selection, path: Path, *, depth: Literal[18, 34] | None = None
) -> BranchMaps:
    """A network as wide as the file's; renames the selection's tensors for it.

    A first convolution of 3x3 is taken to pad by 2, as solo-learn's: files do not tell.

    Args:
        selection: what the file offers, under torchvision's names.
        path: of the file, for messages.
        depth: None = whichever of the two has the file's blocks.

    Raises:
        WeightsError: no ResNet of basic blocks.
    """
    stem = selection.tensors.get("conv1.weight")
    if stem is None or stem.ndim != 4 or stem.shape[-1] not in _STEMS:
        key = next(iter(selection.sources.values()), None)
        found = f"keys such as {key!r}, without a first convolution of 7x7 or 3x3"
        raise WeightsError(path, found, "a ResNet-18 or 34", CHECK_KIND)
    kind, width = _STEMS[stem.shape[-1]], int(stem.shape[0])
    if not 2 <= width <= 1024:
        found = f"{width} channels after the first convolution"
        raise WeightsError(path, found, "2 to 1024", CHECK_KIND)
    stages = _STAGES[depth] if depth else _stages(selection, path)
    shape = EncoderConfig(kind, width, stages=stages)
    rename(selection, encoder_name, path)
    large = kind == "imagenet"
    encoder = GatedResNet18(
        shape,
        branches=("dense",),
        image_size=_SIDES[kind],
        pixel_mean=IMAGENET_MEAN if large else CIFAR_MEAN,
        pixel_std=IMAGENET_STD if large else CIFAR_STD,
    )
    return BranchMaps(encoder, "dense")


def _stages(selection: Selection, path: Path) -> tuple[int, int, int, int]:
    """Blocks of the four stages, of the network that has as many as the file.

    Raises:
        WeightsError: neither has.
    """
    names = (re.match(r"layer(\d+)\.(\d+)\.", name) for name in selection.tensors)
    blocks = {(int(match[1]), int(match[2])) for match in names if match}
    found = tuple(sum(stage == number for stage, _ in blocks) for number in (1, 2, 3, 4))
    for stages in _STAGES.values():
        if stages == found:
            return stages
    known = " or ".join(f"{stages} (ResNet-{depth})" for depth, stages in _STAGES.items())
    raise WeightsError(path, f"{found} basic blocks in the four stages", known, CHECK_KIND)
