"""Tables, figures and report of chapter 4 from hand-made results."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from pydantic import TypeAdapter

from ssl_kedro.pipelines.saliency360.records import Results
from ssl_kedro.pipelines.saliency360.report.differences import judged_model, paired_differences
from ssl_kedro.pipelines.saliency360.report.figures import overlay_sheet
from ssl_kedro.pipelines.saliency360.report.page import Deployed, saliency_report
from ssl_kedro.pipelines.saliency360.report.tables import all_tables
from ssl_kedro.reporting.number_format import signed
from ssl_kedro.reporting.published import published_table
from ssl_kedro.saliency.metric import metrics


def interval(mean: float | None, half: float | None = 0.02) -> dict[str, Any]:
    if mean is None or half is None:
        return {"mean": mean, "low": None, "high": None, "images": 1}
    return {"mean": mean, "low": mean - half, "high": mean + half, "images": 10}


def scored(cc: float) -> dict[str, Any]:
    return {
        mode: {metric: interval(cc if metric == "cc" else 0.5) for metric in metrics()}
        for mode in ("sphere", "planar")
    }


def encoder(kind: str = "contrastive", **changes: Any) -> dict[str, Any]:
    found = {
        "kind": kind,
        "architecture": "resnet50",
        "width": 0.25,
        "local_weight": 0.7,
        "attention": True,
        "projections": True,
        "images": 90,
        "epochs": 2,
        "seconds": 12.0,
        "temperature": None,
        "chance_loss": 6.5,
        "precision": "fp32",
        "macs": 3_500_000_000,
        "parameters": 9_330_000,
        "history": [{"epoch": 1, "loss": 7.0}, {"epoch": 2, "loss": 6.0}],
    }
    return {**found, **changes}


def model(encoder_name: str, decoder: str = "light", **changes: Any) -> dict[str, Any]:
    found = {
        "encoder": encoder_name,
        "decoder": decoder,
        "fine_tune": False,
        "recipe": [],
        "encoder_macs": 3_500_000_000,
        "decoder_macs": 160_000_000 if decoder == "light" else 17_460_000_000,
        "decoder_parameters": 320_000,
        "epochs": 2,
        "seconds": 3.0,
        "history": [{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": 0.9}],
    }
    return {**found, **changes}


def results(gain: float = 0.2, half: float | None = 0.05) -> dict[str, Any]:
    ccs = {"contrastive": 0.4 + gain, "random": 0.3, "uniform": 0.0, "equator": 0.4, "mean": 0.45}
    ccs["ceiling"] = 0.9
    return {
        "seed": 0,
        "recipe": "fixed",
        "image": {"height": 160, "width": 320},
        "intervals": {"level": 0.95, "resamples": 1000},
        "datasets": {
            "mine": {
                "images": 10,
                "scenes": 5,
                "folds": 0,
                "viewers": 20,
                "fixations": 2000,
                "truth": "maps",
                "role": "main",
                "skipped": [],
            }
        },
        "encoders": {"contrastive": encoder(), "random": encoder("random", history=[])},
        "models": {"contrastive": model("contrastive"), "random": model("random")},
        "scores": {"mine": {name: scored(cc) for name, cc in ccs.items()}},
        "differences": {
            "mine": {
                name: {"sphere": {m: interval(cc - 0.4, half) for m in metrics()}}
                for name, cc in ccs.items()
            }
        },
        "runtime": [
            {
                "stage": "total",
                "model": "contrastive",
                "batch": 1,
                "ms": 50.0,
                "device": "cpu",
                "threads": 1,
            }
        ],
        "per_image": {},
        "panoramas": {},
    }


MANIFEST = {
    "created": "2026-01-01T00:00:00",
    "seed": 0,
    "git_commit": None,
    "python": "3.12",
    "platform": "Linux",
    "versions": {"torch": "2"},
    "execution": {"device": "cpu", "precision": "fp32"},
    "training_seconds": 15.0,
    "earlier_results": {},
    "peak_memory_mb": None,
    "data": {"images": {"mine": 10}, "fingerprints": {"mine": "f"}, "skipped": []},
}


def typed(found: dict[str, Any]) -> Results:
    return TypeAdapter(Results).validate_python(found)


def table(number: int, found: dict[str, Any]) -> pd.DataFrame:
    return all_tables(typed(found))[f"table_4_{number}"]


def report(found: dict[str, Any], sheet: Figure | None = None, notes: Sequence[str] = ()) -> str:
    made = typed(found)
    differences, sheet = paired_differences(made), sheet or overlay_sheet([], [])
    deployed = Deployed("contrastive", "models/contrastive/all")
    tables = all_tables(made)
    return saliency_report(made, differences, MANIFEST, tables, sheet, notes, deployed)


# --- published figures


def test_published_figures_as_printed() -> None:
    first = published_table("4.1").set_index(["dataset", "model", "setting"])
    assert len(first) == 18
    ours = first.loc[("VR-EyeTracking + Sitzmann", "ResNet", "(ii)")]
    assert ours[["auc_judd", "nss", "cc", "sim", "kld"]].tolist() == [
        0.869,
        2.089,
        0.329,
        0.248,
        7.110,
    ]
    times = published_table("4.2").set_index("model")["seconds"]
    assert times["ATSAL"] / times["Ours (ResNet-based)"] == pytest.approx(9.2)
    assert published_table("4.3").set_index(["setting", "local_weight"]).loc[
        ("(ii)", 0.7), "cc"
    ] == (0.308)
    assert published_table("4.4").set_index("projections")["kld"].tolist() == [0.999, 0.849]


# --- tables


def test_every_model_and_baseline_has_a_row_in_every_mode() -> None:
    found = table(1, results())
    own = found[found["source"] == "this run"]
    assert len(own) == 6 * 2
    row = own[(own["model"] == "contrastive") & (own["mode"] == "sphere")].iloc[0]
    assert (row["cc"], row["cc_low"], row["setting"]) == (
        pytest.approx(0.6),
        pytest.approx(0.58),
        "(ii)",
    )
    assert row["encoder"] == "resnet50, contrastive"
    assert (found["source"] == "published").sum() == 18


def test_ablations_have_rows_only_where_there_is_something_to_compare() -> None:
    found = results()
    for number in (3, 4):
        assert (table(number, found)["source"] == "published").all()
    found["encoders"]["lambda_50"] = encoder(local_weight=0.5)
    found["models"]["lambda_50"] = model("lambda_50")
    found["scores"]["mine"]["lambda_50"] = scored(0.55)
    own = table(3, found)
    own = own[own["source"] == "this run"]
    assert own["local_weight"].tolist() == [0.5, 0.7]
    assert own["cc"].tolist() == [pytest.approx(0.55), pytest.approx(0.6)]
    assert (table(4, found)["source"] == "published").all()


def test_ablations_leave_out_models_that_differ_in_something_else() -> None:
    """Another decoder, a fine-tuned encoder or a smaller network says nothing about lambda."""
    found = results()
    found["encoders"]["lambda_50"] = encoder(local_weight=0.5)
    found["encoders"]["small"] = encoder(local_weight=0.9, width=0.125)
    found["models"] |= {
        "lambda_50": model("lambda_50"),
        "heavy": model("contrastive", "thesis"),
        "tuned": model("contrastive", fine_tune=True),
        "small": model("small"),
    }
    found["scores"]["mine"] |= dict.fromkeys(("lambda_50", "heavy", "tuned", "small"), scored(0.5))
    own = table(3, found)
    assert own[own["source"] == "this run"]["model"].tolist() == ["lambda_50", "contrastive"]
    assert (table(4, found)["source"] == "published").all()
    found["encoders"]["flat"] = encoder(projections=False)
    found["models"]["flat"] = model("flat")
    found["scores"]["mine"]["flat"] = scored(0.5)
    own = table(4, found)
    assert own[own["source"] == "this run"]["model"].tolist() == ["flat", "contrastive"]


def test_every_published_row_names_its_data() -> None:
    for number in (1, 3, 4):
        assert table(number, results())["dataset"].notna().all()


def test_run_times_stand_beside_the_published_ones() -> None:
    times = table(2, results()).set_index("model")["ms"]
    assert times["contrastive"] == 50.0
    assert times["Ours (ResNet-based)"] == pytest.approx(25)


# --- report


def test_the_report_holds_everything_and_nothing_from_elsewhere() -> None:
    found = results()
    picture = np.full((3, 32, 64), 120, dtype=np.uint8)
    truth = np.random.default_rng(0).random((16, 32)) + 0.1
    sheet = overlay_sheet(
        [("a<b>.jpg", picture, truth, {"contrastive": truth}, {"contrastive": 0.5})],
        ["contrastive"],
    )
    page = report(found, sheet, ["Something <differs>."])
    for text in ("Table 4.1: mine", "Table 4.2", "Something &lt;differs&gt;.", "UNISAL", "GMAC"):
        assert text in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "Table 4.3" not in page
    assert "Against what sees no image" in page
    assert "models/contrastive/all" in page and "--tags predict" in page
    assert "+0.200 [+0.150, +0.250], better" in page
    assert "None" not in page
    without = copy.deepcopy(found)
    for modes in without["scores"]["mine"].values():
        for mode in modes.values():
            mode["nss"] = interval(None)
    assert "Table 4.1" in report(without)


def test_the_report_bears_one_panorama_and_unknown_numbers() -> None:
    found = results(half=None)
    found["datasets"]["mine"] |= {"images": 1, "scenes": 1, "viewers": None, "fixations": None}
    for name in found["scores"]["mine"]:
        for mode in found["scores"]["mine"][name].values():
            mode["info_gain"] = mode["sauc"] = interval(None)
    found["runtime"] = []
    page = report(found)
    assert "single scene" in page
    assert "None" not in page
    assert ">nan<" not in page
    assert ", better" not in page


def test_ablations_are_shown_where_there_are_some() -> None:
    found = results()
    found["encoders"]["flat"] = encoder(projections=False)
    found["models"]["flat"] = model("flat")
    found["scores"]["mine"]["flat"] = scored(0.5)
    found["models"]["flat"]["recipe"] = []
    found["models"]["sideways"] = model("contrastive") | {"recipe": ["raw_bgr", "tuned_norms"]}
    found["scores"]["mine"]["sideways"] = scored(0.25)
    page = report(found)
    assert "Table 4.4: projections" in page
    assert "<td>yes</td>" in page
    row = page[page.index("raw bgr, tuned norms") :].split("</tr>")[0]
    assert judged_model(typed(found)) == "contrastive"
    before = found["scores"]["mine"]["contrastive"]["sphere"]["cc"]["mean"]
    assert signed(0.25 - before, 3) in row


def test_a_model_with_quirks_is_neither_judged_nor_compared_in_ablations() -> None:
    found = results()
    found["encoders"]["half"] = encoder(local_weight=0.5)
    found["models"]["half"] = model("half") | {"recipe": ["raw_bgr"]}
    found["scores"]["mine"]["half"] = scored(0.5)
    shown = table(3, found)
    assert "half" not in set(shown["model"].dropna())
    found["models"]["half"]["recipe"] = []
    assert "half" in set(table(3, found)["model"].dropna())


def test_a_contrastive_model_with_quirks_is_judged_before_a_random_one() -> None:
    found = results()
    found["models"]["contrastive"]["recipe"] = ["raw_bgr"]
    found["models"]["random"]["recipe"] = []
    assert judged_model(typed(found)) == "contrastive"
    page = report(found)
    # Nothing made without quirks is there to compare it with.
    assert "What the authors' quirks change" not in page.replace("&#39;", "'")
    assert "is not known" in page
