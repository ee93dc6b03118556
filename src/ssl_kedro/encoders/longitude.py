"""Convolutions that know that a panorama has no left and right edge."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

LongitudePadding = Literal["zeros", "circular"]


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
        for name, layer in list(child.named_children()):
            if type(layer) is nn.Conv2d and layer.padding[0] != 0:
                wrapped = LongitudeConv2d(
                    layer.in_channels,
                    layer.out_channels,
                    layer.kernel_size,  # type: ignore[arg-type]
                    layer.stride,  # type: ignore[arg-type]
                    layer.padding,  # type: ignore[arg-type]
                    bias=layer.bias is not None,
                )
                wrapped.weight, wrapped.bias = layer.weight, layer.bias
                setattr(child, name, wrapped)
            elif type(layer) is nn.MaxPool2d and layer.padding:
                setattr(
                    child, name, LongitudeMaxPool2d(layer.kernel_size, layer.stride, layer.padding)
                )


def enlarged(x: Tensor, factor: int, padding: LongitudePadding) -> Tensor:
    """Bilinear enlargement by a whole factor, around the seam with "circular"."""
    if padding == "zeros":
        return functional.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
    x = functional.pad(x, (1, 1, 0, 0), mode="circular")
    x = functional.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
    return x[..., factor:-factor]
