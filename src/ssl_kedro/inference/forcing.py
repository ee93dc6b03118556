"""How often forced gates change a mask: on images that compaction has not seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ssl_kedro.core.progress import progress_bar
from ssl_kedro.encoders.base import Encoder
from ssl_kedro.inference.plan import LayerPlan, NetworkPlan
from ssl_kedro.inference.planned import PlannedNetwork


@dataclass(frozen=True)
class ForcedBlock:
    """Forced gates of one block.

    Args:
        block: name, e.g. "layer1.0".
        off: channels whose gates are forced shut.
        opened: (off,) on how many images the encoder's gate of each is open.
        on: channels whose gates are forced open.
        closed: (on,) on how many images the encoder's gate of each is shut.
    """

    block: str
    off: tuple[int, ...]
    opened: np.ndarray
    on: tuple[int, ...]
    closed: np.ndarray


@dataclass(frozen=True)
class ForcingReport:
    """What forcing gates does on a set of images.

    Args:
        images: how many.
        changed_images: on how many at least one mask of the encoder is changed by force.
        changed_gates: mean number of gates that are forced another way, an image.
        followed_gates: mean number of dependent gates, an image, that decide another way because
            of what was forced in blocks before.
        feature_change: mean over images of |compact - gated| / |gated|, Euclidean norms.
        largest_change: the largest of these.
        blocks: in order.
    """

    images: int
    changed_images: int
    changed_gates: float
    followed_gates: float
    feature_change: float
    largest_change: float
    blocks: tuple[ForcedBlock, ...]

    def rows(self) -> list[dict[str, str | int | float]]:
        """One row a block for a table: gates forced, and in how many decisions wrongly."""
        return [
            {
                "block": block.block,
                "forced_off": len(block.off),
                "opened": int(block.opened.sum()),
                "opened_share": float(block.opened.sum() / max(1, len(block.off) * self.images)),
                "forced_on": len(block.on),
                "closed": int(block.closed.sum()),
                "closed_share": float(block.closed.sum() / max(1, len(block.on) * self.images)),
            }
            for block in self.blocks
        ]


class _Tally(NamedTuple):
    """What force does to a batch of N images.

    Args:
        gates: (C_l,) a block: images on which it overrules each gate.
        changed: (N,) gates that it overrules.
        followed: (1,) dependent gates that decide otherwise because of it.
        change: (N,) |compact - gated| / |gated|.
    """

    gates: list[Tensor]
    changed: Tensor
    followed: Tensor
    change: Tensor


@torch.inference_mode()
def forcing_report(
    encoder: Encoder,
    network: PlannedNetwork,
    images: np.ndarray,
    *,
    batch_size: int = 128,
    device: torch.device | str = "cpu",
) -> ForcingReport:
    """Compare the compact network with its encoder, image by image.

    Args:
        encoder: that the network was made of; put in evaluation mode.
        network: from :func:`~ssl_kedro.inference.compact.compact`.
        images: uint8 (N, 3, H, W), held out: not those of the usage.
        batch_size: images at a time.
        device: where to compute; both networks are on the CPU again afterwards.

    Raises:
        ValueError: no images, or a network of another encoder.
    """
    found = [(block.name, block.channels) for block in network.plan.layers]
    expected = [(block.name, block.channels) for block in encoder.cost().blocks]
    if not len(images) or found != expected:
        raise ValueError(
            f"expected images, and a network with the blocks {expected}; found {len(images)} "
            f"images and the blocks {found}"
        )
    encoder.to(device).eval()
    network.to(device)
    tallies = []
    with progress_bar(len(images), "forced gates", "images") as bar:
        for start in range(0, len(images), batch_size):
            batch = torch.from_numpy(np.array(images[start : start + batch_size])).to(device)
            tallies.append(_tally(encoder, network, batch))
            bar.update(len(batch))
    encoder.to("cpu")
    network.to("cpu")
    return _summed(network.plan, tallies)


def _tally(encoder: Encoder, network: PlannedNetwork, batch: Tensor) -> _Tally:
    plan, own = network.plan, encoder(batch, "gated")
    features, decided = network.decide(batch)
    dependent = plan.dependent_masks(own.masks)
    forced = plan.encoder_masks(dependent)
    # What nothing reads is overruled without any effect.
    read = [layer.name not in plan.unread for layer in plan.layers]
    triples = zip(own.masks, forced, read, strict=True)
    differ = [(mask != other) & matters for mask, other, matters in triples]
    norms = torch.linalg.vector_norm(own.features, dim=1).clamp_min(1e-12)
    return _Tally(
        gates=[part.sum(dim=0) for part in differ],
        changed=torch.stack([part.sum(dim=1) for part in differ]).sum(dim=0),
        followed=(dependent != decided).sum()[None],
        change=torch.linalg.vector_norm(features - own.features, dim=1) / norms,
    )


def _summed(plan: NetworkPlan, tallies: Sequence[_Tally]) -> ForcingReport:
    gates, *rest = zip(*tallies, strict=True)
    changed, followed, change = map(torch.cat, rest)
    counts = [torch.stack(of_block).sum(dim=0) for of_block in zip(*gates, strict=True)]
    return ForcingReport(
        images=len(changed),
        changed_images=int((changed > 0).sum()),
        changed_gates=float(changed.double().mean()),
        followed_gates=int(followed.sum()) / len(changed),
        feature_change=float(change.double().mean()),
        largest_change=float(change.max()),
        blocks=tuple(
            _forced_block(block, count.cpu().numpy())
            for block, count in zip(plan.layers, counts, strict=True)
        ),
    )


def _forced_block(block: LayerPlan, counts: np.ndarray) -> ForcedBlock:
    off = tuple(sorted(set(range(block.channels)) - set(block.kept)))
    on = block.kept[: block.always_on]
    return ForcedBlock(block.name, off, counts[list(off)], on, counts[list(on)])
