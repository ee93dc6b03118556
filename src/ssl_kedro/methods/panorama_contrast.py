"""Contrastive pre-training on panoramas against a memory bank (thesis 4.3.2, Figures 4.4, 4.5)."""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional

from ssl_kedro.core.collectives import own_rows, rows_of_all
from ssl_kedro.core.config import PROBABILITY, TEMPERATURE, Config, ConfigError, Range
from ssl_kedro.core.progress import Progress
from ssl_kedro.core.seeding import torch_generator, weights_drawn
from ssl_kedro.encoders.panorama_encoder import (
    STRIDE,
    PanoramaEncoder,
    PanoramaEncoderConfig,
    macs_by_hooks,
    new_panorama_encoder,
)
from ssl_kedro.losses.memory_nce import MemoryBank, memory_nce
from ssl_kedro.methods.base import TRAINED_PASS, StepResult, Trainable, Views, normalised_deviation
from ssl_kedro.methods.panorama_heads import (
    HeadEnd,
    Heads,
    ViewAttention,
    global_head,
    local_head,
)

_GLOBAL, _LOCAL = 0, 1


@dataclass(frozen=True)
class ContrastConfig(Config):
    """The objective; the defaults are thesis 4.3.2 and 4.4.

    Args:
        local_weight: lambda, share of the local loss (0.7).
        negatives: K, vectors of the bank that each sample is told from, drawn uniformly (16,000).
        temperature: tau (0.07); None = :func:`equivalent_temperature` of the training images.
        bank_momentum: of the bank's vectors (0.5).
        attention: between the views; without it setting (i) of Table 4.1.
        embedding: D (512).
        heads: "authors", as their code has them, or "text"; see
            :mod:`~ssl_kedro.methods.panorama_heads`.
        head_end: last layer of the heads: "relu" (thesis) or "batch_norm", which centres the
            embeddings and learns in far fewer steps; of the text's that of the global one.
    """

    local_weight: Annotated[float, PROBABILITY] = 0.7
    negatives: Annotated[int, Range(at_least=1, at_most=65_536)] = 16000
    temperature: Annotated[float, TEMPERATURE] | None = 0.07
    bank_momentum: Annotated[float, Range(at_least=0, below=1)] = 0.5
    attention: bool = True
    embedding: Annotated[int, Range(at_least=2, at_most=16_384)] = 512
    heads: Heads = "authors"
    head_end: HeadEnd = "relu"


def equivalent_temperature(count: int) -> float:
    """Temperature that asks as much of an embedding as 0.07 does among the thesis' 90,000 images.

    The normalising constant is n times a number near 1, so that the score of an image with its own
    vector rises up to log n, at a cosine of tau log n: 0.80 in the thesis. With the same tau and 80
    images that is .31, and two images of a cosine of .5 already count as far too alike: the
    embeddings would have to be nearly at right angles to one another from the start, and their
    easiest way is to turn all together ahead of the bank. So tau log n is kept, not tau.

    Args:
        count: n, training images.

    Raises:
        ConfigError: fewer than two: a single image has nothing to be told from.
    """
    if count < 2:
        raise ConfigError("temperature", None, "a number where there are fewer than two panoramas")
    return 0.07 * math.log(90_000) / math.log(count)


