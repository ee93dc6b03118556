"""Features of a frozen encoder and, for the gated branch, what its gates did."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from ssl_kedro.core.progress import progress_bar
from ssl_kedro.core.rows import rows_of
from ssl_kedro.encoders.base import Branch, Encoder


@dataclass(frozen=True)
class GateRecord:
    """What the gates of one branch did over a set of images.

    Args:
        block_names: the masks in order, as the encoder's cost names them.
        open_counts: of each, (C_l,) int64: on how many images each channel was open.
        macs: (N,) float64, multiply-accumulates of each image, gates included.
    """

    block_names: tuple[str, ...]
    open_counts: tuple[np.ndarray, ...]
    macs: np.ndarray


@dataclass(frozen=True)
class BranchFeatures:
    """Features (N, D) float32 of one branch; gates is None for the dense branch."""

    features: np.ndarray
    gates: GateRecord | None


@torch.inference_mode()
def extract_features(
    encoder: Encoder,
    images: np.ndarray,
    branch: Branch,
    *,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
    label: str = "features",
) -> BranchFeatures:
    """One pass over the images in evaluation mode.

    Args:
        encoder: moved to the device and put in evaluation mode.
        images: uint8 (N, 3, H, W), array or memory map, read a batch at a time.
        branch: "dense" or "gated".
        batch_size: images a batch.
        device: where to compute.
        label: name on the progress bar.
    """
    encoder = encoder.to(device=device).to(memory_format=torch.channels_last).eval()
    cost = encoder.cost(images.shape[-1])
    features = np.empty((len(images), encoder.feature_dimensions), dtype=np.float32)
    macs = np.empty(len(images), dtype=np.float64)
    counts = [torch.zeros(block.channels, device=device) for block in cost.blocks]
    gated = branch == "gated"
    with progress_bar(len(images), label, "images") as bar:
        for start in range(0, len(images), batch_size):
            part = slice(start, start + batch_size)
            rows = np.arange(start, min(part.stop, len(images)))
            batch = torch.from_numpy(rows_of(images, rows)).to(device)
            encoding = encoder(batch, branch)
            features[part] = encoding.features.cpu().numpy()
            if gated:
                macs[part] = cost.masked(encoding.masks).cpu().numpy()
                for count, mask in zip(counts, encoding.masks, strict=True):
                    count.add_(mask.sum(dim=0))
            bar.update(len(batch))
    encoder.to("cpu")
    if not gated:
        return BranchFeatures(features, None)
    names = tuple(block.name for block in cost.blocks)
    opened = tuple(count.cpu().numpy().astype(np.int64) for count in counts)
    return BranchFeatures(features, GateRecord(names, opened, macs))


def branch_arrays(
    encoder: Encoder, images: Mapping[str, np.ndarray], *, device: torch.device | str = "cpu"
) -> dict[str, np.ndarray]:
    """Features of several parts of the images through every branch, and what the gates did.

    Args:
        encoder: put in evaluation mode.
        images: uint8 (N, 3, H, W), by part, such as "train" and "eval".
        device: where to compute.

    Returns:
        ``<branch>.<part>``, float32 (N, D), and what :func:`gate_arrays` names.
    """
    arrays: dict[str, np.ndarray] = {}
    for branch in encoder.branches:
        for part, shown in images.items():
            label = f"{branch} features"
            found = extract_features(encoder, shown, branch, device=device, label=label)
            arrays[f"{branch}.{part}"] = found.features
            if found.gates is not None:
                arrays |= gate_arrays(found.gates, part)
    return arrays


def gate_arrays(record: GateRecord, part: str) -> dict[str, np.ndarray]:
    """A record as named arrays, ``macs.<part>`` and ``open.<part>.<block>``, for keeping.

    Files sort arrays by name; blocks of another order have their places in ``order.<part>``.
    """
    opened = zip(record.block_names, record.open_counts, strict=True)
    order = np.argsort(record.block_names, kind="stable")
    known = {} if np.all(np.diff(order) > 0) else {f"order.{part}": order}
    arrays = {f"open.{part}.{name}": counts for name, counts in opened}
    return {f"macs.{part}": record.macs} | arrays | known


def gate_record(arrays: Mapping[str, np.ndarray], part: str) -> GateRecord:
    """The record that :func:`gate_arrays` took apart.

    Raises:
        KeyError: there is none of this part.
    """
    prefix = f"open.{part}."
    names = sorted(name for name in arrays if name.startswith(prefix))
    places = arrays.get(f"order.{part}", np.arange(len(names)))
    names = [names[place] for place in np.argsort(places)]
    return GateRecord(
        tuple(name.removeprefix(prefix) for name in names),
        tuple(arrays[name] for name in names),
        arrays[f"macs.{part}"],
    )


@dataclass(frozen=True)
class BlockUsage:
    """Usage of the channels that one mask switches over a set of images (thesis Fig. 5.1).

    Always off is an observation on these images, not a property of the network.

    Args:
        block: name, e.g. "layer1.0" or "layer1.0.conv2".
        channels: length of the mask.
        always_on: open on every image.
        always_off: open on none.
        dependent: the rest.
        mean_open: mean share of open channels, in [0, 1].
    """

    block: str
    channels: int
    always_on: int
    always_off: int
    dependent: int
    mean_open: float


def channel_usage(record: GateRecord) -> list[BlockUsage]:
    """Usage of every mask, in order."""
    images = len(record.macs)
    usage = []
    for name, counts in zip(record.block_names, record.open_counts, strict=True):
        always_on = int((counts == images).sum())
        always_off = int((counts == 0).sum())
        dependent = len(counts) - always_on - always_off
        mean_open = float(counts.mean() / images)
        usage.append(BlockUsage(name, len(counts), always_on, always_off, dependent, mean_open))
    return usage


def mean_open_channels(record: GateRecord) -> tuple[int, ...]:
    """How many channels each mask opens on average, rounded, at least one.

    A dense network with these inner channels costs what the gated one does on these images, less
    its gates, where cost is linear in open channels. In bottlenecks it is off by as much as a
    block's two masks vary together.
    """
    images = len(record.macs)
    return tuple(max(1, round(float(counts.sum()) / images)) for counts in record.open_counts)
