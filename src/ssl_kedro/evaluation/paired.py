"""What a cheaper form of a network loses: the same images, the same labels, with an interval.

Accuracies of two forms of one network on a few thousand images differ by chance as much as by
what was lost. Compared image by image most of that chance is gone; the rest has an interval.
"""

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

Verdict = Literal["holds", "loses", "undecided"]
# A form without labels holds if so many images keep their nearest neighbour.
LEAST_AGREEMENT = 0.98


@dataclass(frozen=True)
class Loss:
    """What is lost against a reference on the same images, in percentage points.

    Args:
        points: mean over images of reference less other; below 0 where something is gained.
        low: lower end of the interval of that mean.
        high: upper end.
        images: compared.
    """

    points: float
    low: float
    high: float
    images: int


def paired_loss(reference: np.ndarray, other: np.ndarray, *, confidence: float = 0.95) -> Loss:
    """Mean loss image by image with Agresti and Min's interval (2005) for matched pairs.

    That is the interval of a mean of normally distributed errors after half an image is added to
    each way in which a pair can turn out: both right, both wrong, either alone. Without it an
    interval over images of which none has changed would be a point, however few they are.

    Args:
        reference: share of the reference's classifiers that name each image's class, (N,) in
            [0, 1]; 0 or 1 where there is one classifier.
        other: the same of the other form, image by image.
        confidence: of the interval, in (0, 1).

    Raises:
        ValueError: other shapes, no images, values outside [0, 1], confidence outside (0, 1).
    """
    both = np.asarray(reference, dtype=np.float64), np.asarray(other, dtype=np.float64)
    shapes = [values.shape for values in both]
    if shapes[0] != shapes[1] or len(shapes[0]) != 1 or not shapes[0][0]:
        raise ValueError(f"expected two shares for each of some images, found shapes {shapes}")
    if not all(((values >= 0) & (values <= 1)).all() for values in both):
        raise ValueError("expected shares of right answers in [0, 1]")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence = {confidence}: expected a share between 0 and 1")
    lost = both[0] - both[1]
    # Two images more: half an image is lost, half a one won, and one is as before.
    count = len(lost) + 2
    centre = lost.sum() / count
    variance = (np.square(lost).sum() + 1) / count - centre**2
    reach = statistics.NormalDist().inv_cdf((1 + confidence) / 2) * (variance / count) ** 0.5
    low, high = 100 * (centre - reach), 100 * (centre + reach)
    return Loss(100 * float(lost.mean()), float(low), float(high), len(lost))


def half_interval(std: float, count: int, confidence: float = 0.95) -> float:
    """How far Student's interval reaches from the mean of some values to either side.

    Args:
        std: sample deviation of the values (n - 1).
        count: how many, at least two.
        confidence: of the interval, in (0, 1).
    """
    from scipy.stats import t as student  # noqa: PLC0415  the library alone does without

    reach = float(student.ppf((1 + confidence) / 2, count - 1))
    return reach * std / math.sqrt(count)


def verdict(losses: Iterable[Loss], limit: float) -> Verdict:
    """Whether all losses are within a limit, one is above it, or the images do not tell.

    Args:
        losses: of one form, by each measure that counts; at least one.
        limit: in percentage points.

    Raises:
        ValueError: there are no losses.
    """
    found = list(losses)
    if not found:
        raise ValueError("expected at least one loss to judge by, found none")
    if any(loss.low > limit for loss in found):
        return "loses"
    return "holds" if all(loss.high <= limit for loss in found) else "undecided"


def held_out_images(
    count: int, share: float, most: int, generator: np.random.Generator
) -> np.ndarray:
    """Which of some images are held out: (count,) boolean, the share of them but at most ``most``.

    At least one is held out and one is not.

    Raises:
        ValueError: fewer than two images.
    """
    if count < 2:
        raise ValueError(f"expected at least 2 images to hold some of them out, found {count}")
    wanted = min(count - 1, most, max(1, round(share * count)))
    held = np.zeros(count, dtype=bool)
    held[generator.permutation(count)[:wanted]] = True
    return held
