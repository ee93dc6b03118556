"""AMDIM's encoder (Bachman et al. 2019): residual blocks without padding, hardly any norms.

Names of parameters are those of the authors' repository, Philip-Bachman/amdim-public, so that
its files load as they are. Each block adds a 1x1 convolution of ReLU(conv(x)) to its input,
averaged over the same window, with zeros for channels that the input lacks.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from ssl_kedro.core.config import Config, Range
from ssl_kedro.encoders.maps import IMAGENET_MEAN, IMAGENET_STD, NormalisedMaps

EncoderSize = Literal[32, 64, 128]
MapResize = Literal["average", "bilinear"]
Size = Annotated[int, Range(at_least=1, at_most=8192)]
# (width of the window, stride, factor of ndf after it) of the blocks up to the maps.
_BLOCKS: dict[int, tuple[tuple[int, int, int], ...]] = {
    32: ((4, 2, 2), (2, 2, 4), (3, 1, 4), (3, 1, 4)),
    64: ((4, 2, 2), (4, 2, 4), (2, 2, 8), (3, 1, 8), (3, 1, 8)),
    128: ((4, 2, 2), (4, 2, 4), (2, 2, 8), (3, 1, 8), (3, 1, 8)),
}
_LAYERS_AFTER_MAPS = 2
# What the authors' transforms of the three data sets subtract and divide by.
_PIXELS = {
    32: (tuple(x / 255 for x in (125.3, 123.0, 113.9)), tuple(x / 255 for x in (63.0, 62.1, 66.7))),
    64: ((0.43, 0.42, 0.39), (0.27, 0.26, 0.27)),
    128: (IMAGENET_MEAN, IMAGENET_STD),
}


@dataclass(frozen=True)
class AmdimConfig(Config):
    """Shape of the encoder; the first five as in the files' ``hyperparams``.

    Args:
        ndf: channels of the first layer.
        n_rkhs: channels of the global vector.
        n_depth: residual units a block.
        encoder_size: side in px of the images it was made for: 32, 64 or 128.
        use_bn: whether units normalise by the batch; the published networks do not, so that
            there are no statistics to adapt to other images.
        map_side: side that maps are brought to, the longer one of maps that are not square;
            smaller maps stay as they are. None = no change.
        map_resize: "average" = adaptive average pooling, "bilinear" = interpolation.
    """

    ndf: Size = 320
    n_rkhs: Size = 2560
    n_depth: Annotated[int, Range(at_least=1, at_most=64)] = 10
    encoder_size: EncoderSize = 128
    use_bn: bool = False
    map_side: Annotated[int, Range(at_least=1)] | None = 23
    map_resize: MapResize = "average"


class OptionalNorm(nn.Module):
    """A batch norm that may be there for its names only."""

    def __init__(self, channels: int, used: bool) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)
        self.used = used

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w), normalised if used."""
        return self.bn(x) if self.used else x


class _Stem(nn.Module):
    """A convolution with a bias, after reflected borders, then ReLU."""

    def __init__(self, inputs: int, outputs: int, width: int, stride: int, pad: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, width, stride)
        self.pad = pad

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C', h', w')."""
        if self.pad:
            x = nn.functional.pad(x, (self.pad,) * 4, mode="reflect")
        return torch.relu_(self.conv(x))


class _Unit(nn.Module):
    """conv2(ReLU(norm(conv1(x)))) + the input's averages."""

    def __init__(self, inputs: int, outputs: int, width: int, stride: int, use_bn: bool) -> None:
        super().__init__()
        self.width, self.stride = width, stride
        self.conv1 = nn.Conv2d(inputs, outputs, width, stride, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 1, bias=False)
        self.conv3: nn.Conv2d | None = None
        if outputs < inputs:
            self.conv3 = nn.Conv2d(inputs, outputs, width, stride)
        self.bn1 = OptionalNorm(outputs, use_bn)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C', h', w')."""
        out: Tensor = self.conv2(torch.relu(self.bn1(self.conv1(x))))
        if self.conv3 is not None:
            return out + self.conv3(x)  # type: ignore[no-any-return]
        if self.width > 1 or self.stride > 1:
            x = nn.functional.avg_pool2d(x, self.width, self.stride)
        if out.shape[1] > x.shape[1]:
            x = nn.functional.pad(x, (0, 0, 0, 0, 0, out.shape[1] - x.shape[1]))
        return out + x


