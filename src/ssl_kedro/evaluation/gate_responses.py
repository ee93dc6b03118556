"""What gates respond to: which images are cheap or dear, and channels that follow a class."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ssl_kedro.core.extras import require
from ssl_kedro.core.progress import progress_bar
from ssl_kedro.encoders.base import Encoder


@dataclass(frozen=True)
class ClassChannel:
    """A channel that opens for one class and stays closed for another.

    Args:
        block: of the encoder.
        channel: its place in the block.
        most: class for which it opens most often.
        most_rate: share of the images of that class.
        least: class for which it opens least often.
        least_rate: the same of that.
        opened: places of some images that it opens for.
        closed: of some that it stays closed for.
    """

    block: str
    channel: int
    most: str
    most_rate: float
    least: str
    least_rate: float
    opened: tuple[int, ...]
    closed: tuple[int, ...]


@dataclass(frozen=True)
class GateResponses:
    """How the cost of an image varies, and with what. Costs are shares of the dense MACs.

    Args:
        model: key of the encoder.
        images: that were looked at.
        lowest: cost of the cheapest.
        mean: of all.
        highest: of the dearest.
        cheapest: places of the cheapest, the cheapest first.
        cheapest_costs: theirs.
        dearest: places of the dearest, the dearest first.
        dearest_costs: theirs.
        class_share: share of the variance of costs that lies between classes; None without labels,
            or where all images cost the same.
        difficulty: rank correlation of cost and difficulty, from -1 to 1; None as above.
        channels: that follow a class most.
    """

    model: str
    images: int
    lowest: float
    mean: float
    highest: float
    cheapest: tuple[int, ...]
    cheapest_costs: tuple[float, ...]
    dearest: tuple[int, ...]
    dearest_costs: tuple[float, ...]
    class_share: float | None = None
    difficulty: float | None = None
    channels: tuple[ClassChannel, ...] = ()

    def at(self, kept: np.ndarray) -> "GateResponses":
        """The same where the images were some of others, whose places ``kept`` (N,) has."""

        def among_all(places: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(kept[list(places)].tolist())

        channels = tuple(
            replace(one, opened=among_all(one.opened), closed=among_all(one.closed))
            for one in self.channels
        )
        ends = {name: among_all(getattr(self, name)) for name in ("cheapest", "dearest")}
        return replace(self, channels=channels, **ends)  # type: ignore[arg-type]


@torch.inference_mode()
def gate_responses(
    encoder: Encoder,
    images: np.ndarray,
    labels: np.ndarray | None = None,
    class_names: Sequence[str] = (),
    difficulties: np.ndarray | None = None,
    *,
    model: str = "",
    shown: int = 8,
    channels: int = 3,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
) -> GateResponses:
    """What an encoder's gates do on some images.

    Args:
        encoder: with a gated branch; left on the CPU, in evaluation mode.
        images: uint8 (N, 3, H, W).
        labels: int (N,), of ``class_names``.
        class_names: in the order of the labels.
        difficulties: (N,), from :func:`difficulty`.
        model: key of the encoder.
        shown: images of a kind whose places are kept.
        channels: that follow a class, of different blocks.
        batch_size: images a batch.
        device: where to compute.

    Raises:
        ValueError: the encoder has no gated branch.
    """
    encoder.check_branch("gated")
    encoder = encoder.to(device=device).eval()
    cost, opened, macs = encoder.cost(images.shape[-1]), [], []
    with progress_bar(len(images), "gates", "images") as bar:
        for start in range(0, len(images), batch_size):
            batch = torch.from_numpy(np.array(images[start : start + batch_size])).to(device)
            masks = encoder(batch, "gated").masks
            macs.append(cost.masked(masks).cpu().numpy())
            opened.append([mask.bool().cpu().numpy() for mask in masks])
            bar.update(len(batch))
    encoder.to("cpu")
    shares = np.concatenate(macs) / cost.dense
    order = np.argsort(shares, kind="stable")
    ends = order[:shown], order[::-1][:shown]
    names = [block.name for block in cost.blocks]
    blocks = [np.concatenate(parts) for parts in zip(*opened, strict=True)]
    classes = labels is not None and len(np.unique(labels)) > 1
    varied = shares.std() > 1e-9 * shares.mean()
    found = _class_channels(zip(names, blocks, strict=True), labels, class_names, channels, shown)
    return GateResponses(
        model=model,
        images=len(images),
        lowest=float(shares.min()),
        mean=float(shares.mean()),
        highest=float(shares.max()),
        cheapest=tuple(ends[0].tolist()),
        cheapest_costs=tuple(shares[ends[0]].tolist()),
        dearest=tuple(ends[1].tolist()),
        dearest_costs=tuple(shares[ends[1]].tolist()),
        class_share=between_classes(shares, labels) if classes and varied else None,
        difficulty=(
            None if difficulties is None or not varied else rank_correlation(shares, difficulties)
        ),
        channels=found,
    )


def between_classes(values: np.ndarray, labels: np.ndarray | None) -> float:
    """Share of the variance of values (N,) that lies between classes, eta squared, in [0, 1]."""
    known = np.asarray(labels)
    centre, total = values.mean(), float(((values - values.mean()) ** 2).sum())
    parts = (values[known == name] for name in np.unique(known))
    return float(sum(len(part) * (part.mean() - centre) ** 2 for part in parts) / total)


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float | None:
    """Spearman's rho of two series (N,); equal values share a rank. None where one is constant."""
    require("a rank correlation", "scipy")
    from scipy.stats import rankdata  # noqa: PLC0415  optional

    a, b = (rankdata(one) - (len(one) + 1) / 2 for one in (first, second))
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return None if scale == 0 else float(a @ b) / scale


