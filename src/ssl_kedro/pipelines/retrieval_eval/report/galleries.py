"""What queries find, as small pictures on the page: of the best encoder, and of all on one query.

The second is what Figures 3.4 to 3.6 of the thesis show: one query, a row an encoder.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ssl_kedro.images.decode import Resize
from ssl_kedro.images.files import UnreadableImageError
from ssl_kedro.images.photographs import Photographs
from ssl_kedro.pipelines.retrieval_eval.parameters import RetrievalEvalParameters
from ssl_kedro.pipelines.retrieval_eval.records import Evaluation, Results
from ssl_kedro.pipelines.retrieval_eval.report.figures import judged_images, spread_queries
from ssl_kedro.reporting.html import Section
from ssl_kedro.reporting.number_format import percent
from ssl_kedro.reporting.thumbnails import Thumbnail, Thumbnails, image_uri
from ssl_kedro.retrieval.sets import RetrievalSet

# In px. A page of four data sets with all encoders of the thesis stays below 5 MB.
_SIDE = 96

Rankings = Mapping[str, Mapping[str, np.ndarray]]


def best_section(
    parameters: RetrievalEvalParameters, task: RetrievalSet, rankings: Rankings, results: Results
) -> Section:
    """Queries from the best to the worst found, and what the task's best encoder finds."""
    best = results.best_encoder(task.name)
    evaluation = results.evaluations[task.name][best]
    pictures = _Pictures(task, evaluation.level, parameters.gallery.results)
    chosen = spread_queries(_precisions(evaluation), parameters.gallery.queries)
    rows = [
        Thumbnails(
            f"AP {percent(_precisions(evaluation)[query])}",
            [pictures.query(query), *pictures.found(query, rankings[best]["g"])],
            _SIDE,
        )
        for query in chosen
    ]
    text = (
        f"Global search by {best}, the best on {task.name}: queries (first in each row) from the "
        "best to the worst found, and their first results: correct, wrong or junk. Galleries of "
        "the other encoders lie beside this report's data."
    )
    return Section(f"What is found: {task.name}", (text,), thumbnails=rows)


def compared_section(
    parameters: RetrievalEvalParameters, task: RetrievalSet, rankings: Rankings, results: Results
) -> list[Section]:
    """The same query by several encoders, a row each (Figures 3.4 to 3.6)."""
    encoders = results.evaluations[task.name]
    shown = sorted(encoders, key=lambda name: -encoders[name].headline())
    shown = shown[: parameters.gallery.encoders]
    asked = _middling([_precisions(encoders[name]) for name in shown], parameters.gallery.compared)
    if len(shown) < 2 or not asked:
        return []
    level = encoders[shown[0]].level
    pictures = _Pictures(task, level, parameters.gallery.results)
    rows = []
    for query in asked:
        rows.append(Thumbnails(f"Query of {task.name}", [pictures.query(query)], _SIDE))
        rows += [
            Thumbnails(
                f"{name}: AP {percent(_precisions(encoders[name])[query])}",
                pictures.found(query, rankings[name]["g"]),
                _SIDE,
            )
            for name in shown
        ]
    text = (
        "One query by each encoder, those that find most on the data set first; the query is one "
        "that encoders together find middling well. First results of global search: correct, "
        "wrong or junk."
    )
    return [Section(f"One query, every encoder: {task.name}", (text,), thumbnails=rows)]


def _precisions(evaluation: Evaluation) -> Sequence[float | None]:
    return evaluation.rankings["g"][evaluation.level].ap


def _middling(precisions: Sequence[Sequence[float | None]], count: int) -> list[int]:
    """Queries in the middles of so many equal parts of their order by mean AP over encoders."""
    table = np.array([[np.nan if v is None else v for v in of] for of in precisions])
    known = np.flatnonzero(~np.isnan(table).any(axis=0))
    order = known[np.argsort(-table[:, known].mean(axis=0), kind="stable")]
    count = min(count, len(order))
    return [int(order[int((part + 0.5) * len(order) / count)]) for part in range(count)]


@dataclass
class _Pictures:
    """Thumbnails of a task's images; what several rows show is decoded once."""

    task: RetrievalSet
    level: str
    results: int
    _made: dict[tuple[int, int], Any] = field(default_factory=dict)

    def query(self, query: int) -> Thumbnail:
        """The image that is searched with."""
        own = int(self.task.own_rows[query])
        images, at = (
            (self.task.database, own) if self.task.queries is None else (self.task.queries, query)
        )
        return self._thumbnail(images, at, "query", framed=True)

    def found(self, query: int, ranked: np.ndarray) -> list[Thumbnail]:
        """Its first results, each with its rank and what it is."""
        judged = judged_images(self.task.judged, self.level, query, int(self.task.own_rows[query]))
        return [
            self._thumbnail(self.task.database, int(image), judged.get(int(image), "wrong"), rank)
            for rank, image in enumerate(ranked[: self.results, query], start=1)
            if image >= 0
        ]

    def _thumbnail(
        self, images: Photographs | None, at: int, kind: str, rank: int = 0, *, framed: bool = False
    ) -> Thumbnail:
        if images is None:
            raise ValueError(f"a gallery of {self.task.name} needs its images")
        key = (id(images), at)
        if key not in self._made:
            try:
                self._made[key] = image_uri(images.decoded(at, Resize(_SIDE, True)), _SIDE), ""
            except UnreadableImageError as error:
                self._made[key] = "", str(error)
        uri, missing = self._made[key]
        words = f"{rank} {kind}" if rank else kind
        described = f"{words}: {images.names[at]}"
        return Thumbnail(uri, words, described, missing, framed, mark="" if framed else kind)
