"""Any network of maps as an encoder of panoramas: its maps at stride 16, around the seam."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_kedro.encoders.base import Encoder
from ssl_kedro.encoders.bundled import kinds_of
from ssl_kedro.encoders.gated_resnet import EncoderConfig
from ssl_kedro.encoders.maps import BranchMaps, MapNetwork
from ssl_kedro.encoders.panorama_encoder import (
    INPUT,
    STRIDE,
    LongitudePadding,
    PanoramaNetwork,
    continue_longitude,
)
from ssl_kedro.gating.cost import BlockCost, NetworkCost
from ssl_kedro.gating.gate import Gate


class PanoramaMaps(PanoramaNetwork):
    """Panoramas (N, 3, H, W) to a network's maps, brought to (N, C, H / 16, W / 16).

    Where the network is trained, its gates decide as in evaluation: nothing here holds them to a
    budget.

    Args:
        network: of maps of any stride; with "circular" its convolutions and poolings are changed
            in place. Layers that pad in a way of their own stay as they are.
        longitude_padding: what stands beyond the left and right edge, in the network and where
            its maps are enlarged: "zeros", or the other side ("circular").
    """

    bundle_format = "ssl_kedro panorama maps v1"

    def __init__(self, network: MapNetwork, longitude_padding: LongitudePadding = "zeros") -> None:
        super().__init__()
        self.network = network
        self.longitude_padding: LongitudePadding = longitude_padding
        self.map_channels = network.map_channels
        continue_longitude(network, longitude_padding)

    def forward(self, images: Tensor) -> Tensor:
        """Maps of the last layer.

        Raises:
            ValueError: not (N, 3, H, W) with H and W multiples of 16, or a network that gives
                one place for a whole panorama.
        """
        if images.ndim != 4 or images.shape[2] % STRIDE or images.shape[3] % STRIDE:
            expected = f"expected panoramas (N, 3, H, W), H and W multiples of {STRIDE}"
            raise ValueError(f"{expected}, found {tuple(images.shape)}")
        return self._at_stride(self.network(images), images)

    def _at_stride(self, maps: Tensor, images: Tensor) -> Tensor:
        rows, columns = images.shape[2] // STRIDE, images.shape[3] // STRIDE
        if maps.shape[2] * maps.shape[3] == 1 < rows * columns:
            raise ValueError(f"maps of one place for {images.shape[2]} x {images.shape[3]} px")
        return resized(maps, (rows, columns), self.longitude_padding)

    def train(self, mode: bool = True) -> Self:
        """Gates stay as they are in evaluation."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, Gate):
                module.eval()
        return self

    def used_modules(self) -> Iterable[nn.Module]:
        """Those of its network."""
        return self.network.used_modules()

    @property
    def architecture(self) -> str:
        """What tables call it: "resnet18 of width 16, gated"."""
        within = self.network.bundled
        config: Any = getattr(within, "config", None)
        name = getattr(within, "called", None) or within.bundle_format.split()[1]
        if isinstance(config, EncoderConfig):
            # Its shape tells: all ResNets are of one class.
            depth = 2 + sum(config.stages) * (config.masks_a_block + 1)
            name = f"resnet{depth} of width {config.width}"
        elif isinstance(within, Encoder):
            name = config.architecture
        elif hasattr(config, "depth"):
            name = f"resnet{config.depth} of width {config.width}"
        both = isinstance(self.network, BranchMaps)
        return f"{name}, {self.network.branch}" if both else name

    @property
    def masked(self) -> bool:
        """Whether each panorama has a cost of its own: in the gated branch of a ResNet."""
        within = self.network
        gated = isinstance(within, BranchMaps) and within.branch == "gated"
        return gated and isinstance(getattr(within.bundled, "config", None), EncoderConfig)

    def masked_macs(self, images: Tensor) -> Tensor:
        """The second of :meth:`maps_and_macs`."""
        return self.maps_and_macs(images)[1]

    @torch.no_grad()
    def maps_and_macs(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Maps, and multiply-accumulates that masks leave of each panorama, gates included.

        PyTorch computes every channel all the same.

        Returns:
            What :meth:`forward` gives, and (N,) float64 on the CPU.

        Raises:
            ValueError: it is not :attr:`masked`.
        """
        encoder = self.masked_encoder
        maps, masks, _ = encoder.maps(images, "gated")
        macs = cost_at_size(encoder, *images.shape[2:]).masked(masks).double().cpu()
        return self._at_stride(maps, images), macs

    def dense_macs(self, height: int, width: int) -> int:
        """Multiply-accumulates of its dense branch for one panorama.

        Raises:
            ValueError: it is not :attr:`masked`.
        """
        return cost_at_size(self.masked_encoder, height, width).dense

    @property
    def masked_encoder(self) -> Encoder:
        """The encoder whose gated branch this is.

        Raises:
            ValueError: it is not :attr:`masked`.
        """
        within = self.network
        if not self.masked or not isinstance(within, BranchMaps):
            raise ValueError(f"{self.architecture} has no masks whose cost is known")
        return within.encoder

    def description(self) -> dict[str, Any]:
        """Its network, as in the network's own bundle, and what readers may want to know."""
        within = self.network.bundled
        branch = {"branch": self.network.branch} if isinstance(self.network, BranchMaps) else {}
        return {
            "network": {"format": within.bundle_format} | within.description(),
            **branch,
            "longitude_padding": self.longitude_padding,
            "input": INPUT,
            "output": f"float (N, {self.map_channels}, H / 16, W / 16)",
        }

    @classmethod
    def from_description(cls, values: Mapping[str, Any]) -> Self:
        """See :class:`~ssl_kedro.encoders.bundled.Bundled`."""
        described = values["network"]
        kinds = kinds_of(MapNetwork, Encoder, found=described["format"])
        network = kinds[described["format"]].from_description(described)
        if isinstance(network, Encoder):
            network = BranchMaps(network, values["branch"])
        return cls(network, values["longitude_padding"])  # type: ignore[arg-type]


def panorama_network(network: MapNetwork, padding: LongitudePadding) -> PanoramaNetwork:
    """A network as an encoder of panoramas: itself where it is one already."""
    return network if isinstance(network, PanoramaNetwork) else PanoramaMaps(network, padding)


def resized(maps: Tensor, size: tuple[int, int], padding: LongitudePadding) -> Tensor:
    """Maps (N, C, h, w) at another size: means of cells where smaller, else bilinear.

    With "circular" columns are enlarged around the seam.
    """
    smaller = (min(maps.shape[2], size[0]), min(maps.shape[3], size[1]))
    if smaller != tuple(maps.shape[2:]):
        maps = functional.interpolate(maps, smaller, mode="area")
    if smaller == size:
        return maps
    # So many columns more that the enlarged ones are whole again: the scale stays what it is.
    beyond = smaller[1] // math.gcd(*(smaller[1], size[1])) if padding == "circular" else 0
    cut = beyond * size[1] // smaller[1]
    if beyond:
        maps = functional.pad(maps, (beyond, beyond, 0, 0), mode="circular")
    wide = (size[0], size[1] + 2 * cut)
    maps = functional.interpolate(maps, wide, mode="bilinear", align_corners=False)
    return maps[..., cut : cut + size[1]]


def cost_at_size(encoder: Encoder, height: int, width: int) -> NetworkCost:
    """Prices of an encoder for images that are not square.

    Each price is of pixels of one map, so that it is the geometric mean of those of the two
    squares; the gates', which look at one mean a channel, do not depend on the size.
    """
    tall, wide = encoder.cost(height), encoder.cost(width)

    def between(name: str, *costs: NetworkCost | BlockCost) -> int:
        return math.isqrt(math.prod(getattr(cost, name) for cost in costs))

    return NetworkCost(
        between("stem", tall, wide),
        tuple(
            dataclasses.replace(
                one,
                macs_per_channel=between("macs_per_channel", one, other),
                macs_per_pair=between("macs_per_pair", one, other),
                shortcut=between("shortcut", one, other),
            )
            for one, other in zip(tall.blocks, wide.blocks, strict=True)
        ),
    )
