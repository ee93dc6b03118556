"""An encoder of panoramas and a saliency decoder as one network."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor

from ssl_kedro.encoders.bundled import Bundled
from ssl_kedro.encoders.panorama_encoder import INPUT, PanoramaEncoder, macs_by_hooks
from ssl_kedro.encoders.saliency_decoder import DecoderConfig, SaliencyDecoder, build_decoder


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

    def __init__(self, encoder: PanoramaEncoder, decoder: SaliencyDecoder) -> None:
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
        encoder = macs_by_hooks(self.encoder, (3, height, width))
        decoder = macs_by_hooks(
            self.decoder, (self.encoder.map_channels, height // 16, width // 16)
        )
        return {"encoder": encoder, "decoder": decoder, "all": encoder + decoder}

    def description(self) -> dict[str, Any]:
        """Both shapes, and what readers of the file may want to know."""
        return {
            "encoder": dataclasses.asdict(self.encoder.config),
            "decoder": dataclasses.asdict(self.decoder.config),
            "input": INPUT,
            "output": "float (N, 1, H, W) in (0, 1), density per solid angle up to its scale",
        }

    @classmethod
    def from_description(cls, values: Mapping[str, Any]) -> Self:
        """See :class:`~ssl_kedro.encoders.bundled.Bundled`."""
        encoder = PanoramaEncoder.from_description(values)
        decoder = build_decoder(DecoderConfig(**values["decoder"]), encoder.map_channels)
        return cls(encoder, decoder)

    def make_room(self, weights: Mapping[str, Tensor]) -> None:
        """Its prior is as large as the panoramas that it was learnt from."""
        self.decoder.prior_logit = torch.zeros_like(weights["decoder.prior_logit"])
