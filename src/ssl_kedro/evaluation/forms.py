"""Whether another form of a network, such as int8, is as good: judged on images held out.

A form is judged against the network as it was trained, by a linear probe and by nearest
neighbours, on labelled images that neither calibrated it nor stand in the bank and the probe's
training. Without labels what is compared is which bank image is nearest.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from ssl_kedro.evaluation.knn import neighbours_of, right_in_random_halves
from ssl_kedro.evaluation.linear_probe import ProbeConfig, linear_probe_right
from ssl_kedro.evaluation.paired import LEAST_AGREEMENT, Loss, Verdict, paired_loss, verdict

# Neighbours looked at: behind them stands the nearest of a random half once in 65,536 times.
_NEIGHBOURS = 16


@dataclass(frozen=True)
class Answers:
    """What features of the held-out images give.

    Args:
        neighbours: index of the nearest bank image of each, (Q,).
        right: of each image a share in [0, 1], (Q,): by "linear", of the probe's runs, and by
            "knn", of random halves of the bank; empty without labels.
    """

    neighbours: np.ndarray
    right: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Judgement:
    """How a form compares.

    Args:
        verdict: "holds" where every loss is within the limit by its whole interval, "loses" where
            one is above it by its whole interval, else "undecided".
        losses: by "linear" and "knn"; empty without labels.
        agreement: share of the held-out images that keep their nearest neighbour.
        images: held out.
    """

    verdict: Verdict
    losses: dict[str, Loss]
    agreement: float
    images: int


@dataclass(frozen=True)
class HeldOut:
    """Training images, some of which are held out to judge forms of networks by.

    Args:
        held: which are, boolean (N,).
        labels: of all, int (N,); None where there are none.
        probe: of the linear evaluation; None = there is none.
        normalise: whether neighbours are those of L2-normalised features.
        seed: of the probe.
        device: where to compute.
    """

    held: np.ndarray
    labels: np.ndarray | None
    probe: ProbeConfig | None
    normalise: bool
    seed: int
    device: torch.device | str = "cpu"

    def answers(self, features: np.ndarray) -> Answers:
        """What features of all N images, (N, D), give for those that are held out."""
        bank, asked = features[~self.held], features[self.held]
        k = min(_NEIGHBOURS, len(bank))
        found = neighbours_of(bank, asked, k, normalise=self.normalise, device=self.device)
        right = {}
        if self.labels is not None:
            known, truth = self.labels[~self.held], self.labels[self.held]
            if self.probe is not None:
                of_probe = linear_probe_right(
                    *(bank, known, asked, truth),
                    self.probe,
                    seed=self.seed,
                    device=self.device,
                    label="linear, held out",
                )
                right["linear"] = of_probe.mean(axis=0)
            right["knn"] = right_in_random_halves(known[found], truth)
        return Answers(found[:, 0], right)

    def judged(self, reference: Answers, other: Answers, limit: float) -> Judgement:
        """A form against the network as it was trained.

        Args:
            reference: of that network.
            other: of the form.
            limit: largest loss in percentage points.
        """
        agreement = float((reference.neighbours == other.neighbours).mean())
        losses = {
            name: paired_loss(right, other.right[name]) for name, right in reference.right.items()
        }
        if losses:
            found = verdict(losses.values(), limit)
        else:
            found = "holds" if agreement >= LEAST_AGREEMENT else "loses"
        return Judgement(found, losses, agreement, int(self.held.sum()))