def difficulty(
    known: np.ndarray, known_labels: np.ndarray, asked: np.ndarray, asked_labels: np.ndarray
) -> np.ndarray:
    """How hard images are to name: distance to the nearest of their own class less another's.

    Above 0 the nearest neighbour has another class.

    Args:
        known: features (N, D).
        known_labels: (N,).
        asked: features (Q, D) of other images.
        asked_labels: (Q,); the distance to a class that is not known is infinite.

    Returns:
        (Q,).
    """
    found = np.empty(len(asked), dtype=np.float64)
    bank, labels = torch.from_numpy(known), torch.from_numpy(known_labels)
    for start in range(0, len(asked), 512):
        part = slice(start, start + 512)
        distances = torch.cdist(torch.from_numpy(asked[part]), bank)
        own = labels[None] == torch.from_numpy(asked_labels[part])[:, None]
        nearest = (distances.masked_fill(of, torch.inf).amin(dim=1) for of in (~own, own))
        same, other = nearest
        found[part] = (same - other).numpy()
    return found


def _class_channels(
    blocks: Iterable[tuple[str, np.ndarray]],
    labels: np.ndarray | None,
    class_names: Sequence[str],
    count: int,
    shown: int,
) -> tuple[ClassChannel, ...]:
    """Of each block the channel whose opening differs most between classes, the largest first."""
    if labels is None or len(np.unique(labels)) < 2:
        return ()
    present, found = np.unique(labels), []
    for name, opened in blocks:
        rates = np.stack([opened[labels == label].mean(axis=0) for label in present])
        channel = int(np.argmax(rates.max(axis=0) - rates.min(axis=0)))
        most, least = int(rates[:, channel].argmax()), int(rates[:, channel].argmin())
        difference = rates[most, channel] - rates[least, channel]
        sides = (_some(opened[:, channel] == state, shown) for state in (True, False))
        told = [(class_names[present[one]], float(rates[one, channel])) for one in (most, least)]
        one = ClassChannel(name, channel, *told[0], *told[1], *(tuple(s.tolist()) for s in sides))
        found.append((float(difference), one))
    ordered = sorted(found, key=lambda pair: -pair[0])
    return tuple(one for difference, one in ordered[:count] if difference > 0)


def _some(chosen: np.ndarray, count: int) -> np.ndarray:
    """Places of some, spread evenly: images often stand class by class."""
    places = np.flatnonzero(chosen)
    if len(places) <= count:
        return places
    kept: np.ndarray = places[np.linspace(0, len(places) - 1, count).astype(int)]
    return kept
