"""ResNet-50 and ResNet-101 of any width, without their classifier.

Names of parameters are torchvision's, so that its files and those that follow it load as they
are. The stride is in the 3x3 convolution ("v1.5"), as in torchvision, MoCo and SimCLR.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from ssl_kedro.core.config import Config, Range
from ssl_kedro.encoders.folding import Stem, stem_pool
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18, Projection, Stages
from ssl_kedro.encoders.maps import IMAGENET_MEAN, IMAGENET_STD, NormalisedMaps
from ssl_kedro.encoders.torchvision_names import encoder_name

MaxPool = Literal["symmetric", "same"]
BLOCKS: dict[int, Stages] = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
_EXPANSION = 4


@dataclass(frozen=True)
class BottleneckConfig(Config):
    """Shape of the network.

    Args:
        depth: 50 or 101.
        width: channels of the stem; 64 is ResNet-50, 128 SimCLR's "2x", 256 its "4x", which
            widen every layer.
        max_pool: "symmetric" pads the stem's pooling by 1 on both sides (PyTorch); "same" by
            as much as needed, first after, then before (TensorFlow): 0 and 1 on an even map.
    """

    depth: Literal[50, 101] = 50
    width: Annotated[int, Range(at_least=1, at_most=1024)] = 64
    max_pool: MaxPool = "symmetric"

    @property
    def stem(self) -> Stem:
        """What encoders of this project call it."""
        return "imagenet" if self.max_pool == "symmetric" else "imagenet_same"


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 around a shortcut (He et al. 2016)."""

    def __init__(self, in_channels: int, inner: int, stride: int) -> None:
        super().__init__()
        out_channels = _EXPANSION * inner
        self.conv1 = nn.Conv2d(in_channels, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                Projection(in_channels, out_channels, stride),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, 4 inner, h', w')."""
        inner = torch.relu_(self.bn1(self.conv1(x)))
        inner = torch.relu_(self.bn2(self.conv2(inner)))
        out = self.bn3(self.conv3(inner))
        shortcut = x if self.downsample is None else self.downsample(x)
        return torch.relu_(out + shortcut)


def bottlenecks(channels: int, inner: int, count: int, stride: int) -> tuple[nn.Sequential, int]:
    """A stage of bottlenecks, and how many channels it gives."""
    out = _EXPANSION * inner
    rest = (Bottleneck(out, inner, 1) for _ in range(count - 1))
    return nn.Sequential(Bottleneck(channels, inner, stride), *rest), out


class BottleneckResNet(NormalisedMaps):
    """Maps of the last block, (N, 32 width, H / 32, W / 32).

    Args:
        config: depth, width, pooling.
        pixel_mean: per channel, in [0, 1].
        pixel_std: per channel, in [0, 1].
    """

    bundle_format = "ssl_kedro bottleneck_resnet maps v1"
    config_type = BottleneckConfig
    config: BottleneckConfig

    def __init__(
        self,
        config: BottleneckConfig,
        *,
        pixel_mean: Sequence[float] = IMAGENET_MEAN,
        pixel_std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__(pixel_mean, pixel_std)
        self.config = config
        self.conv1 = nn.Conv2d(3, config.width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(config.width)
        # A module, which wraps around panoramas as others do; of no weight.
        self.maxpool: nn.Module = stem_pool(config.stem) or nn.Identity()
        channels = config.width
        for stage, count in enumerate(BLOCKS[config.depth]):
            layer, channels = bottlenecks(channels, config.width << stage, count, 1 + (stage > 0))
            self.add_module(f"layer{stage + 1}", layer)
        self.map_channels = channels
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Maps of the last block; see :class:`MapNetwork`."""
        x: Tensor = self.maxpool(torch.relu_(self.bn1(self.conv1(self.normalised(images)))))
        for stage in range(4):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        return x

    @property
    def encoder(self) -> GatedResNet18:
        """The same network as an encoder with a dense branch, for images of 224 px."""
        stages = BLOCKS[self.config.depth]
        shape = EncoderConfig(
            self.config.stem, self.config.width, stages=stages, block="bottleneck"
        )
        encoder = GatedResNet18(shape, branches=("dense",), image_size=224)
        encoder.load_state_dict({encoder_name(name): v for name, v in self.state_dict().items()})
        return encoder.train(self.training)
