"""Parameters of the retrieval_eval pipeline."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from ssl_kedro.core.config import Config, ConfigError, Range
from ssl_kedro.core.remote import check_scheme, is_remote
from ssl_kedro.encoders.frozen import check_present
from ssl_kedro.images.decode import Resize
from ssl_kedro.pipelines.assembly.parameters import ASSEMBLE, AssembleParameters
from ssl_kedro.pipelines.parameters import (
    Names,
    PipelineParameters,
    budget_list,
    checked_device,
    without_nulls,
)
from ssl_kedro.retrieval.described import NONE, OWN, RUN, DescribedEncoderConfig
from ssl_kedro.retrieval.descriptors import PoolingConfig
from ssl_kedro.retrieval.extraction import ExtractConfig
from ssl_kedro.retrieval.index import empty_index
from ssl_kedro.retrieval.ranking import RerankingConfig
from ssl_kedro.retrieval.searcher import SearchConfig
from ssl_kedro.retrieval.sets import RetrievalDataConfig, Source, effective_config

# A dataset's name in ``whitening.learn_on`` for itself; "none" is for no whitening at all.
ITSELF = "itself"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
# faiss, PCA and memory go no further.
Dimension = Annotated[int, Field(ge=1, le=65_536)]
Dimensions = Annotated[tuple[Dimension, ...], BeforeValidator(budget_list)]


class DatasetOverride(PipelineParameters):
    """One task, and what is different about it; None = as its entry says.

    Args:
        name: of the entry in ``datasets``; None = all of ``evaluate``.
        source: layout of the images.
        root: folder of the images.
        ground_truth: file of the queries and what is right for them.
        crop_queries: whether queries are cut to their boxes.
        easy_within_deg: largest turn of a view that counts as easy.
        max_queries: at most so many queries.
    """

    name: str | None = None
    source: Source | None = None
    root: str | None = None
    ground_truth: str | None = None
    crop_queries: bool | None = None
    easy_within_deg: Annotated[float | None, Field(ge=0, le=180)] = None
    max_queries: Annotated[int | None, Field(ge=1)] = None

    @model_validator(mode="after")
    def _check_name(self) -> Self:
        for key, value in self:
            if value is not None and not self.name:
                expected = "the name of a data set, so that this can change it"
                raise ConfigError("name", self.name, f"{expected}: {key} = {value!r}")
        return self


class WhiteningParameters(PipelineParameters):
    """How descriptors are whitened.

    Args:
        dimensions: d of the descriptors; where the whitening set spans fewer, those.
        learn_on: names of data sets, "itself" (the database that is searched: what the thesis
            does, and a leak) or "none". The first makes the descriptors; the others are
            compared with it in the report.
        sweep: further d to evaluate (Table 3.4).
        true_dimension: also evaluate without whitening, in the encoder's own dimension.
    """

    dimensions: Dimension = 512
    learn_on: Annotated[Names, Field(min_length=1)] = (ITSELF,)
    sweep: Dimensions = ()
    true_dimension: bool = True


class OwnDescriptors(PipelineParameters):
    """Descriptors that are there already.

    Args:
        database: ``.npy`` file, (N, D), in the order of the ground truth's images.
        queries: ``.npy`` file, (Q, D).
        name: what to call them.
    """

    database: str | None = None
    queries: str | None = None
    name: str = "own"


@dataclass(frozen=True)
class GalleryConfig(Config):
    """What the galleries show.

    Args:
        queries: rows of a gallery.
        results: shown of each query, best first.
        compared: queries of a data set for which all encoders' results are shown (Figures 3.4 to
            3.6); 0 = none.
        encoders: of which these are shown, at most, those that find most.
    """

    queries: Annotated[int, Range(at_least=1, at_most=20)] = 4
    results: Annotated[int, Range(at_least=1, at_most=20)] = 8
    compared: Annotated[int, Range(at_least=0, at_most=4)] = 1
    encoders: Annotated[int, Range(at_least=1, at_most=20)] = 14


@dataclass(frozen=True)
class ImageConfig(Config):
    """Size that images are brought to.

    Args:
        size: px (thesis 3.4.1: 724).
        keep_aspect: of the longer side, the other in proportion; else of both.
    """

    size: Annotated[int, Range(at_least=8, at_most=4096)] = 724
    keep_aspect: bool = False


class RetrievalEvalParameters(PipelineParameters):
    """Everything of chapter 3 that a user may want to change.

    Args:
        seed: of generated images, random weights, draws and chance.
        dataset: one task alone, by name, and what differs from its entry in ``datasets``.
        evaluate: names of the tasks to evaluate, where ``dataset.name`` is not set.
        datasets: tasks by name.
        encoders: encoders by name.
        use: names of the encoders and ensembles of a run; empty = all.
        ensembles: members by name; their descriptors are concatenated and reduced by PCA.
        image: size of the images that encoders see.
        pooling: from maps to vectors.
        whitening: from vectors to descriptors.
        reranking: numbers of neighbours.
        search: exact or by an index.
        extract: device, precision, batch size.
        descriptors: a user's own, in place of all encoders.
        gallery: of the pictures.
        assemble: runs that ``--tags assemble`` makes tables over data sets of.
    """

    seed: Annotated[int, Field(ge=0)] = 0
    dataset: DatasetOverride = Field(default_factory=DatasetOverride)
    evaluate: Names = ()
    datasets: dict[str, RetrievalDataConfig] = Field(default_factory=dict)
    encoders: dict[str, DescribedEncoderConfig] = Field(default_factory=dict)
    use: Names = ()
    ensembles: Annotated[dict[str, Names], BeforeValidator(without_nulls)] = Field(
        default_factory=dict
    )
    image: ImageConfig = field(default_factory=ImageConfig)
    pooling: PoolingConfig = field(default_factory=PoolingConfig)
    whitening: WhiteningParameters = Field(default_factory=WhiteningParameters)
    reranking: RerankingConfig = field(default_factory=RerankingConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    extract: ExtractConfig = field(default_factory=ExtractConfig)
    descriptors: OwnDescriptors = Field(default_factory=OwnDescriptors)
    gallery: GalleryConfig = field(default_factory=GalleryConfig)
    assemble: AssembleParameters = AssembleParameters()

    @property
    def further_tags(self) -> tuple[str, ...]:
        """Tables over data sets of earlier runs."""
        return (ASSEMBLE,)

    @model_validator(mode="after")
    def _check(self) -> Self:
        checked_device(self.extract.device)
        described = [*self.encoders, *self.ensembles]
        _check_names("encoders", described)
        _check_names("descriptors.name", [self.descriptors.name])
        _check_names("datasets", self.datasets)
        if not self.tasks:
            raise ConfigError("evaluate", [], "the name of a data set, or dataset.name")
        key = "dataset.name" if self.dataset.name else "evaluate"
        _check_names(key, self.tasks)
        if not self.dataset.name:
            _check_known(key, self.tasks, self.datasets)
        for name in self.tasks:
            if self.data(name).source == "images":
                expected = 'a task with a ground truth; "images" only teach whitening'
                raise ConfigError(key, name, expected)
        self._check_own_descriptors()
        if self.search.index != "exact":
            try:
                empty_index(self.search.index, self.whitening.dimensions)
            except ConfigError as error:
                raise ConfigError("search.index", error.value, error.expected) from None
        taught = dict.fromkeys([ITSELF, NONE, *self.datasets, *self.tasks])
        _check_known("whitening.learn_on", self.whitening.learn_on, taught)
        for name, members in self.ensembles.items():
            if len(members) < 2 or set(members) - set(self.encoders):
                expected = f"two or more of the encoders {', '.join(self.encoders)}"
                raise ConfigError(f"ensembles.{name}", list(members), expected)
        _check_known("use", self.use, described)
        if not self.own_descriptors and not self.present_encoders:
            raise ConfigError("encoders", {}, "at least one encoder whose file is there")
        return self

    def _check_own_descriptors(self) -> None:
        given = {role: getattr(self.descriptors, role) for role in ("database", "queries")}
        for role, path in given.items():
            if path is None and any(given.values()):
                expected = "a .npy file, as the other of the two has"
                raise ConfigError(f"descriptors.{role}", None, expected)
        for role, path in given.items():
            check_scheme(f"descriptors.{role}", path)
            if path and not is_remote(path) and not Path(path).expanduser().is_file():
                raise ConfigError(f"descriptors.{role}", path, "a .npy file that exists")

    def check_missing(self, name: str) -> None:
        """Refuse encoders whose files are not there, all at once."""
        if name.endswith(".network"):
            check_present({name: self.encoders[name] for name in self.present_encoders})

    @property
    def own_descriptors(self) -> bool:
        """Whether a user's descriptors are evaluated in place of encoders."""
        return self.descriptors.database is not None

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks to evaluate."""
        return (self.dataset.name,) if self.dataset.name else self.evaluate

    def data(self, name: str) -> RetrievalDataConfig:
        """Configuration of a task or whitening set."""
        return effective_config(self.datasets, self.dataset.model_dump(), name)

    @property
    def present_encoders(self) -> tuple[str, ...]:
        """Encoders of the run: asked for, and not left out for want of a file."""
        asked = set(self.use) or {*self.encoders, *self.ensembles}
        asked |= {m for name in asked for m in self.ensembles.get(name, ())}
        return tuple(
            name
            for name, config in self.encoders.items()
            if name in asked and (config.present or not config.optional)
        )

    @property
    def absent_encoders(self) -> tuple[str, ...]:
        """Optional encoders of the run whose file is not there."""
        return tuple(
            name
            for name, config in self.encoders.items()
            if config.optional and not config.present and name in (self.use or self.encoders)
        )

    @property
    def present_ensembles(self) -> dict[str, Names]:
        """Ensembles of the run, those with an absent member left out."""
        return {
            name: members
            for name, members in self.ensembles.items()
            if (not self.use or name in self.use) and set(members) <= set(self.present_encoders)
        }

    @property
    def evaluated(self) -> tuple[str, ...]:
        """All that has descriptors: encoders and ensembles, or the user's own."""
        if self.own_descriptors:
            return (self.descriptors.name,)
        return (*self.present_encoders, *self.present_ensembles)

    def whitening_sets(self, task: str, encoder: str = "") -> tuple[str, ...]:
        """Data sets that whitening for a task is learnt on; first = main.

        "none" is among them, and "own" alone for an encoder whose publisher's it is.
        """
        config = self.encoders.get(encoder)
        if config is not None and config.whitening != RUN:
            return (config.whitening,)
        sets = (task if name == ITSELF else name for name in self.whitening.learn_on)
        return tuple(dict.fromkeys(sets))

    def members(self, described: str) -> Names:
        """The encoders of an ensemble; of an encoder itself."""
        return self.ensembles.get(described, (described,))

    def whitened_on(self, task: str, described: str) -> str:
        """The set that an encoder's or ensemble's whitening was learnt on, for tables."""
        if self.own_descriptors:
            return OWN
        sets = (self.whitening_sets(task, member)[0] for member in self.members(described))
        return " + ".join(dict.fromkeys(sets))

    def pooled_by(self, described: str) -> str:
        """Kind of pooling of an encoder or ensemble, for tables; "" of a user's descriptors."""
        if self.own_descriptors:
            return ""
        kinds = (self.encoders[member].pooling for member in self.members(described))
        return " + ".join(dict.fromkeys(self.pooling.kind if k == RUN else k for k in kinds))

    def resize(self, encoder: str) -> Resize:
        """Size of the images that an encoder sees."""
        size = self.encoders[encoder].image_size or self.image.size
        return Resize(size, self.image.keep_aspect)


def _check_known(key: str, names: Iterable[str], known: Iterable[str]) -> None:
    for name in names:
        if name not in known:
            raise ConfigError(key, name, f"one of {', '.join(known)}")


def _check_names(key: str, names: Iterable[str]) -> None:
    for name in names:
        if not _NAME.fullmatch(name) or name in (ITSELF, NONE):
            expected = f'letters, digits and underscores, other than "{ITSELF}" and "{NONE}"'
            raise ConfigError(key, name, expected)
