"""Learning-rate schedules: linear warm-up, then half a cosine or a constant rate."""

from __future__ import annotations

import math


def warmup_constant(*, step: int, warmup_steps: int, start: float, peak: float) -> float:
    """Learning rate of a step: linear from ``start`` as in :func:`warmup_cosine`, then ``peak``."""
    return start + (peak - start) * step / warmup_steps if step < warmup_steps else peak


def warmup_cosine(
    step: int, *, total_steps: int, warmup_steps: int, start: float, peak: float
) -> float:
    """Learning rate of a step.

    Linear from ``start`` at step 0 to ``peak`` at step ``warmup_steps``, then
    peak (1 + cos(pi t)) / 2 with t running from 0 to 1 at ``total_steps``.

    Args:
        step: counted from 0, below total_steps.
        total_steps: of the whole training.
        warmup_steps: 0 = no warm-up.
        start: learning rate of the first warm-up step.
        peak: highest learning rate.
    """
    if step < warmup_steps:
        return warmup_constant(step=step, warmup_steps=warmup_steps, start=start, peak=peak)
    remaining = max(1, total_steps - warmup_steps)
    return 0.5 * peak * (1 + math.cos(math.pi * (step - warmup_steps) / remaining))
