"""Tables and page of chapter 3 from results as a run leaves them: published beside measured."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest

from ssl_kedro.pipelines.entrance import nested
from ssl_kedro.pipelines.parameters import parsed
from ssl_kedro.pipelines.retrieval_eval.parameters import RetrievalEvalParameters
from ssl_kedro.pipelines.retrieval_eval.records import (
    Evaluation,
    Extraction,
    Results,
    Sweep,
    TaskSummary,
)
from ssl_kedro.pipelines.retrieval_eval.report.page import report
from ssl_kedro.pipelines.retrieval_eval.report.questions import answers
from ssl_kedro.pipelines.retrieval_eval.report.tables import RANKINGS
from ssl_kedro.pipelines.retrieval_eval.report.tables import tables as all_tables
from ssl_kedro.reporting.manifest import run_manifest
from ssl_kedro.retrieval.extraction import Extracted
from ssl_kedro.retrieval.scoring import MeanScore, MeanScores, QueryScores

CHANCE = MeanScores(0.01, 0.0, 0.0, 0.0)
SCORES = QueryScores(0.25, 0.5, 0.4, 0.3, (0.25, None))


def parameters() -> RetrievalEvalParameters:
    values: dict[str, Any] = {
        "evaluate": ["oxford5k", "roxford5k"],
        "datasets": {name: {"source": "facades"} for name in ("oxford5k", "roxford5k")},
        "encoders": {
            "base": {"kind": "random", "row": "Baseline"},
            "wide": {"kind": "random", "row": "SimCLR 2x"},
            "mine": {"kind": "pixels"},
        },
        "ensembles": {"two": ["base", "mine"]},
    }
    return parsed(RetrievalEvalParameters, "retrieval_eval", values)


def results() -> Results:
    def evaluation(*levels: str) -> Evaluation:
        scores = dict.fromkeys(levels, SCORES)
        return Evaluation("other", True, 128, "exact", dict.fromkeys(RANKINGS, scores))

    encoders = ("base", "wide", "mine", "two")
    part = Extracted({}, [], 2.0, 10, 30, 512)
    return Results(
        evaluations={
            "oxford5k": {name: evaluation("") for name in encoders},
            "roxford5k": {name: evaluation("easy", "medium", "hard") for name in encoders},
        },
        extractions={"oxford5k": {"base": Extraction(24_000_000, part, part)}},
        sweeps={
            "oxford5k": {
                "base": Sweep({32: {"": MeanScore(0.5)}}, {}, {"": MeanScore(0.4)}, 2048),
                "mine": Sweep({32: {"": MeanScore(0.5)}}),
            }
        },
    )


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    return all_tables(parameters(), results())


def test_published_figures_stand_in_the_rows_of_their_encoders(
    tables: dict[str, pd.DataFrame],
) -> None:
    classic = tables["table_3_2"].set_index(["task", "level", "encoder"])
    printed = [f"published_{name}" for name in ("g", "aqe", "dba", "dba_aqe")]
    assert classic.loc[("oxford5k", "", "base"), printed].tolist() == [55.12, 67.85, 62.63, 70.6]
    assert classic.loc[("oxford5k", "", "wide"), "published_g"] == 58.59
    assert classic.loc[("oxford5k", "", "mine"), printed].isna().all()
    assert classic.loc[("roxford5k", "hard", "base"), printed].isna().all()
    assert classic.loc[("oxford5k", "", "base"), "difference_g"] == pytest.approx(25 - 55.12)
    assert (classic[list(RANKINGS)] == 25).all().all()
    revisited = tables["table_3_3"].set_index(["task", "level", "encoder"])
    assert set(revisited.index.get_level_values("task")) == {"roxford5k"}
    row = revisited.loc[("roxford5k", "hard", "base")]
    assert row[["map", "mp5", "mp10"]].tolist() == pytest.approx([25, 40, 30])
    expected = [12.1, 23.71, 19.43]
    assert row[["published_map", "published_mp5", "published_mp10"]].tolist() == expected


def test_dimensions_and_costs(tables: dict[str, pd.DataFrame]) -> None:
    dimensions = tables["table_3_4"]
    base = dimensions[dimensions["encoder"] == "base"]
    assert base["dimension"].tolist() == [32, pd.NA]
    assert base["map"].tolist() == [50, 40]
    assert base["published_map"].tolist() == [48.31, 58.47]
    assert dimensions[dimensions["encoder"] == "mine"]["published_map"].isna().all()
    (cost,) = tables["table_3_1"].to_dict("records")
    assert (cost["images"], cost["seconds"], cost["images_per_second"]) == (20, 4, 5)
    assert cost["published_parameters"] == 24_000_000


def test_the_page_shows_what_is_published_where_it_is_known(
    tables: dict[str, pd.DataFrame],
) -> None:
    summary = {"queries": 2, "fingerprint": "f", "without_positives": {"": ("lost",)}}
    data = {
        "oxford5k": TaskSummary(True, 10, **summary, chance={"": CHANCE}),
        "roxford5k": TaskSummary(True, 10, **summary, chance={"medium": CHANCE}),
    }
    manifest = run_manifest(
        seed=0,
        data={"images": {}, "fingerprints": {}, "skipped": []},
        execution={"device": "cpu", "precision": "fp32"},
        parameters={},
        training_seconds=0.0,
        origins={},
    )
    answered = answers(parameters(), results())
    page = report(parameters(), data, results(), manifest, **tables, **answered)
    classic, revisited = (
        page.split(f"Table 3.2: {title}</h2>")[1].split("</section>")[0]
        for title in ("oxford5k", "roxford5k, medium")
    )
    assert "Published, thesis Table 3.2" in classic
    assert "67.85" in classic
    assert "Published, thesis Table 3.2" not in revisited
    assert "roxford5k, thesis Table 3.3" in page
    assert "roxford5k, run less published" in page
    assert "\N{MINUS SIGN}30.12" in classic  # 25 less 55.12
    assert "24.00 M" in page.split("Table 3.1: encoders</h2>")[1].split("</section>")[0]
    assert "lost" in page


def test_names_of_what_is_gathered_say_where_it_belongs() -> None:
    assert nested({"a.b.c": 1, "a.b.d": 2, "e": 3}) == {"a": {"b": {"c": 1, "d": 2}}, "e": 3}


def test_the_best_encoder_and_its_headline() -> None:
    found = results()
    assert found.evaluations["roxford5k"]["base"].level == "medium"
    assert math.isclose(found.evaluations["oxford5k"]["base"].headline("dba"), 0.25)
    assert found.best_encoder("oxford5k") == "base"
