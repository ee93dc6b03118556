"""Tables, figures and report of chapter 4 from hand-made results."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from ssl_kedro.reporting import chapter4_figures, chapter4_tables
from ssl_kedro.reporting.chapter4_report import saliency_report, verdicts
from ssl_kedro.reporting.published import published_table

METRICS = chapter4_tables.METRICS


def interval(mean: float | None, half: float | None = 0.02) -> dict[str, Any]:
    if mean is None or half is None:
        return {"mean": mean, "low": None, "high": None, "images": 1}
    return {"mean": mean, "low": mean - half, "high": mean + half, "images": 10}


def scored(cc: float) -> dict[str, Any]:
    return {
        mode: {metric: interval(cc if metric == "cc" else 0.5) for metric in METRICS}
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
                name: {"sphere": {m: interval(cc - 0.4, half) for m in METRICS}}
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
    "peak_memory_mb": None,
    "data": {"images": {"mine": 10}, "fingerprints": {"mine": "f"}, "skipped": []},
}


def tables(found: dict[str, Any]) -> dict[str, Any]:
    return {
        "4.1": chapter4_tables.table_4_1(found),
        "4.2": chapter4_tables.table_4_2(found),
        "4.3": chapter4_tables.table_4_3(found),
        "4.4": chapter4_tables.table_4_4(found),
    }


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
    table = chapter4_tables.table_4_1(results())
    own = table[table["source"] == "this run"]
    assert len(own) == 6 * 2
    row = own[(own["model"] == "contrastive") & (own["mode"] == "sphere")].iloc[0]
    assert (row["cc"], row["cc_low"], row["setting"]) == (
        pytest.approx(0.6),
        pytest.approx(0.58),
        "(ii)",
    )
    assert row["encoder"] == "resnet50, contrastive"
    assert (table["source"] == "published").sum() == 18


def test_ablations_have_rows_only_where_there_is_something_to_compare() -> None:
    found = results()
    for table in (chapter4_tables.table_4_3(found), chapter4_tables.table_4_4(found)):
        assert (table["source"] == "published").all()
    found["encoders"]["lambda_50"] = encoder(local_weight=0.5)
    found["models"]["lambda_50"] = model("lambda_50")
    found["scores"]["mine"]["lambda_50"] = scored(0.55)
    own = chapter4_tables.table_4_3(found)
    own = own[own["source"] == "this run"]
    assert own["local_weight"].tolist() == [0.5, 0.7]
    assert own["cc"].tolist() == [pytest.approx(0.55), pytest.approx(0.6)]
    assert (chapter4_tables.table_4_4(found)["source"] == "published").all()


def test_run_times_stand_beside_the_published_ones() -> None:
    table = chapter4_tables.table_4_2(results()).set_index("model")["ms"]
    assert table["contrastive"] == 50.0
    assert table["Ours (ResNet-based)"] == pytest.approx(25)


# --- words


@pytest.mark.parametrize(
    ("gain", "half", "said"),
    [
        (0.2, 0.05, "it beats the equator prior"),
        (0.02, 0.05, "do not tell the two apart"),
        (-0.08, 0.05, "it does not beat the equator prior"),
        (0.2, None, "one scene is too few"),
    ],
)
def test_the_verdict_follows_the_interval(gain: float, half: float | None, said: str) -> None:
    assert said in verdicts(results(gain, half))[0]


def test_what_is_said_of_encoders_and_decoders() -> None:
    found = results()
    text = " ".join(verdicts(found))
    assert (
        "The mean of the training maps, which sees no image, has CC 0.45: the best model is" in text
    )
    assert "0.15 ahead" in text
    assert "contrastive pre-training is 0.30 ahead" in text
    for name in ("heavy", "tuned"):
        found["scores"]["mine"][name] = scored(0.5)
        found["differences"]["mine"][name] = found["differences"]["mine"]["contrastive"]
    found["models"]["tuned"] = model("contrastive", fine_tune=True)
    found["models"]["heavy"] = model("contrastive", "thesis")
    found["scores"]["mine"]["heavy"] = scored(0.61)
    found["differences"]["mine"]["heavy"] = found["differences"]["mine"]["contrastive"]
    text = " ".join(verdicts(found))
    assert "The thesis decoder takes 109 times the multiply-accumulates" in text
    assert "0.610 where that has 0.600" in text
    worse = results(-0.2)
    assert "contrastive pre-training is 0.10 behind" in " ".join(verdicts(worse))


def test_missing_parts_are_left_out() -> None:
    found = results()
    for name in ("random", "ceiling", "mean"):
        del found["scores"]["mine"][name]
    del found["models"]["random"]
    text = " ".join(verdicts(found))
    assert "random" not in text
    assert "Half of the viewers" not in text
    found["models"] = {}
    assert verdicts(found) == ["No model was scored."]


# --- report


def test_the_report_holds_everything_and_nothing_from_elsewhere() -> None:
    found = results()
    picture = np.full((3, 32, 64), 120, dtype=np.uint8)
    truth = np.random.default_rng(0).random((16, 32)) + 0.1
    sheet = chapter4_figures.overlay_sheet(
        [("a<b>.jpg", picture, truth, {"contrastive": truth}, {"contrastive": 0.5})],
        ["contrastive"],
    )
    page = saliency_report(found, MANIFEST, tables(found), sheet, ["Something <differs>."])
    for text in ("Table 4.1: mine", "Table 4.2", "Something &lt;differs&gt;.", "UNISAL", "GMAC"):
        assert text in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "Table 4.3" not in page
    assert "None" not in page
    without = copy.deepcopy(found)
    for modes in without["scores"]["mine"].values():
        for mode in modes.values():
            mode["nss"] = interval(None)
    assert "Table 4.1" in saliency_report(without, MANIFEST, tables(without), None, [])
