"""What chapter 3 says of its figures, asked of its own tables and of a run's.

A claim takes figures, wherever they come from, and gives the cases in which it should hold.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise

from ssl_kedro.encoders.importers import KINDS
from ssl_kedro.encoders.importers.kind import Trained
from ssl_kedro.pipelines.retrieval_eval.parameters import RetrievalEvalParameters
from ssl_kedro.pipelines.retrieval_eval.records import Results
from ssl_kedro.pipelines.retrieval_eval.report.tables import PRINTED, RANKINGS, published_rows
from ssl_kedro.reporting.published import published_table

ENSEMBLE = " + "


@dataclass(frozen=True)
class Figures:
    """MAP (percent) of one encoder, or ensemble, on one data set.

    Args:
        task: the data set.
        level: of the ground truth; "" for the classic protocol.
        name: of the encoder, in the run or in the thesis.
        row: its name in the thesis; "" where it has none.
        trained: by what; "" of ensembles, and where nobody says.
        members: names of an ensemble's encoders.
        rankings: by ranking, those that are known.
        dimensions: of global search by dimension; None = the encoder's own, not whitened.
    """

    task: str
    level: str
    name: str
    row: str
    trained: Trained = ""
    members: Sequence[str] = ()
    rankings: Mapping[str, float] = field(default_factory=dict)
    dimensions: Mapping[int | None, float] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """Encoder and data set in words."""
        return f"{self.name} on {self.task}{f' ({self.level})' if self.level else ''}"


@dataclass(frozen=True)
class Case:
    """One case in which a claim holds or not, in words with its figures."""

    holds: bool
    words: str


@dataclass(frozen=True)
class Claim:
    """One claim.

    Args:
        name: of it, in keys.
        says: the thesis, in short.
        where: it says so.
        cases: in figures of one origin.
    """

    name: str
    says: str
    where: str
    cases: Callable[[Sequence[Figures]], Iterable[Case]]


def printed_figures() -> list[Figures]:
    """Those of Tables 3.2 to 3.4."""
    trained = {kind.row: kind.trained for kind in KINDS.values() if kind.row}
    rankings: dict[tuple[str, str, str], dict[str, float]] = {}
    for at in published_table("3.2").to_dict("records"):
        known = {name: at[name] for name in PRINTED if at[name] == at[name]}
        rankings[at["dataset"], "", at["row"]] = known
    for at in published_table("3.3").to_dict("records"):
        rankings[at["dataset"], at["level"], at["row"]] = {"g": at["map"]}
    dimensions: dict[tuple[str, str], dict[int | None, float]] = {}
    for at in published_table("3.4").to_dict("records"):
        d = int(at["dimension"]) if at["dimension"] == at["dimension"] else None
        dimensions.setdefault((at["dataset"], at["row"]), {})[d] = at["map"]
    return [
        Figures(
            task,
            level,
            row,
            row,
            trained.get(row, ""),
            tuple(row.split(ENSEMBLE)) if ENSEMBLE in row else (),
            found,
            {} if level else dimensions.get((task, row), {}),
        )
        for (task, level, row), found in rankings.items()
    ]


def run_figures(parameters: RetrievalEvalParameters, results: Results) -> list[Figures]:
    """Those of a run, level by level."""
    made = []
    rows = published_rows(parameters)
    for task, encoders in results.evaluations.items():
        for name, evaluation in encoders.items():
            config, sweep = parameters.encoders.get(name), results.sweeps.get(task, {}).get(name)
            for level in evaluation.rankings["g"]:
                swept: dict[int | None, float] = {}
                if sweep is not None:
                    swept = {d: 100 * means[level].map for d, means in sweep.dimensions.items()}
                    if sweep.true_dimension is not None:
                        swept[None] = 100 * sweep.true_dimension[level].map
                made.append(
                    Figures(
                        task,
                        level,
                        name,
                        rows.get(name, ""),
                        config.supervision if config else "",
                        parameters.ensembles.get(name, ()),
                        {n: 100 * of[level].map for n, of in evaluation.rankings.items()},
                        swept,
                    )
                )
    return made


def _by_data(figures: Sequence[Figures]) -> Iterator[list[Figures]]:
    """Figures of one data set and level together."""
    for _, found in groupby(figures_in_order(figures), lambda of: (of.task, of.level)):
        yield list(found)


def figures_in_order(figures: Sequence[Figures]) -> list[Figures]:
    """The same, those of one data set and level side by side, in the order they came in."""
    order = {(of.task, of.level): at for at, of in reversed(list(enumerate(figures)))}
    return sorted(figures, key=lambda of: order[of.task, of.level])


def baseline_of(figures: Sequence[Figures]) -> Figures | None:
    """The supervised encoder among figures of one data set and level: the first."""
    return next((of for of in figures if of.trained == "supervised"), None)


def _supervision(figures: Sequence[Figures]) -> Iterator[Case]:
    for found in _by_data(figures):
        baseline = baseline_of(found)
        for of in found if baseline else []:
            if of.trained == "self-supervised" and baseline:
                yield _above(of.where, of.rankings["g"], baseline.rankings["g"], baseline.name)


def _above(where: str, value: float, other: float, than: str) -> Case:
    return Case(value > other, f"{where} ({value:.2f}, {than} {other:.2f})")


def _true_dimension(figures: Sequence[Figures]) -> Iterator[Case]:
    for of in figures:
        others = {d: value for d, value in of.dimensions.items() if d is not None}
        if others and None in of.dimensions:
            best = max(others, key=others.__getitem__)
            own = of.dimensions[None]
            words = f"{of.where} ({others[best]:.2f} at {best}, {own:.2f} at its own)"
            yield Case(others[best] > own, words)


def _reranking(figures: Sequence[Figures]) -> Iterator[Case]:
    for of in figures:
        for name in PRINTED[1:]:
            if name in of.rankings:
                where = f"{RANKINGS[name]}, {of.where}"
                yield _above(where, of.rankings[name], of.rankings["g"], "G")


def _no_best_reranking(figures: Sequence[Figures]) -> Iterator[Case]:
    whole = [of for of in figures if set(PRINTED) <= set(of.rankings)]
    best = [max(PRINTED, key=of.rankings.__getitem__) for of in whole]
    if best:
        most = max(best, key=best.count)
        words = f"{RANKINGS[most]} is best in {best.count(most)} of {len(best)} rows"
        yield Case(best.count(most) < len(best), words)


def _ensembles(figures: Sequence[Figures]) -> Iterator[Case]:
    for found in _by_data(figures):
        single = {of.name: of.rankings["g"] for of in found if not of.members}
        for of in found:
            known = {name: single[name] for name in of.members if name in single}
            if known and len(known) == len(of.members):
                best = max(known, key=known.__getitem__)
                yield _above(of.where, of.rankings["g"], known[best], best)


_OWN_DOMAIN = ("oxford5k", "paris6k", "roxford5k", "rparis6k")


def _upper_bound(figures: Sequence[Figures]) -> Iterator[Case]:
    for found in _by_data(figures):
        for of in found:
            if of.trained != "fine-tuned" or of.task not in _OWN_DOMAIN:
                continue
            for name, value in of.rankings.items():
                others = {
                    o.name: o.rankings[name] for o in found if o is not of and name in o.rankings
                }
                if name in PRINTED and others:
                    best = max(others, key=others.__getitem__)
                    yield _above(f"{RANKINGS[name]}, {of.where}", value, others[best], best)


def _other_domain(figures: Sequence[Figures]) -> Iterator[Case]:
    for found in _by_data(figures):
        tuned = next((of for of in found if of.trained == "fine-tuned"), None)
        for of in found if tuned and tuned.task == "instre" else []:
            if of.trained == "self-supervised" and tuned:
                yield _above(of.where, of.rankings["g"], tuned.rankings["g"], tuned.name)


def _size(figures: Sequence[Figures]) -> Iterator[Case]:
    for found in _by_data(figures):
        rows = {of.row: of for of in found}
        for less, more in pairwise(f"SimCLR {n}x" for n in (1, 2, 4)):
            if less in rows and more in rows:
                small, large = rows[less], rows[more]
                yield _above(large.where, large.rankings["g"], small.rankings["g"], small.name)


def _amdim(figures: Sequence[Figures]) -> Iterator[Case]:
    for found in _by_data(figures):
        amdim = next((of for of in found if of.row == "AMDIM"), None)
        for of in found if amdim else []:
            if of.trained == "self-supervised" and of is not amdim and amdim:
                yield _above(of.where, of.rankings["g"], amdim.rankings["g"], amdim.name)


CLAIMS = (
    Claim(
        "supervision",
        "Self-supervised encoders surpass the supervised baseline in many settings (RQ1).",
        "3.5, Tables 3.2 and 3.3",
        _supervision,
    ),
    Claim(
        "true_dimension",
        "The best dimension is never the true dimension.",
        "3.4.2, Table 3.4",
        _true_dimension,
    ),
    Claim(
        "reranking",
        "Every re-ranking adds to global search, with every encoder.",
        "3.4.2, Table 3.2",
        _reranking,
    ),
    Claim(
        "no_best_reranking",
        "No re-ranking is the best throughout.",
        "3.4.2, Table 3.2",
        _no_best_reranking,
    ),
    Claim(
        "ensembles",
        "An ensemble finds more than each of its members; consistently on Oxford5k.",
        "3.4.2, Tables 3.2 and 3.3",
        _ensembles,
    ),
    Claim(
        "upper_bound",
        "GeM (AP), fine-tuned on landmarks, outperforms all on Oxford and Paris.",
        "3.4.2, remark 1",
        _upper_bound,
    ),
    Claim(
        "other_domain",
        "On INSTRE self-supervised encoders find more than the fine-tuned one.",
        "3.4.2, remark 1",
        _other_domain,
    ),
    Claim("size", "Larger models find more: SimCLR 4x, 2x, 1x.", "3.4.2, remark 2", _size),
    Claim(
        "amdim",
        "AMDIM finds less than every other self-supervised encoder.",
        "3.4.2, remark 3",
        _amdim,
    ),
)
