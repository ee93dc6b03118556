"""torchvision's ResNets, trained with labels."""

from functools import partial
from pathlib import Path

from ssl_kedro.encoders.importers.basic_resnet import basic_resnet
from ssl_kedro.encoders.importers.kind import CLASSIFIER, Kind, Selection, resnet, selected
from ssl_kedro.encoders.importers.torch_file import read_torch, tensors_of

HOSTED = "https://download.pytorch.org/models/ (weights of torchvision.models)"


def read_torchvision(path: Path) -> Selection:
    """A state dict of torchvision, whose ``fc`` is dropped."""
    return selected(tensors_of(read_torch(path), path), "", {r"fc\.": CLASSIFIER}, path)


_kind = partial(
    Kind,
    publisher="torchvision (supervised on ImageNet)",
    hosted=HOSTED,
    trained="supervised",
    read=read_torchvision,
)
KINDS = {
    "torchvision_resnet18": _kind(
        file="resnet18-f37072fd.pth (IMAGENET1K_V1)", network=partial(basic_resnet, depth=18)
    ),
    "torchvision_resnet34": _kind(
        file="resnet34-b627a593.pth (IMAGENET1K_V1)", network=partial(basic_resnet, depth=34)
    ),
    "torchvision_resnet50": _kind(file="resnet50-0676ba61.pth (IMAGENET1K_V1)", row="Baseline"),
    "torchvision_resnet101": _kind(
        file="resnet101-63fe2227.pth (IMAGENET1K_V1)", network=resnet(101)
    ),
}
