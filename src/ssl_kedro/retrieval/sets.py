"""A retrieval task: images to search, images to search with, and who is to be found."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from ssl_kedro.core.config import Config, ConfigError, Range
from ssl_kedro.core.errors import shown
from ssl_kedro.core.remote import at_hand, check_scheme
from ssl_kedro.images.facades import FacadeConfig, FacadeSet, difficulty, generated_facades
from ssl_kedro.images.files import EXTENSIONS, images_below, passed_over
from ssl_kedro.images.photographs import ArrayPhotographs, FilePhotographs, Photographs
from ssl_kedro.retrieval.ground_truth.folder import labelled_folder
from ssl_kedro.retrieval.ground_truth.holidays import holidays_from_names
from ssl_kedro.retrieval.ground_truth.locate import located
from ssl_kedro.retrieval.ground_truth.model import GroundTruth
from ssl_kedro.retrieval.ground_truth.read import read_ground_truth

Source = Literal["facades", "published", "holidays", "folder", "images"]


@dataclass(frozen=True)
class RetrievalDataConfig(Config):
    """Where a retrieval task comes from.

    Args:
        source: "facades" = generated; "published" = a ground-truth file beside a folder of
            images; "holidays" = INRIA Holidays' images, judged by their names; "folder" =
            class folders or a labels.csv; "images" = any images below ``root``, to learn
            whitening on only.
        root: folder of the images, also elsewhere (``s3://...``).
        ground_truth: file, or folder of Oxford's text files; for "published"; also elsewhere.
        crop_queries: cut queries to their box where the ground truth has one.
        easy_within_deg: for "folder": positives turned by at most so much are easy, others
            hard; needs the column ``angle_deg``.
        max_queries: for "folder": at most so many queries, drawn at random.
        facades: for "facades".
        seed: for "facades" and of draws, added to the run's own.
    """

    source: Source = "published"
    root: str | None = None
    ground_truth: str | None = None
    crop_queries: bool = True
    easy_within_deg: Annotated[float, Range(at_least=0, at_most=180)] | None = None
    max_queries: Annotated[int, Range(at_least=1)] | None = None
    facades: FacadeConfig = field(default_factory=FacadeConfig)
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_scheme("root", self.root)
        check_scheme("ground_truth", self.ground_truth)
        if self.source == "published" and self.ground_truth is None:
            raise ConfigError(
                "ground_truth", None, 'the path of a ground-truth file, which "published" needs'
            )


@dataclass(frozen=True)
class RetrievalSet:
    """Images and ground truth.

    Args:
        name: of the task.
        database: images to search; None where only descriptors are evaluated.
        queries: images to search with; None where they are whole images of the database, or
            where only descriptors are evaluated.
        truth: who is to be found; None for images that only teach whitening.
        cropped: whether queries are cut to their boxes.
        passed_over: numbers of files below the root of a kind that is not read, by ending.
    """

    name: str
    database: Photographs | None
    queries: Photographs | None
    truth: GroundTruth | None
    cropped: bool
    passed_over: Mapping[str, int] = field(default_factory=dict)

    @property
    def judged(self) -> GroundTruth:
        """The ground truth.

        Raises:
            ValueError: there is none.
        """
        if self.truth is None:
            raise ValueError(f"{self.name} has no ground truth")
        return self.truth

    @property
    def own_rows(self) -> np.ndarray:
        """For each query the database row that is the same picture, -1 where none is, (Q,)."""
        if self.truth is None:
            return np.zeros(0, dtype=np.int64)
        if self.queries is not None:
            return np.full(len(self.truth.queries), -1)
        return self.truth.query_in_database


def effective_config(
    datasets: Mapping[str, Any], override: Mapping[str, Any], name: str
) -> RetrievalDataConfig:
    """Configuration of a task: its entry, changed by ``dataset`` where that names it.

    Args:
        datasets: entries by name, each a mapping or a RetrievalDataConfig.
        override: "name" and fields to change; None and missing ones change nothing.
        name: of the task.

    Raises:
        ConfigError: the name is not known and nothing defines it.
    """
    entry = datasets.get(name) or {}
    fields = dict(vars(entry) if isinstance(entry, RetrievalDataConfig) else entry)
    if override.get("name") == name:
        fields |= {k: v for k, v in override.items() if v is not None and k != "name"}
    if not fields:
        known = ", ".join(sorted(datasets)) or "none"
        raise ConfigError(
            "dataset.name",
            name,
            f"one of the datasets ({known}), or a ground_truth or root beside it",
        )
    if isinstance(fields.get("facades"), Mapping):
        fields["facades"] = FacadeConfig(**fields["facades"])
    return RetrievalDataConfig(**fields)


def retrieval_set(
    name: str,
    config: RetrievalDataConfig,
    seed: int,
    *,
    images: bool = True,
    storage_options: Mapping[str, Any] | None = None,
) -> RetrievalSet:
    """The task, with every file found but none decoded.

    Args:
        name: of the task.
        config: where it comes from.
        seed: the run's seed.
        images: False reads the ground truth alone, for descriptors that are there already.
        storage_options: of files elsewhere; see :func:`ssl_kedro.core.remote.local_copy`.

    Raises:
        GroundTruthError: the ground truth cannot be used, or images that it names are missing.
        ConfigError: a folder that is needed is not given or not there.
        RemoteError: files lie elsewhere and cannot be reached.
    """
    config = at_hand(config, storage_options, "ground_truth", *(["root"] if images else []))
    if config.source == "facades":
        return _facades(name, generated_facades(config.facades, seed + config.seed), config)
    found = _of_files(name, config, seed, images=images)
    if found.database is None:
        return found
    return replace(found, passed_over=passed_over(_root(name, config), EXTENSIONS | {".csv"}))


def _of_files(name: str, config: RetrievalDataConfig, seed: int, *, images: bool) -> RetrievalSet:
    if config.source == "published":
        return _published(name, config, images=images)
    root = _root(name, config)
    if config.source == "folder":
        truth, files = labelled_folder(
            root,
            easy_within_deg=config.easy_within_deg,
            max_queries=config.max_queries,
            seed=seed + config.seed,
        )
        return _with_queries(name, truth, FilePhotographs(files, truth.database), config)
    found = _all_images(root)
    if config.source == "images":
        names = [path.relative_to(root).as_posix() for path in found]
        return RetrievalSet(name, FilePhotographs(found, names), None, None, cropped=False)
    truth = holidays_from_names([path.stem for path in found])
    database = FilePhotographs(found, truth.database)
    return RetrievalSet(name, database, None, truth, cropped=False)


def _published(name: str, config: RetrievalDataConfig, *, images: bool) -> RetrievalSet:
    path = Path(config.ground_truth or "").expanduser()
    if not images:
        truth = read_ground_truth(path)
        return RetrievalSet(name, None, None, truth, cropped=config.crop_queries)
    root = _root(name, config)
    # Oxford's text files do not list the database: it is what lies in the folder.
    names = [shown(found.stem) for found in _all_images(root)] if path.is_dir() else []
    truth = read_ground_truth(path, database=names)
    database = FilePhotographs(located(root, truth.database), truth.database)
    return _with_queries(name, truth, database, config)


def _with_queries(
    name: str, truth: GroundTruth, database: FilePhotographs, config: RetrievalDataConfig
) -> RetrievalSet:
    """The task, its queries read from the database's files where they are among them."""
    boxed = truth.boxes is not None and not np.isnan(truth.boxes).all()
    cropped = boxed and config.crop_queries
    inside = truth.query_in_database
    if (inside >= 0).all() and not cropped:
        return RetrievalSet(name, database, None, truth, cropped=False)
    outside = [query for query, row in zip(truth.queries, inside, strict=True) if row < 0]
    elsewhere = dict(zip(outside, located(_root(name, config), outside), strict=True))
    paths = [
        elsewhere[query] if row < 0 else database.paths[row]
        for query, row in zip(truth.queries, inside, strict=True)
    ]
    boxes = truth.boxes if cropped else None
    return RetrievalSet(
        name, database, FilePhotographs(paths, truth.queries, boxes), truth, cropped
    )


def _facades(name: str, made: FacadeSet, config: RetrievalDataConfig) -> RetrievalSet:
    count = len(made.query_views)
    lists: dict[str, list[list[int]]] = {
        kind: [[] for _ in range(count)] for kind in ("easy", "hard", "junk")
    }
    for index, view in enumerate(made.database_views):
        if view.instance < count:
            lists[difficulty(view)][view.instance].append(index)
    truth = GroundTruth(
        database=tuple(f"view_{i:04d}" for i in range(len(made.database))),
        queries=tuple(f"facade_{i:03d}" for i in range(count)),
        lists={k: [np.array(q, dtype=np.int64) for q in of] for k, of in lists.items()},
        boxes=made.boxes,
    )
    boxes = made.boxes if config.crop_queries else None
    return RetrievalSet(
        name,
        ArrayPhotographs(made.database, truth.database),
        ArrayPhotographs(made.queries, truth.queries, boxes),
        truth,
        cropped=config.crop_queries,
    )


def _root(name: str, config: RetrievalDataConfig) -> Path:
    key, expected = f"datasets.{name}.root", "a folder with the images"
    if config.root is None or not config.root.strip():
        raise ConfigError(key, config.root, f"{expected}; set it, or dataset.root")
    root = Path(config.root).expanduser()
    if not root.is_dir():
        raise ConfigError(key, config.root, f"{expected}; found nothing at {root.absolute()}")
    return root


def _all_images(root: Path) -> list[Path]:
    found = [root / path for path in images_below(root)]
    if not found:
        raise ConfigError("root", str(root), "a folder with images in it; found none")
    return found
