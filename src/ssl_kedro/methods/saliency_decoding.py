"""Training of a saliency decoder on a frozen encoder, or of both (thesis 4.3.3)."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ssl_kedro.core.config import Config
from ssl_kedro.core.progress import Progress
from ssl_kedro.losses.kullback_leibler import kullback_leibler
from ssl_kedro.methods.base import TRAINED_PASS, StepResult, Trainable, Views
from ssl_kedro.spherical.sphere import pixel_solid_angles

Tune = Literal["nothing", "norms", "everything"]


@dataclass(frozen=True)
class DecodingConfig(Config):
    """What the decoder is trained for.

    Args:
        weighting: pixels of the maps count as they are ("planar", eq. 4.4) or by their solid
            angle ("sphere").
        flip: mirror panorama and map at random.
        turn: turn panorama and map about the vertical by a random number of cells of the
            encoder's map. Exact with circular padding; with zero padding an encoder sees the
            seam elsewhere.
        last_sample_only: the loss of the last sample of a batch alone, as the authors' code.
    """

    weighting: Literal["planar", "sphere"] = "planar"
    flip: bool = False
    turn: bool = False
    last_sample_only: bool = False


class SaliencyDecoding(Trainable):
    """KLD between predicted and true maps.

    The training images are either panoramas, (B, 3, H, W) in [0, 1], or what a frozen encoder
    made of them, (B, V, C, h, w) with the maps of the panorama (V = 1) and of its mirror image
    (V = 2): a frozen encoder is asked once, not once an epoch.

    Args:
        decoder: maps (N, C, h, w) to saliency (N, 1, H, W).
        truth: float32 (N, H, W), densities per solid angle of all training images.
        config: loss and augmentation.
        encoder: of panoramas; None = the training images are its maps already.
        tune: what of the encoder is trained with the decoder: "nothing" (it stays in
            evaluation mode), "norms" (batch norms and biases, as the authors' code did by
            mistake) or "everything".
        macs: multiply-accumulates of one image forward, of encoder and decoder.
    """

    recordable = False  # the batch's places among the maps come from the host

    def __init__(
        self,
        decoder: nn.Module,
        truth: Tensor,
        config: DecodingConfig,
        *,
        encoder: nn.Module | None = None,
        tune: Tune = "nothing",
        macs: tuple[int, int] = (0, 0),
    ) -> None:
        super().__init__()
        self.decoder = decoder
        self.encoder = encoder
        self.tune = tune
        self.config = config
        self._macs = macs
        # Not part of the state: it is data, and the same when a training is resumed.
        self.register_buffer("truth", truth, persistent=False)
        weights = pixel_solid_angles(truth.shape[1], truth.shape[2]).float()
        self.register_buffer("weights", weights, persistent=False)
        self._indices = torch.empty(0, dtype=torch.int64)
        for module in () if encoder is None else encoder.modules():
            norm = isinstance(module, nn.BatchNorm2d)
            for name, parameter in module.named_parameters(recurse=False):
                tuned = tune == "everything" or (tune == "norms" and (norm or name == "bias"))
                parameter.requires_grad_(tuned)

    truth: Tensor
    weights: Tensor

    def train(self, mode: bool = True) -> "SaliencyDecoding":
        """Training mode of what is trained."""
        super().train(mode)
        if self.encoder is not None and self.tune == "nothing":
            self.encoder.eval()
        return self

    def before_step(self, progress: float, indices: Tensor) -> None:  # noqa: ARG002
        """Take which images the batch holds: their maps are the targets."""
        self._indices = indices

    def forward(
        self,
        views: Views,
        progress: Progress,  # noqa: ARG002
        generator: torch.Generator | None = None,
    ) -> StepResult:
        """Loss of one batch, of randomly mirrored and turned panoramas; see :class:`Trainable`."""
        truth = self.truth[self._indices.to(self.truth.device)]
        inputs, truth = self._augmented(views[0], truth, generator)
        maps = inputs if self.encoder is None else self.encoder(inputs)
        predicted = self.decoder(maps)
        with torch.autocast(truth.device.type, enabled=False):
            loss = kullback_leibler(
                predicted.float()[:, 0],
                truth,
                self.weights if self.config.weighting == "sphere" else None,
                last_sample_only=self.config.last_sample_only,
            )
        return StepResult(loss, {"prediction_mean": predicted.detach().float().mean()})

    def _augmented(
        self, inputs: Tensor, truth: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        count, device = len(inputs), inputs.device
        draws = torch.rand(2, count, generator=generator, device=device)
        mirrored = (draws[0] < 0.5) if self.config.flip else torch.zeros_like(draws[0]).bool()
        if self.encoder is None:
            inputs = inputs[torch.arange(count, device=device), mirrored.long()]
        else:
            inputs = torch.where(mirrored[:, None, None, None], inputs.flip(-1), inputs)
        truth = torch.where(mirrored[:, None, None], truth.flip(-1), truth)
        if not self.config.turn:
            return inputs, truth
        cells = truth.shape[-1] // 16
        turned = (draws[1] * cells).long()
        step = inputs.shape[-1] // cells
        return _rolled(inputs, turned * step), _rolled(truth, turned * 16)

    @property
    def macs_per_image(self) -> int:
        """Decoder forward and backward, and what the encoder does each time."""
        encoder, decoder = self._macs
        passes = 0 if self.encoder is None else 1 if self.tune == "nothing" else TRAINED_PASS
        return passes * encoder + TRAINED_PASS * decoder


def _rolled(values: Tensor, columns: Tensor) -> Tensor:
    """Each sample (..., W) moved right by its own number of columns, around the seam."""
    width = values.shape[-1]
    source = (torch.arange(width, device=values.device)[None] - columns[:, None]) % width
    shape = (len(values), *[1] * (values.ndim - 2), width)
    return values.gather(-1, source.view(shape).expand(values.shape))
