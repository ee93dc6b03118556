"""Vectors of many images on disk, written as they come: memory does not grow with the number.

One file of vectors serves every whitening, dimension and re-ranking; it is made again only
when something that it was made from has changed.
"""

import copy
import dataclasses
import hashlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor

from ssl_kedro.core.config import Config, Range
from ssl_kedro.core.devices import resolved_device
from ssl_kedro.core.files import DamagedFileError, MappedStore, reading
from ssl_kedro.core.progress import progress_bar
from ssl_kedro.encoders.maps import MapNetwork, adapt_batch_norm
from ssl_kedro.images.decode import Resize
from ssl_kedro.images.files import check_skipped
from ssl_kedro.images.photographs import Batch, Photographs, batches
from ssl_kedro.retrieval.descriptors import PoolingConfig, pooled

_VECTORS, _STARTS = "vectors.npy", "starts.npy"
_SKIPPING = "extract.max_skipped"


@dataclass(frozen=True)
class ExtractConfig(Config):
    """How images go through a network.

    Args:
        device: "auto" = CUDA where there is one.
        precision: of the network; vectors are stored in float32.
        batch_size: images of one shape at a time.
        workers: threads that decode; None = one for each core.
        max_skipped: share of images that may be unreadable.
    """

    device: str = "auto"
    precision: Literal["fp32", "bf16"] = "fp32"
    batch_size: Annotated[int, Range(at_least=1, at_most=4096)] = 8
    workers: Annotated[int, Range(at_least=1, at_most=1024)] | None = None
    max_skipped: Annotated[float, Range(at_least=0, at_most=1)] = 0.01


@dataclass(frozen=True)
class Extracted:
    """How the vectors of a collection were made.

    Args:
        identity: what they were made from; equal identities mean equal vectors.
        skipped: name and reason of images that could not be decoded.
        seconds: that it took.
        images: N.
        vectors: M, of all of them.
        channels: length of a vector.
    """

    identity: dict[str, Any]
    skipped: list[tuple[str, str]]
    seconds: float
    images: int
    vectors: int
    channels: int


class VectorStore(MappedStore):
    """A folder that holds the vectors of a collection of images.

    Args:
        folder: where; need not exist yet.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, array=_VECTORS)

    def description(self) -> Extracted | None:
        """What the vectors were made from, None where there are none, or not all."""
        found = self.described()
        if found is None:
            return None
        try:
            with reading(self.folder, "vectors and their description", "They are made again"):
                skipped = [(name, reason) for name, reason in found["skipped"]]
                made = Extracted(**{**found, "skipped": skipped})
                counts = len(self.vectors()), len(self.starts())
                complete = counts == (made.vectors, made.images + 1)
        except (DamagedFileError, FileNotFoundError):
            return None
        return made if complete else None

    def holds(self, identity: Mapping[str, Any]) -> bool:
        """Whether all vectors are there that would be made from this."""
        found = self.description()
        return found is not None and found.identity == dict(identity)

    def vectors(self) -> np.ndarray:
        """(M, C) float32, a read-only memory map."""
        return self.array()

    def starts(self) -> np.ndarray:
        """First vector of each image, and M, (N + 1,) int64."""
        return np.asarray(np.load(self.folder / _STARTS, allow_pickle=False))


def network_fingerprint(network: MapNetwork) -> str:
    """Changes with the network's weights and shape."""
    found = hashlib.sha256(type(network).__name__.encode())
    for name, value in network.state_dict().items():
        found.update(name.encode())
        found.update(value.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


def adapted(
    network: MapNetwork, photographs: Photographs, resize: Resize, config: ExtractConfig
) -> MapNetwork:
    """A copy whose batch norms hold the statistics of these images (thesis 3.4.1)."""
    device = resolved_device(config.device)
    copied = copy.deepcopy(network).to(device)
    with progress_bar(len(photographs), "batch norm adaptation", "images") as bar:

        def images() -> Iterator[Tensor]:
            for found in batches(photographs, resize, config.batch_size, config.workers):
                if isinstance(found, Batch):
                    bar.update(len(found.images))
                    yield torch.from_numpy(found.images).to(device)

        adapt_batch_norm(copied, images())
    return copied


def extract_vectors(
    photographs: Photographs,
    network: MapNetwork,
    resize: Resize,
    pooling: PoolingConfig,
    config: ExtractConfig,
    store: VectorStore,
    identity: Mapping[str, Any],
    label: str,
) -> Extracted:
    """Pooled vectors of all images into a store, unless it holds them already.

    Decoding runs ahead in threads while the network works.

    Args:
        photographs: N images.
        network: images in, maps out; already adapted where that is wanted.
        resize: size of the images it sees.
        pooling: of the maps.
        config: device, precision, batch size.
        store: where the vectors go.
        identity: what the vectors are made from; equal identities mean equal vectors.
        label: for the progress bar and messages.

    Raises:
        ConfigError: more unreadable images than ``max_skipped``, or no readable one.
    """
    known = store.description()
    if known is not None and known.identity == dict(identity):
        return known
    device = resolved_device(config.device)
    network = network.to(device).eval()
    if device.type != "cuda":
        network = network.to(memory_format=torch.channels_last)
    skipped: list[tuple[str, str]] = []
    counts = np.zeros(len(photographs), dtype=np.int64)
    channels = network.map_channels
    began = time.perf_counter()
    with (
        store.written((channels,), "<f4") as (array, description),
        torch.inference_mode(),
        torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16"),
        progress_bar(len(photographs), label, "images") as bar,
    ):
        for found in batches(photographs, resize, config.batch_size, config.workers):
            if not isinstance(found, Batch):
                skipped.append((photographs.names[found.index], found.reason))
                check_skipped(skipped, len(photographs), config.max_skipped, label, _SKIPPING)
                bar.update(1)
                continue
            maps = network(torch.from_numpy(found.images).to(device))
            vectors = pooled(maps, pooling).float().cpu().numpy()
            counts[found.indices] = vectors.shape[1]
            array.add(vectors.reshape(-1, channels))
            bar.update(len(found.indices))
        if len(skipped) == len(photographs):
            check_skipped(skipped, len(photographs), -1.0, label, _SKIPPING)
        starts = np.concatenate([[0], np.cumsum(counts)])
        np.save(array.path.with_name(_STARTS), starts, allow_pickle=False)
        seconds = round(time.perf_counter() - began, 2)
        made = Extracted(dict(identity), skipped, seconds, len(photographs), array.rows, channels)
        description.update(dataclasses.asdict(made))
    return made
