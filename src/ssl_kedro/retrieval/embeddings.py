"""Features of a trained encoder for image files at hand, and the nearest of them to a picture.

Convention: features are float32 rows (N, D) as ``encoder.dense(files)`` gives them; similarity is
the cosine of two of them, from -1 to 1.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ssl_kedro.core.config import ConfigError
from ssl_kedro.core.errors import InputError
from ssl_kedro.core.names import Names
from ssl_kedro.encoders.base import Branch, Encoder
from ssl_kedro.encoders.bundled import Normalised
from ssl_kedro.encoders.maps import FeatureMaps, network_fingerprint
from ssl_kedro.encoders.nested_resnet18 import NestedResNet18
from ssl_kedro.images.decode import Resize
from ssl_kedro.images.files import images_below, passed_over
from ssl_kedro.images.photographs import SquareFiles
from ssl_kedro.images.unlike import Seen, remarks
from ssl_kedro.retrieval.blocks import Made, computed_vectors, on_device
from ssl_kedro.retrieval.descriptors import PoolingConfig
from ssl_kedro.retrieval.extraction import ExtractConfig, VectorStore, extract_vectors
from ssl_kedro.retrieval.index import build_index, recommended_factory, refined, search_index
from ssl_kedro.retrieval.search import Rows
from ssl_kedro.retrieval.whitening import unit_rows

# Maps of features have one place: their mean is itself.
_AS_THEY_ARE = PoolingConfig(kind="spoc")
# Results of an index that are compared exactly, for each that is asked for.
_CANDIDATES = 10
# Rows in memory at a time that these are compared with: 128 MB where a vector has 512 numbers.
_READ = 65_536


@dataclass(frozen=True)
class FeatureNetwork:
    """One branch of an encoder, or one network that is cut from it, ready for files.

    Args:
        network: features as maps of one place.
        size: side in px of the images that it sees.
        label: which part of the encoder it is, "dense" or "budget 0.3".
    """

    network: FeatureMaps
    size: int
    label: str

    @classmethod
    def of(
        cls, encoder: Encoder, branch: Branch | None = None, budget: float | None = None
    ) -> "FeatureNetwork":
        """A part of an encoder.

        Args:
            encoder: trained.
            branch: None = dense, where it has that.
            budget: share of the dense MACs, of an encoder for every budget.

        Raises:
            ConfigError: the encoder has no such branch, or none of such a budget.
        """
        if budget is not None:
            return cls._of_budget(encoder, budget)
        known = encoder.branches
        if branch is not None and branch not in known:
            nested = isinstance(encoder, NestedResNet18)
            what = f"one of {', '.join(known)}, which this encoder has"
            raise ConfigError("branch", branch, what + ", or a budget" * nested)
        chosen: Branch = branch or ("dense" if "dense" in known else known[0])
        return cls(FeatureMaps(encoder, chosen).eval(), encoder.image_size, chosen)

    @classmethod
    def _of_budget(cls, encoder: Encoder, budget: float) -> "FeatureNetwork":
        if not isinstance(encoder, NestedResNet18):
            what = f"none: this encoder has branches, {', '.join(encoder.branches)}"
            raise ConfigError("budget", budget, what)
        try:
            cut = encoder.at_budget(budget)
        except ValueError as error:
            least = f"a share from {encoder.smallest_budget:.3f} to 1 ({error})"
            raise ConfigError("budget", budget, least) from error
        return cls(FeatureMaps(cut, "dense").eval(), encoder.image_size, f"budget {budget:g}")

    @property
    def fingerprint(self) -> str:
        """Changes with whatever decides its features."""
        return network_fingerprint(self.network)

    @property
    def seen(self) -> Seen:
        """What images it was trained on."""
        member = self.network.encoder
        if not isinstance(member, Normalised):
            return Seen(self.size, (0.5,) * 3, (0.25,) * 3)
        mean, std = (one.flatten().tolist() for one in (member.pixel_mean, member.pixel_std))
        return Seen(self.size, tuple(mean), tuple(std))

    def vectors(self, files: SquareFiles, config: ExtractConfig) -> Made:
        """Features of a few files, all in memory."""
        how = config.how(Resize(self.size), _AS_THEY_ARE)
        return computed_vectors(on_device(self.network, config.device), files, how)


@dataclass(frozen=True)
class Embeddings:
    """Features of files.

    Args:
        names: paths below the folder, (N,); as text everything takes.
        vectors: (N, D).
        facts: what made them, as words: encoder, branch, budget, folder, ...
    """

    names: Names
    vectors: Rows
    facts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Embedded:
    """What embedding a folder gave.

    Args:
        embeddings: of all files that could be read.
        skipped: path and reason of the others.
        passed_over: numbers of files of a kind that is not read, by ending.
        remarks: sentences on how the images differ from those in training.
        seconds: that it took, in this run or the one that made it.
    """

    embeddings: Embeddings
    skipped: list[tuple[str, str]]
    passed_over: dict[str, int]
    remarks: list[str]
    seconds: float


def image_files(place: Path, key: str) -> SquareFiles:
    """One image file, or all below a folder, at any depth, in the order of their paths.

    Args:
        place: file or folder.
        key: of the parameter that names it, for messages.

    Raises:
        InputError: nothing is there, or no image.
    """
    if place.is_file():
        return SquareFiles(place.parent, Names.of([place.name]))
    remedy = "name an image file or a folder with images in it, at any depth"
    if not place.exists():
        raise InputError(key, f"{str(place)!r}, where nothing is", "a file or folder", remedy)
    names = Names.of(images_below(place))
    if not len(names):
        raise InputError(key, f"{str(place)!r}, without an image", "images", remedy)
    return SquareFiles(place, names)


def embed(
    network: FeatureNetwork,
    files: SquareFiles,
    store: VectorStore,
    config: ExtractConfig,
    parameter: str,
    facts: dict[str, str],
) -> Embedded:
    """Features of all files into a store, unless it holds them; memory does not grow with them.

    Args:
        network: that gives them.
        files: N of them.
        store: where they go.
        config: device, batch size, share that may be unreadable.
        parameter: that sets this share, for messages.
        facts: further ones.

    Raises:
        ConfigError: too many unreadable files.
    """
    said = remarks(files, network.seen)
    identity = {"files": files.fingerprint(), "network": network.fingerprint, "size": network.size}
    made = extract_vectors(
        files,
        network.network,
        Resize(network.size),
        _AS_THEY_ARE,
        config,
        store,
        identity,
        "features",
        parameter,
    )
    kept = np.flatnonzero(np.diff(store.starts()))
    facts = facts | {
        "folder": str(files.root.absolute()),
        "part": network.label,
        "image_size": str(network.size),
        "fingerprint": network.fingerprint,
    }
    embeddings = Embeddings(files.names.chosen(kept), store.vectors(), facts)
    others = passed_over(files.root) if len(files) > 1 else {}
    return Embedded(embeddings, made.skipped, others, said, made.seconds)


class UnitRows:
    """Rows at unit length, wherever they lie; zero rows stay zero.

    Args:
        rows: (N, D).
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, D)."""
        return self._rows.shape

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, key: Any) -> np.ndarray:
        return unit_rows(np.asarray(self._rows[key], dtype=np.float32))


def similarity_index(vectors: Rows, factory: str | None, seed: int) -> Any:
    """A faiss index by cosine, filled.

    Args:
        vectors: (N, D).
        factory: of faiss; None = exact up to a million, then inverted lists.
        seed: of its training.
    """
    count, dimensions = vectors.shape
    factory = factory or recommended_factory(count, dimensions)
    return build_index(UnitRows(vectors), factory, seed=seed)


def most_similar(
    index: Any, vectors: Rows, queries: np.ndarray, count: int, *, probes: int = 16
) -> tuple[np.ndarray, np.ndarray]:
    """The most similar rows of each query: similarities (Q, k) and indices (Q, k), -1 where none.

    What the index finds is put in order by exact similarity.

    Args:
        index: from :func:`similarity_index`.
        vectors: that it was filled with.
        queries: features (Q, D).
        count: k; of N rows at most N.
        probes: cells of an inverted file that are looked at.
    """
    asked = unit_rows(queries)
    wanted = min(_CANDIDATES * count, len(vectors))
    _, candidates = search_index(index, asked, wanted, probes=probes)
    size = max(1, _READ // wanted)
    parts = [
        _settled(vectors, asked[at : at + size], candidates[at : at + size], min(count, wanted))
        for at in range(0, len(asked), size)
    ]
    scores, found = zip(*parts, strict=True)
    return np.concatenate(scores), np.concatenate(found)


def _settled(
    vectors: Rows, asked: np.ndarray, candidates: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """The best of some queries' candidates, each of which is read once."""
    known, places = np.unique(candidates, return_inverse=True)
    among = np.where(candidates < 0, -1, places.reshape(candidates.shape))
    rows = UnitRows(vectors)[np.maximum(known, 0)]
    scores, found = refined(rows, asked, among, count)
    return scores, np.where(found < 0, -1, known[found])
