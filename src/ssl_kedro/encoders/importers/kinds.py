"""The weight files that can be imported, and the one entrance to all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ssl_kedro.encoders.bottleneck_resnet import BottleneckConfig, BottleneckResNet, MaxPool
from ssl_kedro.encoders.importers import resnet_files as files
from ssl_kedro.encoders.importers.amdim_file import amdim_network, read_amdim
from ssl_kedro.encoders.importers.report import (
    KeyReport,
    Selection,
    compared,
    fault,
    fill,
    require_fit,
    sha256_of,
)
from ssl_kedro.encoders.importers.simclr import read_simclr
from ssl_kedro.encoders.importers.tensor_bundle import bundle_files
from ssl_kedro.encoders.maps import IMAGENET_MEAN, IMAGENET_STD, MapNetwork

_IMAGENET = "ImageNet mean (0.485, 0.456, 0.406) and deviation (0.229, 0.224, 0.225)"
_STATISTICS = ("pixel_mean", "pixel_std")


@dataclass(frozen=True)
class Kind:
    """One publisher's kind of file.

    Args:
        publisher: who trained it.
        file: as the publisher calls it.
        hosted: the publisher's page or address.
        normalisation: of pixels, in words.
        row: in Tables 3.1-3.4 of the thesis; "" where it has none.
        read: file -> tensors under the network's names.
        network: tensors -> a network of their shape, still without them.
        sources: path that the user gives -> files that are read.
    """

    publisher: str
    file: str
    hosted: str
    normalisation: str
    row: str
    read: Callable[[Path], Selection]
    network: Callable[[Selection, Path], MapNetwork]
    sources: Callable[[Path], Sequence[Path]] = lambda path: (path,)


def _resnet(
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
            raise fault(
                path,
                f"keys such as {next(iter(selection.sources.values()), None)!r}, without a "
                "first convolution conv1.weight",
                f"a ResNet-{depth}",
                "check the kind of the file",
            )
        if width not in (None, stem.shape[0]):
            raise fault(
                path,
                f"{stem.shape[0]} channels after the first convolution",
                f"{width}",
                "check the kind of the file: one of another width has another kind",
            )
        config = BottleneckConfig(depth, int(stem.shape[0]), max_pool)
        return BottleneckResNet(config, pixel_mean=mean, pixel_std=std)

    return build


def _simclr(multiplier: int) -> Kind:
    """SimCLR v1 of one width."""
    return Kind(
        publisher="Chen et al. 2020 (Google Research)",
        file=f"ResNet50_{multiplier}x.zip, unpacked: model.ckpt-<n>.index and .data-*",
        hosted="https://github.com/google-research/simclr (README, SimCLRv1 models)",
        normalisation="none: pixels in [0, 1]",
        row=f"SimCLR {multiplier}x",
        read=read_simclr,
        network=_resnet(
            max_pool="same", width=64 * multiplier, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)
        ),
        sources=bundle_files,
    )


_TORCHVISION = "https://download.pytorch.org/models/ (weights of torchvision.models)"
KINDS: dict[str, Kind] = {
    "torchvision_resnet50": Kind(
        publisher="torchvision (supervised on ImageNet)",
        file="resnet50-0676ba61.pth (IMAGENET1K_V1)",
        hosted=_TORCHVISION,
        normalisation=_IMAGENET,
        row="Baseline",
        read=files.read_torchvision,
        network=_resnet(),
    ),
    "torchvision_resnet101": Kind(
        publisher="torchvision (supervised on ImageNet)",
        file="resnet101-63fe2227.pth (IMAGENET1K_V1)",
        hosted=_TORCHVISION,
        normalisation=_IMAGENET,
        row="",
        read=files.read_torchvision,
        network=_resnet(101),
    ),
    "simclr_1x": _simclr(1),
    "simclr_2x": _simclr(2),
    "simclr_4x": _simclr(4),
    "moco_v1": Kind(
        publisher="He et al. 2020 (Facebook AI Research)",
        file="moco_v1_200ep_pretrain.pth.tar",
        hosted="https://github.com/facebookresearch/moco (README, Models)",
        normalisation=_IMAGENET,
        row="MoCo v1",
        read=files.read_moco,
        network=_resnet(),
    ),
    "moco_v2": Kind(
        publisher="Chen et al. 2020 (Facebook AI Research)",
        file="moco_v2_800ep_pretrain.pth.tar or moco_v2_200ep_pretrain.pth.tar",
        hosted="https://github.com/facebookresearch/moco (README, Models)",
        normalisation=_IMAGENET,
        row="MoCo v2",
        read=files.read_moco,
        network=_resnet(),
    ),
    "amdim": Kind(
        publisher="Bachman et al. 2019 (Microsoft Research)",
        file="amdim_ndf320_rkhs2560_rd10.pth (large) or amdim_ndf256_rkhs2048_rd10.pth",
        hosted="https://github.com/Philip-Bachman/amdim-public (README, Pre-trained Models)",
        normalisation=f"{_IMAGENET}, for its encoders of 128 px",
        row="AMDIM",
        read=read_amdim,
        network=amdim_network,
    ),
    "vicreg": Kind(
        publisher="Bardes et al. 2022 (Facebook AI Research)",
        file="resnet50.pth or resnet50_fullckpt.pth",
        hosted="https://github.com/facebookresearch/vicreg (README, Pretrained models)",
        normalisation=_IMAGENET,
        row="",
        read=files.read_backbone,
        network=_resnet(),
    ),
    "barlow_twins": Kind(
        publisher="Zbontar et al. 2021 (Facebook AI Research)",
        file="resnet50.pth or checkpoint.pth",
        hosted="https://github.com/facebookresearch/barlowtwins (README, Pretrained model)",
        normalisation=_IMAGENET,
        row="",
        read=files.read_backbone,
        network=_resnet(),
    ),
    "solo_learn": Kind(
        publisher="da Costa et al. 2022 (solo-learn)",
        file="<method>-<id>-ep=<n>.ckpt",
        hosted="https://github.com/vturrisi/solo-learn (README, Results)",
        normalisation=_IMAGENET,
        row="",
        read=files.read_solo_learn,
        network=_resnet(),
    ),
    "gem_ap": Kind(
        publisher="Revaud et al. 2019 (Naver Labs Europe)",
        file="Resnet101-AP-GeM.pt",
        hosted="https://github.com/naver/deep-image-retrieval (README, Pre-trained models)",
        normalisation=_IMAGENET,
        row="GeM (AP)",
        read=files.read_gem_ap,
        network=_resnet(101),
    ),
}


def import_weights(kind: str, path: Path) -> tuple[MapNetwork, KeyReport]:
    """A network in evaluation mode, with the weights of a published file.

    Args:
        kind: of ``KINDS``.
        path: of the file as its publisher gives it out; for TensorFlow's checkpoints their
            ``.index`` file, the prefix, or the folder.

    Returns:
        The network, on the CPU, and what became of every key.

    Raises:
        ValueError: no such kind.
        WeightsError: the file is missing, damaged, unsafe, or not what the kind says.
    """
    if kind not in KINDS:
        raise ValueError(f"kind = {kind!r}: expected one of {', '.join(KINDS)}")
    found = KINDS[kind]
    path = Path(path).expanduser()
    sources = found.sources(path)
    if not sources or not all(source.is_file() for source in sources):
        raise fault(
            path,
            "no such file",
            f"{found.file} of {found.publisher}",
            f"fetch it from {found.hosted} and put it there, or give the path where it is",
        )
    selection = found.read(path)
    network = found.network(selection, path)
    report = compared(
        network,
        selection,
        _STATISTICS,
        kind=kind,
        publisher=found.publisher,
        hosted=found.hosted,
        files={source.name: sha256_of(source) for source in sources},
    )
    require_fit(report, path)
    fill(network, selection, path)
    return network.eval(), report
