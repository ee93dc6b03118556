"""Vectors of a collection as blocks of images that follow each other, each made by any process.

A block is a file of its own and depends on its images alone: which batches it is computed in does
not follow from who computes it. What is there when a run ends early is not made again.
"""

import functools
import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

from ssl_kedro.core.ahead import computed_ahead
from ssl_kedro.core.devices import limited_threads, resolved_device
from ssl_kedro.core.errors import InputError
from ssl_kedro.core.files import DamagedFileError, reading, replaced_file
from ssl_kedro.encoders.bundle import save_bundle
from ssl_kedro.encoders.maps import BranchMaps, MapNetwork, load_map_network
from ssl_kedro.images.decode import Resize
from ssl_kedro.images.photographs import Batch, Photographs, Unreadable, batches
from ssl_kedro.retrieval.descriptors import PoolingConfig, pooled

_IDENTITY, _NETWORK = "identity.json", "network"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NetworkFiles:
    """A network as another process finds it.

    Args:
        folder: its bundle, on a disk that both see.
        branch: of this project's own encoders.
        mark: changes with the network; a process keeps one and loads it when this changes.
    """

    folder: Path
    branch: Any
    mark: str

    @classmethod
    def written(cls, network: MapNetwork, folder: Path, mark: str) -> "NetworkFiles":
        """The files of a network.

        Raises:
            InputError: it is of a kind that cannot be written.
        """
        branch = network.branch if isinstance(network, BranchMaps) else "dense"
        try:
            save_bundle(network, folder)
        except TypeError as error:
            remedy = "extract it with processes: 1 and no cluster"
            raise InputError(
                "extract.processes", str(error), "a network for other processes", remedy
            ) from error
        return cls(folder.absolute(), branch, mark)

    def loaded(self) -> MapNetwork:
        """The network on the CPU.

        Raises:
            InputError: this process does not see the folder, or what is in it.
        """
        if not self.folder.is_dir():
            remedy = "put the project's data folder on a disk that all see at one path"
            raise InputError(self.folder, "nothing", "the folder of the run, on a worker", remedy)
        return load_map_network(self.folder, self.branch)


@dataclass(frozen=True)
class How:
    """How images become vectors; see :class:`~ssl_kedro.retrieval.extraction.ExtractConfig`.

    Args:
        resize: size of the images that the network sees.
        pooling: of its maps.
        device: of the network.
        precision: of the network.
        batch_size: images of one shape at a time.
        decoders: threads that decode; None = one for each core.
        threads: that compute, a batch each; None = as many as the process has.
    """

    resize: Resize
    pooling: PoolingConfig
    device: str
    precision: str
    batch_size: int
    decoders: int | None
    threads: int | None


@dataclass(frozen=True)
class Made:
    """Vectors of some images.

    Args:
        vectors: (M, C) float32; none where only the rest is asked for.
        counts: of each image, (N,) int64; 0 where it could not be decoded.
        skipped: name and reason of those.
    """

    vectors: np.ndarray
    counts: np.ndarray
    skipped: list[tuple[str, str]]


@dataclass(frozen=True)
class Block:
    """A piece of work.

    Args:
        path: that its vectors are written to.
        photographs: its images.
        network: itself, or its files.
        how: to compute.
    """

    path: Path
    photographs: Photographs
    network: MapNetwork | NetworkFiles
    how: How


class Blocks:
    """A folder of blocks of one collection, all made from one thing.

    Its name follows from that thing: whoever still makes blocks of another, such as a worker
    whose client was killed, writes elsewhere.

    Args:
        root: where the folder is; need not exist.
        identity: what the blocks are made from, with all that decides how they are cut.
        count: N images of the collection.
        size: images of a block.
    """

    def __init__(self, root: Path, identity: Mapping[str, Any], count: int, size: int) -> None:
        self._root = root
        self._identity = dict(identity)
        told = json.dumps(self._identity, sort_keys=True)
        self.folder = root / hashlib.sha256(told.encode()).hexdigest()[:16]
        self.bounds = [(first, min(first + size, count)) for first in range(0, count, size)]

    def begin(self) -> None:
        """Make the folder, say in it what its blocks are made from, and remove all others."""
        with replaced_file(self.folder / _IDENTITY) as temporary:
            temporary.write_text(json.dumps(self._identity), encoding="utf-8")
        for other in self._root.iterdir():
            if other == self.folder:
                continue
            if blocks := len(list(other.glob("block_*.safetensors"))):
                told = "%s: %d finished blocks are thrown away, made with another %s"
                _log.warning(told, self._root, blocks, ", ".join(self._differs(other)))
            if other.is_dir():
                shutil.rmtree(other, ignore_errors=True)
            else:
                other.unlink()

    def _differs(self, other: Path) -> list[str]:
        """Names of what the blocks of another folder were made with and these are not."""
        theirs: dict[str, Any] = {}
        with suppress(OSError, ValueError):
            theirs = json.loads((other / _IDENTITY).read_text(encoding="utf-8"))
        mine = json.loads(json.dumps(self._identity))  # as JSON has it: lists for tuples
        return sorted(n for n in {*mine, *theirs} if mine.get(n) != theirs.get(n))

    @property
    def network(self) -> Path:
        """Where the network of other processes lies."""
        return self.folder / _NETWORK

    def path(self, first: int) -> Path:
        """File of the block that begins with an image."""
        return self.folder / f"block_{first:012d}.safetensors"

    def missing(self) -> list[tuple[int, int]]:
        """First image of each block that is not there, and the one after its last."""
        return [
            (first, stop) for first, stop in self.bounds if read_block(self.path(first)) is None
        ]

    def made(self, first: int, *, whole: bool = False) -> Made:
        """A block that is there.

        Args:
            first: its first image.
            whole: with its vectors.

        Raises:
            InputError: it is not.
        """
        if (found := read_block(self.path(first), whole=whole)) is None:
            raise InputError(
                self.path(first),
                "no block, or a damaged one",
                "the one that a worker has written",
                "put the project's data folder on a disk that all machines see at one path, and "
                "run again: what is there is kept",
            )
        return found

    def all_made(self) -> Iterator[Made]:
        """Every block, in order, one in memory at a time."""
        return (self.made(first, whole=True) for first, _ in self.bounds)


