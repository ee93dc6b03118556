"""Supervised training: an encoder and a linear layer on its features learn the names of images.

No method of :func:`~ssl_kedro.methods.plan.method_classes`: it needs labels. The training loop runs
it as it runs those.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ssl_kedro.core.progress import Progress
from ssl_kedro.encoders.base import Branch, Encoder
from ssl_kedro.gating.budget import BudgetPenalty
from ssl_kedro.methods.base import TRAINED_PASS, StepResult, Trainable, Views, training_macs


class Classification(Trainable):
    """One branch of an encoder and a linear layer behind it, by softmax cross-entropy.

    Args:
        encoder: trained in place.
        branch: "dense" or "gated".
        labels: int64 (N,) on the CPU, of all training images, in [0, classes).
        classes: K.
        encoder_rate: learning rate of the encoder over that of the linear layer; 0 = its weights
            stay.
        norms_follow: whether batch norms use, and learn, the statistics of these images; else they
            keep those of the earlier training.
        penalty: what gates pay for their cost, which then learn, with noise; None = they decide as
            they will when the encoder is deployed, and keep their weights.

    Raises:
        ValueError: the encoder has no such branch.
    """

    view_count = 1
    _wanted: Tensor

    def __init__(
        self,
        encoder: Encoder,
        branch: Branch,
        labels: Tensor,
        classes: int,
        *,
        encoder_rate: float,
        norms_follow: bool = True,
        penalty: BudgetPenalty | None = None,
    ) -> None:
        super().__init__()
        encoder.check_branch(branch)
        self.encoder = encoder
        self.branch = branch
        self.head = nn.Linear(encoder.feature_dimensions, classes)
        self.encoder_rate = encoder_rate
        self.norms_follow = norms_follow
        self.penalty = penalty
        self._labels = labels
        self.register_buffer("_wanted", torch.zeros(0, dtype=torch.int64), persistent=False)
        if penalty is None:
            for gate in encoder.gates():
                gate.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> "Classification":
        """Training mode of what learns, evaluation mode of what keeps its state."""
        super().train(mode)
        if not self.norms_follow:
            self.encoder.eval()
        for gate in self.encoder.gates():
            gate.train(mode and self.penalty is not None)
        return self

    def before_step(self, progress: float, indices: Tensor) -> None:  # noqa: ARG002
        """Take the labels of the batch, in a tensor that a recorded step reads anew."""
        wanted = self._labels[indices]
        if len(self._wanted) == len(wanted):
            self._wanted.copy_(wanted)
        else:
            self._wanted = wanted.to(self._wanted.device)

    def forward(
        self,
        views: Views,
        progress: Progress,  # noqa: ARG002
        generator: torch.Generator | None = None,
    ) -> StepResult:
        """Cross-entropy of the batch, and what its gates pay; see :class:`Trainable`."""
        encoding = self.encoder(views[0], self.branch, generator)
        logits = self.head(encoding.features)
        with torch.autocast(logits.device.type, enabled=False):
            loss = nn.functional.cross_entropy(logits.float(), self._wanted)
            right = logits.detach().argmax(dim=1) == self._wanted
            scalars = {"accuracy": right.float().mean()}
            if self.penalty is not None:
                # The schedule of its bounds is over: the encoder comes from a whole training.
                paid, found = self.penalty(encoding.masks, encoding.decisions, 1.0)
                loss, scalars = loss + paid, scalars | found
        return StepResult(loss, scalars)

    def rate_factors(self) -> Sequence[tuple[float, list[nn.Parameter]]]:
        """The encoder's own rate; see :class:`Trainable`."""
        trained = [p for p in self.encoder.parameters() if p.requires_grad]
        return [(self.encoder_rate, trained)]

    @property
    def macs_per_image(self) -> int:
        """Of the encoder; the linear layer is not counted."""
        return TRAINED_PASS * training_macs(self.encoder, self.encoder.image_size)
