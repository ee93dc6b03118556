"""What the thesis claims, counted in its tables and in a run; and RQ1 paired by query."""

from __future__ import annotations

import math
import statistics
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ssl_kedro.images.photographs import ArrayPhotographs
from ssl_kedro.pipelines.parameters import parsed
from ssl_kedro.pipelines.retrieval_eval.parameters import RetrievalEvalParameters
from ssl_kedro.pipelines.retrieval_eval.records import Evaluation, Results, Sweep, TaskSummary
from ssl_kedro.pipelines.retrieval_eval.report.claims import CLAIMS, printed_figures
from ssl_kedro.pipelines.retrieval_eval.report.galleries import compared_section
from ssl_kedro.pipelines.retrieval_eval.report.questions import (
    answers,
    questions_section,
    supervision_section,
    verdict,
)
from ssl_kedro.pipelines.retrieval_eval.report.set_up import set_up_section
from ssl_kedro.pipelines.retrieval_eval.report.table_sections import dimension_section
from ssl_kedro.retrieval.ground_truth.model import GroundTruth
from ssl_kedro.retrieval.scoring import MeanScore, MeanScores, QueryScores
from ssl_kedro.retrieval.sets import RetrievalSet

# Counted by hand in Tables 3.2 to 3.4.
BY_HAND = {
    "supervision": (33, 54),  # 4, 5, 2 of 6 in Table 3.2; 5, 4, 2, 5, 3, 3 in Table 3.3
    "true_dimension": (20, 21),
    "reranking": (115, 115),  # 39 rows less the two figures that are not printed
    "no_best_reranking": (0, 1),
    "other_domain": (6, 6),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_claims_in_the_thesis_own_tables(name: str) -> None:
    (claim,) = (claim for claim in CLAIMS if claim.name == name)
    cases = list(claim.cases(printed_figures()))
    assert (sum(case.holds for case in cases), len(cases)) == BY_HAND[name]


def test_where_the_thesis_own_tables_say_otherwise() -> None:
    against = {
        claim.name: [case.words for case in claim.cases(printed_figures()) if not case.holds]
        for claim in CLAIMS
    }
    assert against["true_dimension"] == ["Baseline on oxford5k (57.52 at 256, 58.47 at its own)"]
    assert against["no_best_reranking"] == ["+ DBA + AQE is best in 37 of 37 rows"]
    assert "SimCLR 2x + AMDIM on oxford5k (57.06, SimCLR 2x 58.59)" in against["ensembles"]
    aqe = "+ AQE, GeM (AP) on paris6k (63.46, MoCo v2 64.46)"
    assert aqe in against["upper_bound"]
    assert "SimCLR 4x on paris6k (44.96, SimCLR 2x 44.48)" not in against["size"]
    assert against["amdim"] == []


AP = {
    "baseline": (0.50, 0.30, None, 0.40, 0.20),
    "better": (0.71, 0.52, None, 0.60, 0.41),
    "alike": (0.38, 0.40, None, 0.44, 0.14),
    "worse": (0.30, 0.11, None, 0.20, 0.01),
    "pixels": (0.10, 0.10, None, 0.10, 0.10),
}


def parameters(task: str = "oxford5k", **changes: Any) -> RetrievalEvalParameters:
    encoders: dict[str, Any] = {
        name: {"kind": "random", "trained": "self-supervised"} for name in AP if name != "pixels"
    }
    encoders["baseline"] |= {"trained": "supervised", "row": "Baseline"}
    encoders["better"] |= {"row": "SimCLR 4x", "adapt_batch_norm": False}
    encoders["worse"] |= {"row": "SimCLR 1x"}
    encoders["pixels"] = {"kind": "pixels"}
    values = {
        "evaluate": [task],
        "datasets": {task: {"source": "facades"}},
        "encoders": encoders,
        "ensembles": {"two": ["better", "alike"]},
    }
    return parsed(RetrievalEvalParameters, "retrieval_eval", values | changes)


def scores(ap: tuple[float | None, ...]) -> QueryScores:
    return QueryScores(statistics.fmean(v for v in ap if v is not None), 0, 0, 0, ap)


def results(task: str = "oxford5k") -> Results:
    def evaluation(ap: tuple[float | None, ...]) -> Evaluation:
        more = tuple(v and v + 0.05 for v in ap)
        rankings = {"g": ap, "aqe": more, "dba": more, "dba_aqe": ap, "alpha_qe": ap}
        of = {name: {"": scores(values)} for name, values in rankings.items()}
        return Evaluation("itself", True, 128, "exact", of, "rmac")

    two = tuple(v and v + 0.01 for v in AP["better"])
    sweep = Sweep({32: {"": MeanScore(0.3)}, 64: {"": MeanScore(0.2)}}, {}, {"": MeanScore(0.4)}, 9)
    return Results(
        evaluations={task: {name: evaluation(ap) for name, ap in {**AP, "two": two}.items()}},
        sweeps={task: {"baseline": sweep}},
    )


def test_self_supervision_is_paired_with_the_baseline_by_query() -> None:
    frame = answers(parameters(), results())["supervision"].set_index("encoder")
    assert [*frame.index] == ["better", "alike", "worse"]  # not pixels, not the baseline
    ours, theirs = (np.array([v for v in AP[n] if v is not None]) for n in ("better", "baseline"))
    row = frame.loc["better"]
    assert row["difference"] == pytest.approx(100 * (ours - theirs).mean())
    assert row["difference_std"] == pytest.approx(100 * (ours - theirs).std(ddof=1))
    assert row["difference_n"] == 4
    assert row["map"] - row["baseline_map"] == pytest.approx(row["difference"])
    assert row["published_difference"] == pytest.approx(59.40 - 55.12)
    assert math.isnan(frame.loc["alike", "published_difference"])
    said = verdict(frame.reset_index())
    assert said == (
        "Against the supervised baseline self-supervised encoders find more in 1 of 3 comparisons: "
        "better on oxford5k (+21.00); find less in 1 of 3 comparisons: worse on oxford5k "
        "(\N{MINUS SIGN}19.50); are not shown to differ in 1 of 3 comparisons: alike on oxford5k "
        "(\N{MINUS SIGN}1.00)."
    )
    section = supervision_section(frame.reset_index())
    (table,) = section.tables
    assert any("95 % interval over queries" in name for name, _ in table.groups)
    assert {row for row, _ in table.decided} == {0, 2}


def test_a_run_without_a_supervised_encoder_says_how_to_have_one() -> None:
    without = parameters(use=["better", "alike"])
    of_run = results()
    found = {k: v for k, v in of_run.evaluations["oxford5k"].items() if k in ("better", "alike")}
    frame = answers(without, Results({"oxford5k": found}))["supervision"]
    assert frame.empty
    assert verdict(frame) == ""
    assert "torchvision_resnet50" in " ".join(supervision_section(frame).paragraphs)


def test_claims_of_a_run() -> None:
    frame = answers(parameters(), results())["questions"].set_index("name")
    assert frame.loc["supervision", "run"] == "1 of 3"
    assert frame.loc["true_dimension", "run"] == "0 of 1"
    assert frame.loc["ensembles", "run"] == "1 of 1"
    assert frame.loc["reranking", "run"] == "12 of 18"  # DBA + AQE adds nothing here
    assert pd.isna(frame.loc["amdim", "run"])
    _, against = questions_section(frame.reset_index()).tables
    said = {row[0]: row[1:] for row in against.rows}
    printed, of_run = said["The best dimension is never the true dimension."]
    assert (printed.split()[0], of_run.split()[0]) == ("Baseline", "baseline")
    assert "AMDIM finds less than every other self-supervised encoder." not in said


def test_the_set_up_names_what_differs_and_what_to_know() -> None:
    data = {"oxford5k": TaskSummary(True, 5063, queries=55)}
    section = set_up_section(parameters(), data, results())
    rows = {row[0]: row[1:] for row in section.tables[0].rows}
    assert rows["oxford5k: images"] == ["5,063", "5,062"]
    assert rows["SimCLR 4x: batch norms adapted"] == ["no", "yes"]
    assert "Baseline: batch norms adapted" not in rows
    data = {"instre": TaskSummary(True, 27_293, queries=1250)}
    values = parameters("instre")
    section = set_up_section(values, data, results("instre"))
    assert ["instre: queries", "1,250", "1,200"] in [list(row) for row in section.tables[0].rows]
    assert any("1,200" in text for text in section.paragraphs)
    assert not any("89.1" in text for text in section.paragraphs)


def test_table_3_4_has_the_published_rows_beneath() -> None:
    data = {"oxford5k": TaskSummary(True, 5063, chance={"": MeanScores(0.01, 0, 0, 0)})}
    (section,) = dimension_section(parameters(), data, results())
    (table,) = section.tables
    assert [*table.columns] == [
        "Encoder",
        "",
        "32",
        "64",
        "128",
        "256",
        "512",
        "1024",
        "2048",
        "own",
    ]
    run, thesis, less = table.rows
    assert run[:4] == ["baseline", "run", "30.00", "20.00"]
    assert thesis[:3] + thesis[-1:] == ["Baseline", "thesis", "48.31", "58.47"]
    assert less[2] == "\N{MINUS SIGN}18.31"


def task_of(images: int, side: int) -> RetrievalSet:
    pixels = np.random.default_rng(0).integers(0, 256, (images, 3, side, side), dtype=np.uint8)
    names = [f"i{n}.jpg" for n in range(images)]
    lists = {"ok": [np.array([0, 1])] * 5, "junk": [np.array([2])] * 5}
    queries = ArrayPhotographs(pixels[:5], [*"abcde"])
    truth = GroundTruth(tuple(names), tuple("abcde"), lists)
    return RetrievalSet("oxford5k", ArrayPhotographs(pixels, names), queries, truth, True)


def test_one_query_has_a_row_an_encoder_with_right_and_wrong_marked() -> None:
    values, task = parameters(gallery={"results": 4, "encoders": 3}), task_of(6, 8)
    ranked = np.tile(np.array([[3], [0], [2], [1], [4], [5]]), (1, 5))
    rankings = {name: {"g": np.roll(ranked, at, axis=0)} for at, name in enumerate([*AP, "two"])}
    (section,) = compared_section(values, task, rankings, results())
    query, *rows = section.thumbnails
    # The means over encoders of the queries' AP, best first: a, d, b, e; c has nothing to find.
    assert query.pictures[0].description == "query: b"
    assert [row.words.split(":")[0] for row in rows] == ["two", "better", "baseline"]
    assert rows[0].words.endswith("AP 53.0\N{NO-BREAK SPACE}%")
    marks = [picture.mark for picture in rows[2].pictures]
    assert marks == ["wrong", "correct", "junk", "correct"]
    assert [picture.words for picture in rows[2].pictures][:2] == ["1 wrong", "2 correct"]
    assert 'class=" correct"' not in rows[2].__html__()
    assert 'class="correct"' in rows[2].__html__()


def test_four_data_sets_by_all_encoders_of_the_thesis_are_a_page_below_5_mb() -> None:
    task, of = task_of(120, 96), results().evaluations["oxford5k"]["better"]
    found = Results({"oxford5k": {f"e{n}": of for n in range(14)}})
    generator = np.random.default_rng(1)
    ranked = [np.stack([generator.permutation(120) for _ in range(5)], 1) for _ in range(14)]
    rankings = {f"e{n}": {"g": one} for n, one in enumerate(ranked)}
    (section,) = compared_section(parameters(), task, rankings, found)
    assert len(section.thumbnails) == 15
    # Noise is as large as a JPEG file can be; photographs take about half.
    assert sum(len(row.__html__()) for row in section.thumbnails) < 1_250_000
