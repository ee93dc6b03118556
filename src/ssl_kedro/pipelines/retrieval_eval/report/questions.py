"""Answers to chapter 3's questions: its claims, and self-supervision against supervision."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ssl_kedro.core.errors import first_few
from ssl_kedro.evaluation.paired import half_interval
from ssl_kedro.pipelines.retrieval_eval.parameters import RetrievalEvalParameters
from ssl_kedro.pipelines.retrieval_eval.records import Results
from ssl_kedro.pipelines.retrieval_eval.report.claims import (
    CLAIMS,
    Case,
    Claim,
    Figures,
    baseline_of,
    figures_in_order,
    printed_figures,
    run_figures,
)
from ssl_kedro.reporting.differences import PairedDifference, paired, paired_difference
from ssl_kedro.reporting.html import Section, Table
from ssl_kedro.reporting.number_format import DASH, signed, signed_with_std
from ssl_kedro.reporting.table import PUBLISHED, RUN, Column, computed, shown, word

# Exceptions of a claim that the page names.
_NAMED = 4
_DIFFERENCE = "Less the baseline"
# By the sign of a difference that is more than chance, 0 where it is not.
_PHRASES = {1: "find more", -1: "find less", 0: "are not shown to differ"}


def answers(parameters: RetrievalEvalParameters, results: Results) -> dict[str, pd.DataFrame]:
    """A row a claim under "questions"; under "supervision" one an encoder and data set."""
    printed, run = printed_figures(), run_figures(parameters, results)
    judged = [
        _Judged(claim, list(claim.cases(printed)), list(claim.cases(run))) for claim in CLAIMS
    ]
    return {
        "questions": computed(QUESTIONS, judged),
        "supervision": computed(SUPERVISION, _compared(results, run, printed)),
    }


@dataclass(frozen=True)
class _Judged:
    """A claim with its cases in the thesis' tables and in the run."""

    claim: Claim
    printed: Sequence[Case]
    run: Sequence[Case]


def _count(cases: Sequence[Case]) -> str | None:
    return f"{sum(case.holds for case in cases)} of {len(cases)}" if cases else None


def _exceptions(cases: Sequence[Case]) -> str | None:
    return first_few([case.words for case in cases if not case.holds], _NAMED) or None


QUESTIONS: tuple[Column[_Judged], ...] = (
    Column("name", lambda of: of.claim.name),
    Column("says", lambda of: of.claim.says, "The thesis says", text=word, left=True),
    Column("where", lambda of: of.claim.where, "Where", text=word, left=True),
    Column("printed", lambda of: _count(of.printed), "holds in its tables", text=word),
    Column("run", lambda of: _count(of.run), "holds in this run", text=word),
    Column("printed_not", lambda of: _exceptions(of.printed)),
    Column("run_not", lambda of: _exceptions(of.run)),
)


@dataclass(frozen=True)
class _Compared:
    """A self-supervised encoder and the supervised one on the same queries."""

    of: Figures
    baseline: Figures
    difference: PairedDifference
    printed: float


def _compared(
    results: Results, run: Sequence[Figures], printed: Sequence[Figures]
) -> list[_Compared]:
    known = {(of.task, of.level, of.row): of.rankings["g"] for of in printed}
    made = []
    for of in figures_in_order(run):
        same = [o for o in run if (o.task, o.level) == (of.task, of.level)]
        baseline = baseline_of(same)
        if of.trained != "self-supervised" or baseline is None:
            continue
        ours, theirs = (
            {
                query: value
                for query, value in enumerate(
                    results.evaluations[o.task][o.name].rankings["g"][o.level].ap
                )
                if value is not None
            }
            for o in (of, baseline)
        )
        figures = [known.get((of.task, of.level, o.row), math.nan) for o in (of, baseline)]
        difference = paired_difference(ours, theirs)
        made.append(_Compared(of, baseline, difference, figures[0] - figures[1]))
    return made


SUPERVISION: tuple[Column[_Compared], ...] = (
    Column("encoder", lambda row: row.of.name, "Encoder", text=word, left=True),
    Column("task", lambda row: row.of.task, "Data set", text=word, left=True),
    Column("level", lambda row: row.of.level or None, "Level", text=word, left=True),
    Column("baseline", lambda row: row.baseline.name, "Baseline", text=word, left=True),
    Column("map", lambda row: row.of.rankings["g"], "mAP", RUN),
    Column("baseline_map", lambda row: row.baseline.rankings["g"], "Baseline", RUN),
    *paired("difference", lambda row: row.difference, "mAP", _DIFFERENCE, over="queries"),
    Column("published_difference", lambda row: row.printed, "mAP", PUBLISHED, signed_with_std),
)


def verdict(frame: pd.DataFrame) -> str:
    """Whether self-supervision beats the supervised baseline, in a sentence; "" if not asked."""
    if frame.empty:
        return ""
    found: dict[str, list[str]] = {phrase: [] for phrase in _PHRASES.values()}
    for row in frame.to_dict("records"):
        level = "" if pd.isna(row["level"]) or not row["level"] else f", {row['level']}"
        place = f"{row['encoder']} on {row['task']}{level} ({signed(row['difference'])})"
        found[_PHRASES[_direction(row)]].append(place)
    said = [
        f"{phrase} in {len(of)} of {len(frame)} comparisons: {first_few(of, 6)}"
        for phrase, of in found.items()
        if of
    ]
    return f"Against the supervised baseline self-supervised encoders {'; '.join(said)}."


def _direction(row: Mapping[Any, Any]) -> int:
    n, std, difference = row["difference_n"], row["difference_std"], row["difference"]
    if n < 2 or pd.isna(std) or abs(difference) <= half_interval(std, int(n)):
        return 0
    return 1 if difference > 0 else -1


def questions_section(questions: pd.DataFrame) -> Section:
    """What the thesis says, and where its own tables and this run say otherwise."""
    text = (
        "Each claim counted in the thesis' own tables and in this run's, case by case; by figures "
        "alone, whether or not a difference is more than chance. Below: cases in which it does not "
        "hold."
    )
    against = questions.fillna(DASH)
    rows = [[row["says"], row["printed_not"], row["run_not"]] for row in against.to_dict("records")]
    rows = [row for row in rows if row[1:] != [DASH, DASH]]
    columns = ("The thesis says", "not in its tables", "not in this run")
    tables = [shown(QUESTIONS, questions, {"": ""})]
    tables += [Table(columns, rows, left=3, wrap=True)] if rows else []
    return Section("What the thesis says, and what the figures say", [text], tables)


def supervision_section(frame: pd.DataFrame) -> Section:
    """Self-supervised encoders against the supervised one, query by query."""
    title = "RQ1: does self-supervision beat the supervised baseline?"
    if frame.empty:
        text = (
            "This run has no supervised encoder beside a self-supervised one, so that it does not "
            "say. `use` names encoders; kind torchvision_resnet50 is the thesis' baseline, and "
            "encoders.<name>.trained says it of others."
        )
        return Section(title, [text])
    text = (
        "Global search. AP of an encoder less that of the supervised baseline, paired by query; "
        "tinted where the interval does not hold 0. Queries of one building are not independent, "
        "so that intervals are rather too narrow."
    )
    groups = {
        "": "",
        RUN: "This run",
        _DIFFERENCE: _DIFFERENCE,
        PUBLISHED: "The thesis, difference",
    }
    return Section(title, [verdict(frame), text], [shown(SUPERVISION, frame, groups)])