class PanoramaContrast(Trainable):
    """Source view and cells of the other view against what the bank remembers of the image.

    L = lambda L_local + (1 - lambda) L_global. The scores of the global loss are m . f / tau, those
    of the local loss the mean over cells of m . z / tau, which is m times the mean of z: both
    losses need one vector a sample.

    Args:
        encoder: to be trained.
        config: the objective.
        count: training images.
        seed: of the bank's first vectors.
        image_size: height and width of the views in px.
    """

    recordable = False  # the batch's places in the bank come from the host

    def __init__(
        self,
        encoder: PanoramaEncoder,
        config: ContrastConfig,
        count: int,
        seed: int,
        image_size: tuple[int, int],
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.config = config
        self.image_size = image_size
        map_size = (image_size[0] // STRIDE, image_size[1] // STRIDE)
        chosen = (config.embedding, config.head_end, config.heads)
        self.global_head = global_head(encoder, map_size, *chosen)
        self.local_head = local_head(encoder, *chosen)
        self.attention = (
            ViewAttention(encoder.map_channels, encoder.config.width) if config.attention else None
        )
        self.temperature = (
            equivalent_temperature(count) if config.temperature is None else config.temperature
        )
        self.bank = MemoryBank(count, config.embedding, torch_generator(seed, "bank"))
        self._indices = torch.empty(0, dtype=torch.int64)
        self._source = torch.empty(0)

    def before_step(self, progress: float, indices: Tensor) -> None:  # noqa: ARG002
        """Take which images the batch holds: their vectors in the bank are the positives."""
        self._indices = indices

    def forward(
        self,
        views: Views,
        progress: Progress,  # noqa: ARG002
        generator: torch.Generator | None = None,
    ) -> StepResult:
        """Loss of one batch; see :class:`Trainable`.

        Args:
            views: the panorama, and another view of it, re-projected and changed.
            progress: not used.
            generator: draws the negatives.
        """
        config = self.config
        source_maps, other_maps = (self.encoder(view) for view in views)
        if self.attention is not None:
            other_maps = self.attention(source_maps, other_maps)
        source, cells = self.global_head(source_maps), self.local_head(other_maps)
        with torch.autocast(source.device.type, enabled=False):
            source = functional.normalize(source.float(), dim=1)
            local = functional.normalize(cells.float(), dim=1).mean(dim=(2, 3))
            self._source = source.detach()
            losses = self._losses(source, local, generator)
            loss = (
                config.local_weight * losses[_LOCAL] + (1 - config.local_weight) * losses[_GLOBAL]
            )
            scalars = {
                "global_loss": losses[_GLOBAL].detach(),
                "local_loss": losses[_LOCAL].detach(),
                "embedding_std": normalised_deviation(source),
            }
        if self.attention is not None:
            scalars["gamma"] = self.attention.gamma.detach().float()
        return StepResult(loss, scalars)

    def _losses(
        self, source: Tensor, local: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Global and local loss, with the same negatives."""
        count = len(self.bank.vectors)
        device = source.device
        indices = self._indices.to(device)
        negatives = own_rows(
            torch.randint(
                count,
                (rows_of_all(len(source)), self.config.negatives),
                generator=generator,
                device=device,
            )
        )
        found = []
        for kind, embeddings in ((_GLOBAL, source), (_LOCAL, local)):
            positive, negative = self.bank.scores(embeddings, indices, negatives, self.temperature)
            normaliser = self.bank.normaliser(kind, positive, negative)
            found.append(memory_nce(positive, negative, normaliser, count))
        return found[0], found[1]

    def after_update(self, images: Tensor, progress: float) -> None:  # noqa: ARG002
        """Move the bank's vectors of the batch towards the source view's embeddings."""
        indices = self._indices.to(self._source.device)
        self.bank.update(indices, self._source, self.config.bank_momentum)

    @property
    def macs_per_image(self) -> int:
        """Both views forward and backward through the encoder."""
        return 2 * TRAINED_PASS * macs_by_hooks(self.encoder, (3, *self.image_size))


@dataclass(frozen=True)
class ContrastPlan:
    """The method before it is built; another process can build the same one.

    Args:
        encoder: its shape.
        config: the objective.
        count: training images.
        image_size: height and width of the views in px.
        seed: the run's seed.
    """

    encoder: PanoramaEncoderConfig
    config: ContrastConfig
    count: int
    image_size: tuple[int, int]
    seed: int

    def build(self) -> PanoramaContrast:
        """The method with freshly initialised weights, which depend on the plan alone."""
        encoder = new_panorama_encoder(self.encoder, self.seed)
        with weights_drawn(self.seed, "heads"):
            return PanoramaContrast(encoder, self.config, self.count, self.seed, self.image_size)
