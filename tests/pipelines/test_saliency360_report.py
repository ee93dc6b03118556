"""Tables, figures and report of chapter 4 from hand-made results."""

from __future__ import annotations

import copy
import math
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
from ssl_kedro.pipelines.saliency360.report.page import Deployed, Sheets, saliency_report
from ssl_kedro.pipelines.saliency360.report.tables import all_tables
from ssl_kedro.reporting.number_format import signed
from ssl_kedro.reporting.published import published_table
from ssl_kedro.saliency.ground_truth import saliency_map
from ssl_kedro.saliency.metric import metrics
from ssl_kedro.saliency.panoramas import Fixations


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
    tables = all_tables(made) | {"table_latitude": by_latitude("contrastive", "equator")}
    sheets = Sheets(sheet, Figure())
    return saliency_report(made, differences, MANIFEST, tables, sheets, notes, deployed)


def by_latitude(*models: str) -> pd.DataFrame:
    """A table as :func:`latitude_table` makes it."""
    bands = [(60.0, 90.0), (-60.0, 60.0), (-90.0, -60.0)]
    rows = [
        {
            **{"model": model, "from_deg": low, "to_deg": high, "looks": 0.02, "predicted": 0.05},
            **{"cc_along": None if low < -60 else 0.25, "panoramas": 10},
            **{"cc_along_low": 0.125, "cc_along_high": 0.375},
        }
        for model in models
        for low, high in bands
    ]
    return pd.DataFrame(rows)


def by_angle(found: pd.DataFrame) -> pd.DataFrame:
    """Rows of the run in sphere mode."""
    return found[(found["source"] == "this run") & (found["mode"] == "sphere")]


def of_the_thesis(differs: Sequence[str] = ()) -> dict[str, Any]:
    """Results on Salient360! of networks like the thesis', scored flat and by solid angle."""
    found = results()
    found["datasets"]["mine"] |= {"published": "Salient360!", "differs": list(differs)}
    found["encoders"] |= {"i": encoder(attention=False), "vgg": encoder(architecture="vgg16")}
    for name in ("i", "vgg"):
        found["models"][name] = model(name)
        found["scores"]["mine"][name] = scored(0.5)
    return found


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
    own = by_angle(table(3, found))
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
    assert by_angle(table(3, found))["model"].tolist() == ["lambda_50", "contrastive"]
    assert (table(4, found)["source"] == "published").all()
    found["encoders"]["flat"] = encoder(projections=False)
    found["models"]["flat"] = model("flat")
    found["scores"]["mine"]["flat"] = scored(0.5)
    assert by_angle(table(4, found))["model"].tolist() == ["flat", "contrastive"]


def test_every_published_row_names_its_data() -> None:
    for number in (1, 3, 4):
        assert table(number, results())["dataset"].notna().all()


PUBLISHED_CC = {"contrastive": 0.584, "i": 0.52, "vgg": 0.538}


def test_published_figures_stand_beside_flat_scores_of_the_same_network() -> None:
    found = table(1, of_the_thesis())
    flat = found[(found["source"] == "this run") & (found["mode"] == "planar")]
    beside = flat.set_index("model")["published_cc"].dropna().to_dict()
    assert beside == PUBLISHED_CC
    assert found[found["mode"] == "sphere"]["published_cc"].isna().all()
    # What the thesis does not score has nothing beside it.
    assert not {"published_sauc", "published_info_gain"} & set(found.columns)
    less = flat.set_index("model")["difference_cc"].dropna().to_dict()
    own = {"contrastive": 0.6, "i": 0.5, "vgg": 0.5}
    assert less == {n: pytest.approx(own[n] - PUBLISHED_CC[n]) for n in PUBLISHED_CC}


@pytest.mark.parametrize("maps", [False, True])
def test_models_of_others_are_known_by_their_names(maps: bool) -> None:
    found = of_the_thesis()
    if maps:
        found["given"] = ["salgan360"]
    else:
        found["models"]["salgan360"] = model("random")
    found["scores"]["mine"]["salgan360"] = scored(0.5)
    rows = table(1, found).set_index(["model", "mode"])
    assert rows.loc[("salgan360", "planar"), "published_cc"] == 0.639
    assert pd.isna(rows.loc[("salgan360", "sphere"), "published_cc"])


@pytest.mark.parametrize("what", ["data", "model", "lambda", "projections", "random", "unknown"])
def test_no_difference_where_something_is_not_the_thesis(what: str) -> None:
    found = of_the_thesis(["24 tested panoramas (25)"] if what == "data" else [])
    own, data = found["encoders"]["contrastive"], found["datasets"]["mine"]
    if what == "model":
        found["models"]["contrastive"]["differs"] = ["light decoder (thesis)"]
    elif what == "unknown":
        data["published"] = ""
    else:
        own |= {
            "lambda": {"local_weight": 0.5},
            "projections": {"projections": False},
            "random": {"kind": "random"},
        }.get(what, {})
    rows = table(1, found).set_index(["model", "mode"])
    row = rows.loc[("contrastive", "planar")]
    assert pd.isna(row["difference_cc"])
    assert pd.isna(row["published_cc"]) == (what not in ("data", "model"))


