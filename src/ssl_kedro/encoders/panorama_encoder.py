"""Encoders of panoramas: ResNet-50 up to its third stage, and VGG-16 (thesis 4.3.2).

Beside them the layers that know that a panorama has no left and right edge.
"""

from abc import abstractmethod
from collections import OrderedDict
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_kedro.core.config import Config, Range
from ssl_kedro.core.seeding import weights_drawn
from ssl_kedro.encoders.bottleneck_resnet import bottlenecks
from ssl_kedro.encoders.folding import SameMaxPool
from ssl_kedro.encoders.maps import IMAGENET_MEAN, IMAGENET_STD, MapNetwork, NormalisedMaps

LongitudePadding = Literal["zeros", "circular"]
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


class PanoramaNetwork(MapNetwork):
    """Panoramas (N, 3, H, W), H and W multiples of 16, to maps (N, C, H / 16, W / 16).

    ``architecture`` is what tables call it.
    """

    @property
    @abstractmethod
    def architecture(self) -> str:
        """Such as "resnet50"."""


class PanoramaEncoder(NormalisedMaps, PanoramaNetwork):
    """Panoramas float (N, 3, H, W) in [0, 1], or uint8, to maps (N, C, H / 16, W / 16).

    Weights are as drawn from torch's generator.

    At width 1, C = 512; 9.33 M parameters and 3.50 G MACs (resnet50), 14.71 M and 15.66 G
    (vgg16) at 160 x 320. Names of the parameters that torchvision has too are torchvision's.

    Args:
        config: shape.
    """

    bundle_format = "ssl_kedro panorama encoder v1"
    config_type = PanoramaEncoderConfig
    config_key = "encoder"
    config: PanoramaEncoderConfig

    def __init__(self, config: PanoramaEncoderConfig) -> None:
        super().__init__(IMAGENET_MEAN, IMAGENET_STD)
        self.config = config
        self.map_channels = scaled(512, config.width)
        self.body = {"resnet50": _resnet, "vgg16": _vgg}[config.architecture](config.width)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        continue_longitude(self, config.longitude_padding)

    @property
    def architecture(self) -> str:
        """That of its shape."""
        return self.config.architecture

    def description(self) -> dict[str, Any]:
        """Shape, and what readers of the file may want to know."""
        output = f"float (N, {self.map_channels}, H / 16, W / 16)"
        return super().description() | {"input": INPUT, "output": output}

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


def new_panorama_encoder(config: PanoramaEncoderConfig, seed: int) -> PanoramaEncoder:
    """An encoder whose weights depend on shape and seed alone."""
    with weights_drawn(seed, "weights"):
        return PanoramaEncoder(config)


def _resnet(width: float) -> nn.Sequential:
    """Stem, three stages, and two 1x1 convolutions in place of the fourth."""
    channels, out = scaled(64, width), scaled(512, width)
    parts: dict[str, nn.Module] = {
        "conv1": nn.Conv2d(3, channels, 7, stride=2, padding=3, bias=False),
        "bn1": nn.BatchNorm2d(channels),
        "relu": nn.ReLU(inplace=True),
        "maxpool": nn.MaxPool2d(3, 2, 1),
    }
    for stage, count in enumerate(_RESNET_BLOCKS):
        inner = scaled(64 << stage, width)
        parts[f"layer{stage + 1}"], channels = bottlenecks(channels, inner, count, 1 + (stage > 0))
    parts["neck"] = nn.Sequential(
        nn.Conv2d(channels, out, 1, bias=False),
        nn.BatchNorm2d(out),
        nn.Conv2d(out, out, 1, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU(inplace=True),
    )
    return nn.Sequential(OrderedDict(parts))


def _vgg(width: float) -> nn.Sequential:
    """conv1_1 to conv5_3 with ReLU; four poolings, no fifth."""
    layers: list[nn.Module] = []
    channels = 3
    for number, (wide, count) in enumerate(_VGG_BLOCKS):
        if number:
            layers.append(nn.MaxPool2d(2, 2))
        for _ in range(count):
            convolution = nn.Conv2d(channels, scaled(wide, width), 3, padding=1)
            layers += [convolution, nn.ReLU(inplace=True)]
            channels = convolution.out_channels
    return nn.Sequential(OrderedDict(features=nn.Sequential(*layers)))


def macs_by_hooks(module: nn.Module, shape: tuple[int, ...]) -> int:
    """Multiply-accumulates of convolutions and linear layers on one input of a shape.

    Counted by one pass of zeros.
    """
    total = 0

    def count(layer: nn.Module, _: object, output: Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.Conv2d | nn.Linear):
            total += layer.weight[0].numel() * output.numel()

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


class LongitudeConv2d(nn.Conv2d):
    """A convolution whose columns continue on the other side; rows are padded with zeros."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C', h', w')."""
        rows, columns = (int(size) for size in self.padding)
        x = functional.pad(x, (columns, columns, 0, 0), mode="circular")
        return functional.conv2d(
            x, self.weight, self.bias, self.stride, (rows, 0), self.dilation, self.groups
        )


class LongitudeMaxPool2d(nn.MaxPool2d):
    """A max pooling of values above zero whose columns continue on the other side."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C, h', w')."""
        # A number here, never a pair.
        columns = int(self.padding)  # type: ignore[arg-type]
        x = functional.pad(x, (columns, columns, 0, 0), mode="circular")
        return functional.max_pool2d(x, self.kernel_size, self.stride, (columns, 0))


def continue_longitude(module: nn.Module, padding: LongitudePadding) -> None:
    """Let every padded layer of a network wrap around the panorama, in place.

    With "circular" the network then commutes with turns about the vertical by whole cells of
    its last map. Names of parameters stay the same. "zeros" leaves everything as it is.
    """
    if padding == "zeros":
        return
    for child in list(module.modules()):
        if isinstance(child, SameMaxPool):
            child.columns = "circular"
        for name, layer in list(child.named_children()):
            if type(layer) is nn.Conv2d and layer.padding[1] != 0:
                wrapped = LongitudeConv2d(
                    layer.in_channels,
                    layer.out_channels,
                    layer.kernel_size,  # type: ignore[arg-type]
                    layer.stride,  # type: ignore[arg-type]
                    layer.padding,  # type: ignore[arg-type]
                    layer.dilation,  # type: ignore[arg-type]
                    layer.groups,
                    bias=layer.bias is not None,
                )
                wrapped.weight, wrapped.bias = layer.weight, layer.bias
                setattr(child, name, wrapped)
            elif type(layer) is nn.MaxPool2d and layer.padding and not layer.ceil_mode:
                pooling = LongitudeMaxPool2d(layer.kernel_size, layer.stride, layer.padding)
                setattr(child, name, pooling)


def enlarged(x: Tensor, factor: int, padding: LongitudePadding) -> Tensor:
    """Bilinear enlargement by a whole factor, around the seam with "circular"."""
    if padding == "zeros":
        return functional.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
    x = functional.pad(x, (1, 1, 0, 0), mode="circular")
    x = functional.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
    return x[..., factor:-factor]
