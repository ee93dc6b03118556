"""What passes between the nodes of chapter 3."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ssl_kedro.retrieval.extraction import Extracted
from ssl_kedro.retrieval.scoring import MeanScore, MeanScores, QueryScores

# By level of the ground truth; "" where it has none.
Levels = dict[str, QueryScores]


@dataclass(frozen=True)
class TaskSummary:
    """What a task or whitening set holds.

    Args:
        cropped: whether queries are cut to their boxes.
        images: in the database.
        fingerprint: of the images; None where only descriptors are evaluated.
        queries: how many; None for images that only teach whitening.
        queries_fingerprint: of their images; None where these are the database's.
        without_positives: by level, names of the queries that have nothing to find.
        chance: by level, mean scores of random rankings.
        passed_over: numbers of files of a kind that is not read, by ending.
    """

    cropped: bool
    images: int
    fingerprint: str | None = None
    queries: int | None = None
    queries_fingerprint: str | None = None
    without_positives: dict[str, tuple[str, ...]] = field(default_factory=dict)
    chance: dict[str, MeanScores] = field(default_factory=dict)
    passed_over: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Extraction:
    """Vectors of one encoder on one task.

    Args:
        parameters: of the network.
        database: how its vectors were made.
        queries: the same; None where they are rows of the database.
    """

    parameters: int
    database: Extracted
    queries: Extracted | None = None

    @property
    def parts(self) -> tuple[Extracted, ...]:
        """Those that there are."""
        return (self.database,) if self.queries is None else (self.database, self.queries)


@dataclass(frozen=True)
class Evaluation:
    """Scores of one encoder on one task.

    Args:
        whitened_on: data set that whitening was learnt on, "none", or "own": of the encoder's
            publisher, or the user's.
        cropped: whether queries were cut to their boxes.
        dimensions: of the descriptors.
        index: "exact" or a faiss factory string.
        rankings: by ranking ("g", "aqe", "dba", "dba_aqe", "alpha_qe") and level.
        pooled_by: kind of pooling, "own" for that of an encoder's publisher; "" where a user's
            descriptors are evaluated.
    """

    whitened_on: str
    cropped: bool
    dimensions: int
    index: str
    rankings: dict[str, Levels]
    pooled_by: str = ""

    @property
    def level(self) -> str:
        """That one number stands for: medium of the revisited protocols, else the only one."""
        return headline_level(self.rankings["g"])

    def headline(self, ranking: str = "g") -> float:
        """MAP (fraction) at that level."""
        return self.rankings[ranking][self.level].map


@dataclass(frozen=True)
class Sweep:
    """Global search by one encoder on one task, with other whitenings; MAP by level.

    Args:
        dimensions: by number of dimensions, whitened on the main set.
        whitened_on: by set that whitening was learnt on.
        true_dimension: in the encoder's own dimension, not whitened; None where not asked for.
        channels: that dimension.
    """

    dimensions: dict[int, dict[str, MeanScore]] = field(default_factory=dict)
    whitened_on: dict[str, dict[str, MeanScore]] = field(default_factory=dict)
    true_dimension: dict[str, MeanScore] | None = None
    channels: int | None = None


@dataclass(frozen=True)
class Results:
    """All of a run, by task and encoder."""

    evaluations: dict[str, dict[str, Evaluation]] = field(default_factory=dict)
    extractions: dict[str, dict[str, Extraction]] = field(default_factory=dict)
    sweeps: dict[str, dict[str, Sweep]] = field(default_factory=dict)

    def best_encoder(self, task: str) -> str:
        """Name of the encoder whose global search finds most."""
        encoders = self.evaluations[task]
        return max(encoders, key=lambda name: encoders[name].headline())


Data = dict[str, TaskSummary]
T = TypeVar("T")


def entries(found: Mapping[str, Mapping[str, T]]) -> Iterator[tuple[str, str, T]]:
    """Task, encoder and what there is of them."""
    for task, encoders in found.items():
        for encoder, value in encoders.items():
            yield task, encoder, value


def headline_level(scores: Mapping[str, Any]) -> str:
    """Level that one number stands for: medium of the revisited protocols, else the only one."""
    return "medium" if "medium" in scores else next(iter(scores))