def test_table_4_3_has_a_row_for_each_of_the_six_cells() -> None:
    found = results()
    found["datasets"]["mine"]["published"] = "VR-EyeTracking + Sitzmann"
    for attention in (True, False):
        for weight in (0.5, 0.7, 0.9):
            name = f"vgg_{attention}_{weight}"
            changes = {"attention": attention, "local_weight": weight}
            found["encoders"][name] = encoder(architecture="vgg16", **changes)
            found["models"][name] = model(name)
            found["scores"]["mine"][name] = scored(0.5)
    rows = table(3, found)
    beside = rows[rows["published_cc"].notna()]
    published = published_table("4.3")
    keys = ["setting", "local_weight"]
    assert len(beside) == 6
    assert (
        beside.set_index(keys)["published_cc"].sort_index().tolist()
        == published.set_index(keys)["cc"].sort_index().tolist()
    )
    assert len(by_angle(rows)) == 6


def test_the_page_says_why_nothing_is_compared_and_why_klds_cannot_be() -> None:
    found = of_the_thesis(["24 tested panoramas (25)"])
    page = report(found)
    assert "No difference to published scores is given" in page
    assert "Run less published" not in page
    assert "cannot come from gaze" not in page  # these maps are as published
    assert "Run less published" in report(of_the_thesis())
    found["datasets"]["mine"] |= {"published": "VR-EyeTracking + Sitzmann", "sigma_deg": 3.34}
    page = report(found)
    assert "The published KLDs of 7.1 to 10.2 cannot come from gaze smoothed by 3.34" in page
    assert "5.8 at most" in page
    # Maps as sharp as this could be the published ones.
    found["datasets"]["mine"]["sigma_deg"] = 1.0
    assert "cannot come from gaze" not in report(found)


def test_no_map_of_smoothed_gaze_is_further_from_a_flat_one_than_the_page_says() -> None:
    """ln(pi / (e sigma^2)): a single point of the equator, which is the sharpest of flat maps."""
    one = np.zeros(1)
    bound = math.log(math.pi / (math.e * math.radians(3.34) ** 2))
    found = {}
    for latitude in (0.0, 60.0):
        point = Fixations(one, np.full(1, latitude), np.zeros(1, np.int64))
        truth = saliency_map(point, 512, 1024)
        share = truth / truth.sum(dtype=np.float64)
        known = share[share > 0]
        found[latitude] = float((known * np.log(known * share.size)).sum())
    assert found[0.0] == pytest.approx(bound, abs=0.01)
    assert found[60.0] < found[0.0]
    assert bound == pytest.approx(5.83, abs=0.01)


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


# --- gates, latitude, decoders


def gated() -> dict[str, Any]:
    """A bundle's two branches under decoders alike, and a gated one without a partner."""
    found = results()
    time = {
        **{"dense_macs": 4_000_000_000, "gated_ms": 30.0, "dense_ms": 40.0},
        **{"channels_left": 0.75, "panoramas": 8, "device": "CPU", "threads": 2},
    }
    of_bundle = {"kind": "bundle", "history": [], "file": "bundle"}
    found["encoders"] |= {
        "whole": encoder(**of_bundle, macs=4_000_000_000),
        "some": encoder(**of_bundle, masked=True, macs=1_000_000_000, gating=time),
    }
    found["models"] |= {
        "whole": model("whole"),
        "some": model("some"),
        "alone": model("some", "salgan"),
    }
    for name, cc in {"whole": 0.5, "some": 0.47, "alone": 0.6}.items():
        found["scores"]["mine"][name] = scored(cc)
    return found


def test_what_gates_save_stands_beside_what_they_lose() -> None:
    found = paired_differences(typed(gated()))
    pairs = {(one.first, one.second) for one in found if one.about == "gating"}
    assert pairs == {("some", "whole")}
    page = report(gated())
    assert "What gating saves, and loses" in page
    row = page.rsplit("What gating saves, and loses", 1)[1].split("</tbody>")[0]
    # A quarter of the MACs, three quarters of the time, .03 of CC.
    for text in ("25.0", "<td>30</td><td>40</td>", "0.030"):
        assert text in row
    assert "What gating saves" not in report(results())


def test_bands_of_latitude_and_decoders_are_said() -> None:
    page = report(results())
    section = page.rsplit("By latitude, and the poles", 1)[1]
    assert "where people looked" in section
    assert "0.25 [0.12, 0.38]" in section
    assert "thesis 6.45 M, salgan 17.07 M" in page
    assert "light 0.32 M" in page
    assert "2.6 times fewer than SalGAN" in page