class _Block(nn.Module):
    """One unit that changes the shape, then units of 1x1."""

    def __init__(
        self, inputs: int, outputs: int, width: int, stride: int, depth: int, use_bn: bool
    ) -> None:
        super().__init__()
        units = [_Unit(inputs, outputs, width, stride, use_bn)]
        units += [_Unit(outputs, outputs, 1, 1, use_bn) for _ in range(depth - 1)]
        self.layer_list = nn.Sequential(*units)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C', h', w')."""
        return self.layer_list(x)  # type: ignore[no-any-return]


class AmdimEncoder(NormalisedMaps):
    """Maps of AMDIM's last block that sees more than a point.

    At its own image size the encoder narrows to maps of 7x7, 5x5 and 3x3, from which one last
    convolution makes a single vector of n_rkhs values. The maps given here are those before
    that convolution: 3x3 at the encoder's own size, 40x40 for 724 px and size 128. That is the
    only layer of it with maps of 40x40, the size that thesis 3.4.1 states (the two before give
    44x44 and 42x42, the one behind 38x38). They have 8 ndf channels (4 ndf at size 32) and no
    activation at their end: values may be negative.

    Args:
        config: shape, and what maps are brought to.
    """

    bundle_format = "ssl_kedro amdim maps v1"
    config_type = AmdimConfig
    config: AmdimConfig

    def __init__(self, config: AmdimConfig) -> None:
        super().__init__(*_PIXELS[config.encoder_size])
        self.config = config
        self.layer_list = nn.ModuleList(_layers(config))
        self.map_channels = config.ndf * _BLOCKS[config.encoder_size][-1][2]

    def forward(self, images: Tensor) -> Tensor:
        """Maps (N, C, h, w) brought to ``map_side``; see :class:`MapNetwork`."""
        return self._resized(self.layers(images, -_LAYERS_AFTER_MAPS)[-1])

    def layers(self, images: Tensor, end: int | None = None) -> list[Tensor]:
        """Outputs of the layers up to an index; of all for None, the last the global vector."""
        outputs = [self.normalised(images)]
        for layer in list(self.layer_list)[:end]:
            outputs.append(layer(outputs[-1]))
        return outputs[1:]

    def used_modules(self) -> Iterable[nn.Module]:
        """Modules up to the maps, without norms that are there for their names only."""
        used = [m for layer in self.layer_list[:-_LAYERS_AFTER_MAPS] for m in layer.modules()]
        unused = {m.bn for m in used if isinstance(m, OptionalNorm) and not m.used}
        return [module for module in used if module not in unused]

    def _resized(self, maps: Tensor) -> Tensor:
        height, width = maps.shape[2:]
        side = self.config.map_side
        if side is None or max(height, width) <= side:
            return maps
        factor = side / max(height, width)
        size = (max(round(height * factor), 1), max(round(width * factor), 1))
        if self.config.map_resize == "average":
            return nn.functional.adaptive_avg_pool2d(maps, size)
        return nn.functional.interpolate(maps, size, mode="bilinear", align_corners=False)


def _layers(config: AmdimConfig) -> Iterator[nn.Module]:
    """The layers in the order, and so under the numbers, of the authors' files."""
    channels = config.ndf
    if config.encoder_size == 128:
        yield _Stem(3, channels, 5, 2, 2)
        yield _Stem(channels, channels, 3, 1, 0)
    else:
        yield _Stem(3, channels, 3, 1, 0)
    if config.encoder_size == 32:
        yield _Unit(channels, channels, 1, 1, config.use_bn)
    blocks = _BLOCKS[config.encoder_size]
    for index, (width, stride, factor) in enumerate(blocks):
        if index == len(blocks) - 2:
            yield OptionalNorm(channels, config.use_bn)
        outputs = config.ndf * factor
        yield _Block(channels, outputs, width, stride, config.n_depth, config.use_bn)
        channels = outputs
    yield _Unit(channels, config.n_rkhs, 3, 1, config.use_bn)
    yield OptionalNorm(config.n_rkhs, used=True)
