"""An encoder of panoramas and a saliency decoder as one network."""

from __future__ import annotations

from torch import Tensor, nn

from ssl_kedro.encoders.panorama_encoder import PanoramaEncoder, macs_by_hooks
from ssl_kedro.encoders.saliency_decoder import SaliencyDecoder


class SaliencyModel(nn.Module):
    """Panoramas float (N, 3, H, W) in [0, 1] to saliency (N, 1, H, W) in (0, 1).

    Saliency is a density per solid angle up to its scale.

    Args:
        encoder: of panoramas.
        decoder: of its maps.

    Raises:
        ValueError: the decoder takes maps of another number of channels.
    """

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
