"""Vectors of many images on disk, written as they come: memory does not grow with the number.

One file of vectors serves every whitening, dimension and re-ranking; it is made again only
when something that it was made from has changed.
"""

import copy
import dataclasses
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from ssl_kedro.core.cluster import check_spread, cores_of_each, spread
from ssl_kedro.core.config import Config, Range
from ssl_kedro.core.devices import limited_threads, resolved_device, threads_of_each
from ssl_kedro.core.files import DamagedFileError, reading
from ssl_kedro.core.progress import progress_bar
from ssl_kedro.core.stores import MappedStore
from ssl_kedro.encoders.maps import MapNetwork, adapt_batch_norm, network_fingerprint
from ssl_kedro.images.decode import Resize
from ssl_kedro.images.files import check_skipped
from ssl_kedro.images.photographs import Batch, Photographs, batches
from ssl_kedro.retrieval.blocks import Block, Blocks, How, NetworkFiles, make_block
from ssl_kedro.retrieval.descriptors import PoolingConfig

_VECTORS, _STARTS = "vectors.npy", "starts.npy"
SKIPPING = "extract.max_skipped"


@dataclass(frozen=True)
class ExtractConfig(Config):
    """How images go through a network.

    Args:
        device: "auto" = CUDA where there is one.
        precision: of the network; vectors are stored in float32.
        batch_size: images of one shape at a time.
        workers: threads of each process that decode; None = the cores, shared among processes.
        max_skipped: share of images that may be unreadable.
        processes: of this machine that extract and search; 1 = this one alone.
        cluster: address of a Dask scheduler whose workers do so, "tcp://host:8786"; None = none.
            Images and results then lie on a disk that all of them see at one path.
        threads: of each process that compute, each a batch: memory grows with them; None = this
            process' threads, shared among processes, and on a cluster what each worker has.
            Vectors are equal to the last bit for any number of them and of processes, on
            processors of one kind.
        block: images that a process takes at a time and that are lost when it is killed.
    """

    device: str = "auto"
    precision: Literal["fp32", "bf16"] = "fp32"
    batch_size: Annotated[int, Range(at_least=1, at_most=4096)] = 8
    workers: Annotated[int, Range(at_least=1, at_most=1024)] | None = None
    max_skipped: Annotated[float, Range(at_least=0, at_most=1)] = 0.01
    processes: Annotated[int, Range(at_least=1, at_most=1024)] = 1
    cluster: str | None = None
    threads: Annotated[int, Range(at_least=1, at_most=1024)] | None = None
    block: Annotated[int, Range(at_least=1, at_most=65_536)] = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        check_spread(self.processes, self.cluster)

    def how(self, resize: Resize, pooling: PoolingConfig) -> How:
        """What a process has to know of this."""
        threads, decoders = self.threads, self.workers
        if self.cluster is None:
            threads = threads or threads_of_each(self.processes)
            decoders = decoders or cores_of_each(self.processes)
        return How(resize, pooling, self.device, self.precision, self.batch_size, decoders, threads)


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

    def locked(self) -> FileLock:
        """Held while vectors are made, and by who reads what it has made; reentrant."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(self.folder.with_name(f".{self.folder.name}.lock"), is_singleton=True)

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


def adapted(
    network: MapNetwork, photographs: Photographs, resize: Resize, config: ExtractConfig
) -> MapNetwork:
    """A copy whose batch norms hold the statistics of these images (thesis 3.4.1).

    One pass of this process alone: the statistics are summed in the order of the images. Their last
    bits follow from the number of threads.
    """
    device = resolved_device(config.device)
    copied = copy.deepcopy(network).to(device)
    with (
        limited_threads(config.threads or torch.get_num_threads()),
        progress_bar(len(photographs), "batch norm adaptation", "images") as bar,
    ):

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
    parameter: str = SKIPPING,
) -> Extracted:
    """Pooled vectors of all images into a store, unless it holds them already.

    Images are divided into blocks, the same for any number of processes. Those that a run which
    ended early has finished lie beside the store and are kept.

    Args:
        photographs: N images.
        network: images in, maps out; already adapted where that is wanted.
        resize: size of the images it sees.
        pooling: of the maps.
        config: device, precision, batch size, processes.
        store: where the vectors go.
        identity: what the vectors are made from; equal identities mean equal vectors.
        label: for the progress bar and messages.
        parameter: that sets ``max_skipped``, for messages.

    Raises:
        ConfigError: more unreadable images than ``max_skipped``, or no readable one.
        ClusterError, InputError: other processes that cannot do their part.
    """
    with store.locked():
        known = store.description()
        if known is not None and known.identity == dict(identity):
            return known
        began, count = time.perf_counter(), len(photographs)
        folder = store.folder.with_name(f".{store.folder.name}.blocks")
        cut = {"device": str(resolved_device(config.device)), "batch_size": config.batch_size}
        # Adapted norms have last bits that the identity knows nothing of.
        cut |= {"block": config.block, "weights": network_fingerprint(network)}
        blocks = Blocks(folder, {**identity, **cut}, count, config.block)
        blocks.begin()
        how = config.how(resize, pooling)
        skipped = _all_blocks(blocks, photographs, network, how, config, label, parameter)
        counts = np.zeros(count, dtype=np.int64)
        with store.written((network.map_channels,), "<f4") as (array, description):
            for (first, stop), made in zip(blocks.bounds, blocks.all_made(), strict=True):
                array.add(made.vectors)
                counts[first:stop] = made.counts
            starts = np.concatenate([[0], np.cumsum(counts)])
            np.save(array.path.with_name(_STARTS), starts, allow_pickle=False)
            seconds = round(time.perf_counter() - began, 2)
            shape = (count, array.rows, network.map_channels)
            found = Extracted(dict(identity), skipped, seconds, *shape)
            description.update(dataclasses.asdict(found))
        shutil.rmtree(folder)
        return found


def _all_blocks(
    blocks: Blocks,
    photographs: Photographs,
    network: MapNetwork,
    how: How,
    config: ExtractConfig,
    label: str,
    parameter: str,
) -> list[tuple[str, str]]:
    """Make those that are missing; names and reasons of the images without vectors, in order."""
    missing, count = blocks.missing(), len(photographs)
    skipped = {f: blocks.made(f).skipped for f, s in blocks.bounds if (f, s) not in missing}

    def check(allowed: float) -> list[tuple[str, str]]:
        found = [one for _, of_block in sorted(skipped.items()) for one in of_block]
        check_skipped(found, count, allowed, label, parameter)
        return found

    # One block alone does not need others.
    alone = config.cluster is None and len(missing) < 2
    with (
        spread(1 if alone else config.processes, config.cluster) as workers,
        progress_bar(count, label, "images") as bar,
    ):
        bar.update(count - sum(stop - first for first, stop in missing))
        make = partial(make_block, advance=bar.update) if workers.here else make_block
        given: MapNetwork | NetworkFiles = network
        if not workers.here:
            given = NetworkFiles.written(network, blocks.network, network_fingerprint(network))
        pieces = (
            Block(blocks.path(f).absolute(), photographs.part(f, s), given, how) for f, s in missing
        )
        for number, _ in workers.results(make, pieces):
            first, stop = missing[number]
            skipped[first] = blocks.made(first).skipped
            check(config.max_skipped)
            if not workers.here:
                bar.update(stop - first)
    found = check(config.max_skipped)
    return found if len(found) < count else check(-1.0)
