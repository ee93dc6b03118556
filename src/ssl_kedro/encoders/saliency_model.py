"""Saliency of panoramas: decoders of an encoder's maps (thesis 4.3.3), and both as one network."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_kedro.core.config import Config, Range
from ssl_kedro.encoders.bundled import Bundled, kinds_of
from ssl_kedro.encoders.panorama_encoder import (
    INPUT,
    STRIDE,
    LongitudePadding,
    PanoramaEncoder,
    PanoramaNetwork,
    continue_longitude,
    enlarged,
    macs_by_hooks,
    scaled,
)

DecoderKind = Literal["light", "thesis", "salgan"]
DECODERS: tuple[DecoderKind, ...] = get_args(DecoderKind)
# Channels of the 3x3 convolutions of each block; the map doubles after each block but the last.
_BLOCKS: dict[str, tuple[tuple[int, ...], ...]] = {
    "thesis": ((512,), (512,), (256,), (128, 128), (64, 64)),
    "salgan": ((512, 512, 512), (512, 512, 512), (256, 256, 256), (128, 128), (64, 64)),
}
# The prior at its peak: far enough below 1 for the network to raise it.
_PEAK = 0.5
_LOWEST_LOGIT = -12.0


@dataclass(frozen=True)
class DecoderConfig(Config):
    """Shape of a decoder.

    Args:
        kind: "thesis" (6.45 M parameters, 17.46 G MACs at 160 x 320 and width 1), "salgan" (the
            full decoder that it was cut from, 17.07 M), or "light" (0.32 M, 0.2 G), which
            predicts at a quarter of the size: saliency maps are smooth.
        width: share of the channels of every layer.
        longitude_padding: what stands beyond the left and right edge: "zeros" (thesis), or the
            other side ("circular").
        prior: what the decoder starts from and adds to, learnt from the training maps:
            "none" (thesis), "equator" (latitude alone), "mean" (the mean map, where panoramas
            share a front).
        dropout: share of the encoder's maps left out in training (thesis: 0).
    """

    kind: DecoderKind = "light"
    width: Annotated[float, Range(above=0, at_most=4)] = 1.0
    longitude_padding: LongitudePadding = "zeros"
    prior: Literal["none", "equator", "mean"] = "none"
    dropout: Annotated[float, Range(at_least=0, below=1)] = 0.0


class SaliencyDecoder(nn.Module, ABC):
    """Maps (N, C, h, w) to saliency (N, 1, 16 h, 16 w) in (0, 1).

    Args:
        config: shape.
        in_channels: C.
    """

    prior_logit: Tensor
    head: nn.Conv2d

    def __init__(self, config: DecoderConfig, in_channels: int) -> None:
        super().__init__()
        self.config = config
        self.in_channels = in_channels
        self.register_buffer("prior_logit", torch.zeros(1, 1, 1, 1))

    def set_prior(self, density: Tensor) -> None:
        """Start from a map: before any training the decoder predicts it for every panorama.

        Args:
            density: float (16 h, 16 w), not negative; its scale does not matter.
        """
        share = (density / density.max() * _PEAK).clamp(max=_PEAK)
        logit = torch.logit(share.double()).clamp(min=_LOWEST_LOGIT).float()
        self.prior_logit = logit[None, None].to(self.prior_logit.device)
        nn.init.zeros_(self.head.weight)
        if self.head.bias is not None:
            nn.init.zeros_(self.head.bias)

    def forward(self, maps: Tensor) -> Tensor:
        """See the class."""
        if self.config.dropout:
            maps = functional.dropout2d(maps, self.config.dropout, self.training)
        return torch.sigmoid(self.logits(maps) + self.prior_logit)

    @abstractmethod
    def logits(self, maps: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, 1, 16 h, 16 w), before prior and sigmoid."""


class StackedDecoder(SaliencyDecoder):
    """3x3 convolutions with ReLU, doubled bilinearly after each block."""

    def __init__(self, config: DecoderConfig, in_channels: int) -> None:
        super().__init__(config, in_channels)
        blocks, channels = [], in_channels
        for block in _BLOCKS[config.kind]:
            layers: list[nn.Module] = []
            for wide in block:
                convolution = nn.Conv2d(channels, scaled(wide, config.width), 3, padding=1)
                layers += [convolution, nn.ReLU(inplace=True)]
                channels = convolution.out_channels
            blocks.append(nn.Sequential(*layers))
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Conv2d(channels, 1, 1)
        continue_longitude(self, config.longitude_padding)

    def logits(self, maps: Tensor) -> Tensor:
        """See :class:`SaliencyDecoder`."""
        for number, block in enumerate(self.blocks):
            if number:
                maps = enlarged(maps, 2, self.config.longitude_padding)
            maps = block(maps)
        found: Tensor = self.head(maps)
        return found


