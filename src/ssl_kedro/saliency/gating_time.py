"""What gates save on panoramas: multiply-accumulates that masks leave, and time, measured.

An encoder with masks computes every channel in training and in scoring. Here its batch norms are
folded and the channels taken out that no panorama opens (:func:`ssl_kedro.inference.compact`);
what is left is timed beside the dense branch, folded as well.
"""

import statistics
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ssl_kedro.core.race import race, seconds_of
from ssl_kedro.encoders.base import Branch
from ssl_kedro.encoders.maps import BranchMaps
from ssl_kedro.encoders.panorama_maps import PanoramaMaps
from ssl_kedro.inference.compact import GateUsage, compact, dense_network
from ssl_kedro.inference.network import CompactEncoder

_ROUNDS = 15


@dataclass(frozen=True)
class GatingTime:
    """A gated encoder beside its dense branch, a panorama at a time.

    Args:
        dense_macs: multiply-accumulates of the dense branch.
        gated_ms, dense_ms: median milliseconds.
        channels_left: share of the gated channels that some panorama opens.
        panoramas: that gates were looked at on, and that were timed.
        device: as it calls itself.
        threads: of PyTorch.
    """

    dense_macs: int
    gated_ms: float
    dense_ms: float
    channels_left: float
    panoramas: int
    device: str
    threads: int


def gating_time(encoder: PanoramaMaps, images: np.ndarray, device: torch.device) -> GatingTime:
    """Time both branches in turns, so that other work on the machine meets them alike.

    Args:
        encoder: the gated branch of a ResNet, :attr:`PanoramaMaps.masked`; left as it was.
        images: uint8 (N, 3, H, W), at least one.
        device: where to time them.

    Raises:
        ValueError: the encoder has no masks.
    """
    usage = gate_usage(encoder, images)
    both = {name: net.to(device) for name, net in compact_branches(encoder, usage).items()}
    batches = [
        torch.from_numpy(images[k : k + 1]).to(device).float() / 255 for k in range(len(images))
    ]

    def all_of(network: PanoramaMaps) -> None:
        with torch.inference_mode():
            for batch in batches:
                network(batch)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    for network in both.values():
        all_of(network)
    runners = {name: seconds_of(partial(all_of, network)) for name, network in both.items()}
    taken = race(runners, _ROUNDS)
    ms = {name: 1e3 * statistics.median(of) / len(batches) for name, of in taken.items()}
    opened = np.concatenate(usage.open_counts) > 0
    called = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    return GatingTime(
        dense_macs=encoder.dense_macs(*images.shape[2:]),
        gated_ms=ms["gated"],
        dense_ms=ms["dense"],
        channels_left=float(opened.mean()),
        panoramas=len(images),
        device=called,
        threads=torch.get_num_threads(),
    )


@torch.inference_mode()
def gate_usage(encoder: PanoramaMaps, images: np.ndarray) -> GateUsage:
    """On how many panoramas each channel is open.

    Args:
        encoder: with masks; looked at where it is.
        images: uint8 (N, 3, H, W).
    """
    within = encoder.masked_encoder
    names = tuple(block.name for block in within.cost().blocks)
    device = next(within.parameters()).device

    def opened(image: np.ndarray) -> tuple[Tensor, ...]:
        batch = torch.from_numpy(np.array(image[None])).to(device).float() / 255
        return within.maps(batch, "gated")[1]

    masks = [opened(image) for image in images]
    counts = [
        torch.cat([mask > 0 for mask in of]).sum(0).cpu().numpy() for of in zip(*masks, strict=True)
    ]
    return GateUsage("panoramas", len(images), names, tuple(counts))


def compact_branches(encoder: PanoramaMaps, usage: GateUsage) -> dict[str, PanoramaMaps]:
    """Both branches with norms folded, "gated" without the channels that are never open."""
    within = encoder.masked_encoder
    dense: Branch = "dense" if "dense" in within.branches else "gated"
    networks = {"gated": compact(within, usage), "dense": dense_network(within, dense)}
    made = {}
    for name, network in networks.items():
        of = CompactEncoder(network)
        maps = BranchMaps(of, of.branches[0]).eval()
        made[name] = PanoramaMaps(maps, encoder.longitude_padding).eval()
    return made
