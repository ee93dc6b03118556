"""Encoders of panoramas: ResNet-50 up to its third stage, and VGG-16 (thesis 4.3.2)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import torch
from torch import Tensor, nn

from ssl_kedro.core.config import Config, Range
from ssl_kedro.encoders.bottleneck_resnet import Bottleneck
from ssl_kedro.encoders.longitude import LongitudePadding, continue_longitude
from ssl_kedro.encoders.maps import IMAGENET_MEAN, IMAGENET_STD, NormalisedMaps

STRIDE = 16
INPUT = "float in [0, 1] or uint8, (N, 3, H, W), RGB, H and W multiples of 16; normalised inside"
_RESNET_BLOCKS = (3, 4, 6)
_VGG_BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


@dataclass(frozen=True)
class PanoramaEncoderConfig(Config):
    """Shape of the network.

    Args:
        architecture: "resnet50" or "vgg16".
        width: share of the channels of every layer; 1 = the thesis.
        longitude_padding: what stands beyond the left and right edge: "zeros" (thesis), or the
            other side ("circular").
        raw_bgr: the network gets BGR of 0 to 255 and nothing else is done to it: a mistake in
            the authors' decoding, for comparison only.
    """

    architecture: Literal["resnet50", "vgg16"] = "resnet50"
    width: Annotated[float, Range(above=0, at_most=4)] = 1.0
    longitude_padding: LongitudePadding = "zeros"
    raw_bgr: bool = False


def scaled(channels: int, width: float) -> int:
    """A share of the channels, rounded up to a multiple of 8."""
    return max(8, -(-round(channels * width) // 8) * 8)


class PanoramaEncoder(NormalisedMaps):
    """Panoramas float (N, 3, H, W) in [0, 1], or uint8, to maps (N, C, H / 16, W / 16).

    At width 1, C = 512; 9.33 M parameters and 3.50 G MACs (resnet50), 14.71 M and 15.66 G
    (vgg16) at 160 x 320. Names of the parameters that torchvision has too are torchvision's.

    Args:
        config: shape.
    """

    bundle_format = "ssl_kedro panorama encoder v1"
    config_type = PanoramaEncoderConfig
    config: PanoramaEncoderConfig

    def __init__(self, config: PanoramaEncoderConfig) -> None:
        super().__init__(IMAGENET_MEAN, IMAGENET_STD)
        self.config = config
        self.map_channels = scaled(512, config.width)
        self.body = (
            _resnet(config.width) if config.architecture == "resnet50" else _vgg(config.width)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        continue_longitude(self, config.longitude_padding)

    def description(self) -> dict[str, Any]:
        """Shape, and what readers of the file may want to know."""
        return {
            "encoder": dataclasses.asdict(self.config),
            "input": INPUT,
            "output": f"float (N, {self.map_channels}, H / 16, W / 16)",
        }

    @classmethod
    def from_description(cls, values: Mapping[str, Any]) -> Self:
        """See :class:`~ssl_kedro.encoders.bundled.Bundled`."""
        return cls(PanoramaEncoderConfig(**values["encoder"]))

    def forward(self, images: Tensor) -> Tensor:
        """Maps of the last layer, after its ReLU.

        Raises:
            ValueError: not (N, 3, H, W) with H and W multiples of 16.
        """
        pixels = self.normalised(images)
        if images.shape[2] % STRIDE or images.shape[3] % STRIDE:
            raise ValueError(
                f"expected height and width in multiples of {STRIDE} px, found "
                f"{images.shape[2]} x {images.shape[3]}"
            )
        if self.config.raw_bgr:
            pixels = (pixels * self.pixel_std + self.pixel_mean).flip(1) * 255
        found: Tensor = self.body(pixels)
        return found


def build_panorama_encoder(config: PanoramaEncoderConfig) -> PanoramaEncoder:
    """An encoder with weights as drawn from torch's generator."""
    return PanoramaEncoder(config)


def _resnet(width: float) -> nn.Sequential:
    """Stem, three stages, and two 1x1 convolutions in place of the fourth."""
    stem = scaled(64, width)
    parts: list[tuple[str, nn.Module]] = [
        ("conv1", nn.Conv2d(3, stem, 7, stride=2, padding=3, bias=False)),
        ("bn1", nn.BatchNorm2d(stem)),
        ("relu", nn.ReLU(inplace=True)),
        ("maxpool", nn.MaxPool2d(3, 2, 1)),
    ]
    channels = stem
    for stage, count in enumerate(_RESNET_BLOCKS):
        layer, channels = bottlenecks(channels, scaled(64 << stage, width), count, 1 + (stage > 0))
        parts.append((f"layer{stage + 1}", layer))
    out = scaled(512, width)
    parts.append(
        (
            "neck",
            nn.Sequential(
                nn.Conv2d(channels, out, 1, bias=False),
                nn.BatchNorm2d(out),
                nn.Conv2d(out, out, 1, bias=False),
                nn.BatchNorm2d(out),
                nn.ReLU(inplace=True),
            ),
        )
    )
    return _named(parts)


def bottlenecks(channels: int, inner: int, count: int, stride: int) -> tuple[nn.Sequential, int]:
    """A stage of bottlenecks, and how many channels it gives."""
    blocks = []
    for index in range(count):
        blocks.append(Bottleneck(channels, inner, stride if index == 0 else 1))
        channels = 4 * inner
    return nn.Sequential(*blocks), channels


def _vgg(width: float) -> nn.Sequential:
    """conv1_1 to conv5_3 with ReLU; four poolings, no fifth."""
    layers: list[nn.Module] = []
    channels = 3
    for number, (wide, count) in enumerate(_VGG_BLOCKS):
        if number:
            layers.append(nn.MaxPool2d(2, 2))
        for _ in range(count):
            layers += [
                nn.Conv2d(channels, scaled(wide, width), 3, padding=1),
                nn.ReLU(inplace=True),
            ]
            channels = scaled(wide, width)
    return _named([("features", nn.Sequential(*layers))])


def _named(parts: Sequence[tuple[str, nn.Module]]) -> nn.Sequential:
    found = nn.Sequential()
    for name, module in parts:
        found.add_module(name, module)
    return found


def macs_by_hooks(module: nn.Module, shape: tuple[int, ...]) -> int:
    """Multiply-accumulates of convolutions and linear layers on one input of a shape.

    Counted on a copy without memory for its values.
    """
    total = 0

    def count(layer: nn.Module, _: object, output: Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.Conv2d):
            per_value = layer.weight[0].numel()
        elif isinstance(layer, nn.Linear):
            per_value = layer.in_features
        else:
            return
        total += per_value * output.numel()

    handles = [layer.register_forward_hook(count) for layer in module.modules()]
    training = module.training
    device = next(module.parameters()).device
    try:
        with torch.no_grad():
            module.eval()(torch.zeros(1, *shape, device=device))
    finally:
        module.train(training)
        for handle in handles:
            handle.remove()
    return total