def make_block(block: Block, advance: Callable[[int], object] = lambda _: None) -> None:
    """Write a block's vectors, unless they are there.

    Args:
        block: to make.
        advance: called with numbers of images as they are done.
    """
    if read_block(block.path) is not None:
        return  # by a process that was lost before it could say so
    how, given = block.how, block.network
    if isinstance(given, NetworkFiles):
        network = _kept(given, how.device)
    else:
        network = on_device(given, how.device)
    made = computed_vectors(network, block.photographs, how, advance)
    with replaced_file(block.path, made.vectors.nbytes) as temporary:
        told = {"skipped": json.dumps(made.skipped)}
        save_file({"vectors": made.vectors, "counts": made.counts}, temporary, told)


def read_block(path: Path, *, whole: bool = False) -> Made | None:
    """What :func:`make_block` wrote, None where there is nothing or it is damaged.

    Args:
        path: of the block.
        whole: with its vectors.
    """
    try:
        with (
            reading(path, "vectors of a block", "It is made again"),
            safe_open(path, framework="np") as file,
        ):
            skipped = [tuple(one) for one in json.loads(file.metadata()["skipped"])]
            vectors = file.get_slice("vectors")[: None if whole else 0]
            return Made(vectors, file.get_tensor("counts"), skipped)
    except (DamagedFileError, FileNotFoundError):
        return None


def on_device(network: MapNetwork, name: str) -> MapNetwork:
    """A network where it computes, in the layout that is fastest there."""
    device = resolved_device(name)
    network = network.to(device).eval()
    return network if device.type == "cuda" else network.to(memory_format=torch.channels_last)


@functools.lru_cache(maxsize=1)
def _kept(files: NetworkFiles, device: str) -> MapNetwork:
    return on_device(files.loaded(), device)


def computed_vectors(
    network: MapNetwork,
    photographs: Photographs,
    how: How,
    advance: Callable[[int], object] = lambda _: None,
) -> Made:
    """Vectors of images, all in memory.

    Args:
        network: on the device of ``how``, in evaluation mode; see :func:`on_device`.
        photographs: the images.
        how: to compute.
        advance: called with numbers of images as they are done.
    """
    device = resolved_device(how.device)
    counts = np.zeros(len(photographs), dtype=np.int64)
    found: list[np.ndarray] = []
    skipped: list[tuple[str, str]] = []

    def vectors_of(one: Batch | Unreadable) -> tuple[Batch | Unreadable, np.ndarray]:
        if isinstance(one, Unreadable):
            return one, np.zeros((0, 0, 0), dtype=np.float32)
        torch.set_num_threads(1)  # of this thread: more would decide the last bits
        with (
            torch.inference_mode(),
            torch.autocast(device.type, torch.bfloat16, enabled=how.precision == "bf16"),
        ):
            maps = network(torch.from_numpy(one.images).to(device))
            return one, pooled(maps, how.pooling).float().cpu().numpy()

    read = batches(photographs, how.resize, how.batch_size, how.decoders)
    # What a GPU computes comes one after another in any case.
    at_once = 1 if device.type == "cuda" else how.threads or torch.get_num_threads()
    with limited_threads(1):  # afterwards new threads have again what they had before
        for one, vectors in computed_ahead(vectors_of, read, at_once, 1):
            if isinstance(one, Unreadable):
                skipped.append((photographs.names[one.index], one.reason))
                advance(1)
            else:
                counts[one.indices] = vectors.shape[1]
                found.append(vectors.reshape(-1, network.map_channels))
                advance(len(one.indices))
    none = np.zeros((0, network.map_channels), dtype=np.float32)
    return Made(np.concatenate([none, *found]), counts, skipped)
