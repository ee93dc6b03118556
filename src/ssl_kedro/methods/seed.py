"""SEED (Fang et al. 2021): a student learns whom its teacher resembles (thesis Table 6.3)."""

from dataclasses import dataclass, field
from typing import Annotated

import torch
from torch import Tensor, nn

from ssl_kedro.core.collectives import gathered
from ssl_kedro.core.config import Config, Range
from ssl_kedro.losses.seed import SeedTemperatures, seed_loss
from ssl_kedro.methods.distillation import DistillationMethod


@dataclass(frozen=True)
class SeedOptions(Config):
    """Parameters of SEED.

    Args:
        queue: teacher embeddings kept (65,536 in the paper).
        temperatures: of the two distributions.
    """

    queue: Annotated[int, Range(at_least=2, at_most=262_144)] = 65_536
    temperatures: SeedTemperatures = field(default_factory=SeedTemperatures)


class Seed(DistillationMethod):
    """Cross-entropy between the similarities of student and teacher to a queue.

    The student's features go through two linear layers to the teacher's dimension (Fang et
    al. 2021, 3.2). The queue holds the teacher's latest embeddings, oldest replaced first;
    it starts empty and only what it holds counts, where the official code starts from
    random vectors. Student and teacher see the same view; both views of an image are used.
    """

    name = "seed"
    options_type = SeedOptions
    options: SeedOptions
    recordable = False  # the host reads how much the queue holds
    queue: Tensor
    queued: Tensor

    def add_heads(self) -> None:
        """The student's head and the queue."""
        features = self.encoder.feature_dimensions
        dimensions = self.teacher.encoder.feature_dimensions
        self.head = nn.Sequential(
            nn.Linear(features, 2 * features),
            nn.ReLU(inplace=True),
            nn.Linear(2 * features, dimensions),
        )
        self.register_buffer("queue", torch.zeros(self.options.queue, dimensions))
        self.register_buffer("queued", torch.zeros((), dtype=torch.int64))
        self._waiting: list[Tensor] = []

    def compared(self, features: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """The SEED loss over what the queue holds; the student's head gives the embedding."""
        student = nn.functional.normalize(self.head(features).float(), dim=1)
        held = self.queue[: int(self.queued.clamp(max=len(self.queue)))]
        with torch.autocast(student.device.type, enabled=False):
            loss = seed_loss(student, wanted, held, self.options.temperatures)
        self._waiting = [*self._waiting[-1:], gathered(wanted)]  # of the last two views
        return loss, student

    @torch.no_grad()
    def after_update(self, images: Tensor, progress: float) -> None:  # noqa: ARG002
        """Put the batch's teacher embeddings into the ring, over the oldest.

        Not before: the backward pass still needs the queue that the loss was taken over.
        """
        kept = torch.cat(self._waiting)[-len(self.queue) :]
        places = (self.queued + torch.arange(len(kept), device=kept.device)) % len(self.queue)
        self.queue.index_copy_(0, places, kept)
        self.queued += len(kept)