class LightDecoder(SaliencyDecoder):
    """Few channels, most of the work where the map is small, and a look at the whole panorama.

    1x1 to 128 channels; a 3x3 at h x w, to which the mean over the sphere's picture is added;
    3x3 to 64 at 2 h x 2 w; 3x3 to 32 and the prediction at 4 h x 4 w, enlarged four times.
    """

    def __init__(self, config: DecoderConfig, in_channels: int) -> None:
        super().__init__(config, in_channels)
        wide, middle, narrow = (scaled(channels, config.width) for channels in (128, 64, 32))
        self.reduce = nn.Conv2d(in_channels, wide, 1)
        self.small = nn.Conv2d(wide, wide, 3, padding=1)
        self.context = nn.Linear(wide, wide)
        self.middle = nn.Conv2d(wide, middle, 3, padding=1)
        self.large = nn.Conv2d(middle, narrow, 3, padding=1)
        self.head = nn.Conv2d(narrow, 1, 1)
        continue_longitude(self, config.longitude_padding)

    def logits(self, maps: Tensor) -> Tensor:
        """See :class:`SaliencyDecoder`."""
        padding = self.config.longitude_padding
        maps = functional.relu(self.reduce(maps))
        context = self.context(maps.mean(dim=(2, 3)))[:, :, None, None]
        maps = functional.relu(self.small(maps) + context)
        maps = functional.relu(self.middle(enlarged(maps, 2, padding)))
        maps = functional.relu(self.large(enlarged(maps, 2, padding)))
        return enlarged(self.head(maps), STRIDE // 4, padding)


def build_decoder(config: DecoderConfig, in_channels: int) -> SaliencyDecoder:
    """A decoder with weights as drawn from torch's generator."""
    kind = LightDecoder if config.kind == "light" else StackedDecoder
    decoder = kind(config, in_channels)
    for layer in decoder.modules():
        if isinstance(layer, nn.Conv2d) and layer is not decoder.head:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return decoder


def decoder_parameters(config: DecoderConfig, in_channels: int) -> int:
    """How many parameters a decoder has; none is made."""
    with torch.device("meta"):
        decoder = build_decoder(config, in_channels)
    return sum(parameter.numel() for parameter in decoder.parameters())


class SaliencyModel(Bundled):
    """Panoramas float (N, 3, H, W) in [0, 1] to saliency (N, 1, H, W) in (0, 1).

    Saliency is a density per solid angle up to its scale.

    Args:
        encoder: of panoramas.
        decoder: of its maps.

    Raises:
        ValueError: the decoder takes maps of another number of channels.
    """

    bundle_format = "ssl_kedro saliency model v1"

    def __init__(self, encoder: PanoramaNetwork, decoder: SaliencyDecoder) -> None:
        super().__init__()
        if encoder.map_channels != decoder.in_channels:
            raise ValueError(
                f"the encoder gives {encoder.map_channels} channels, the decoder takes "
                f"{decoder.in_channels}"
            )
        self.encoder = encoder
        self.decoder = decoder

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        found: Tensor = self.decoder(self.encoder(images))
        return found

    def macs(self, height: int, width: int) -> dict[str, int]:
        """Multiply-accumulates of one panorama: "encoder", "decoder" and "all"."""
        maps = (self.encoder.map_channels, height // STRIDE, width // STRIDE)
        encoder = macs_by_hooks(self.encoder, (3, height, width))
        decoder = macs_by_hooks(self.decoder, maps)
        return {"encoder": encoder, "decoder": decoder, "all": encoder + decoder}

    def description(self) -> dict[str, Any]:
        """Both shapes, and what readers of the file may want to know."""
        return {
            "encoder": self._encoder_description(),
            "decoder": dataclasses.asdict(self.decoder.config),
            "input": INPUT,
            "output": "float (N, 1, H, W) in (0, 1), density per solid angle up to its scale",
        }

    def _encoder_description(self) -> dict[str, Any]:
        """A shape alone is that of a panorama encoder; others say of what format they are."""
        if isinstance(self.encoder, PanoramaEncoder):
            return dataclasses.asdict(self.encoder.config)
        return {"format": self.encoder.bundle_format} | self.encoder.description()

    @classmethod
    def from_description(cls, values: Mapping[str, Any]) -> Self:
        """See :class:`~ssl_kedro.encoders.bundled.Bundled`."""
        described = values["encoder"]
        encoder: PanoramaNetwork
        if found := described.get("format"):
            kinds = kinds_of(PanoramaNetwork, found=found)  # type: ignore[type-abstract]
            encoder = kinds[found].from_description(described)
        else:
            encoder = PanoramaEncoder.from_description(values)
        decoder = build_decoder(DecoderConfig(**values["decoder"]), encoder.map_channels)
        return cls(encoder, decoder)

    def make_room(self, weights: Mapping[str, Tensor]) -> None:
        """Its prior is as large as the panoramas that it was learnt from."""
        self.decoder.prior_logit = torch.zeros_like(weights["decoder.prior_logit"])
