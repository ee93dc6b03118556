from __future__ import annotations

import pytest

from ssl_kedro.reporting.published import TABLES, published_table


@pytest.mark.parametrize("table", TABLES)
def test_published_tables_load_without_gaps_in_their_keys(table: str) -> None:
    frame = published_table(table)
    measured = ("top1", "std", "reduction", "macs", "map")
    keys = [column for column in frame.columns if not any(word in column for word in measured)]
    assert not frame.duplicated(keys).any()
    percents = frame.select_dtypes("number").drop(
        columns=["budget_percent", "macs", "dimension", "epochs", "parameters"], errors="ignore"
    )
    assert ((percents.isna()) | ((percents >= 0) & (percents <= 100))).all().all()
    assert frame.attrs["title"]
    assert frame.attrs["note"]


@pytest.mark.parametrize(
    ("table", "column", "rows"),
    [
        ("3.1", "epochs", {100: 3, 200: 2, 90: 1, 150: 1}),
        ("3.2", "dataset", {"oxford5k": 13, "paris6k": 13, "instre": 13}),
        ("3.3", "dataset", {"roxford5k": 39, "rparis6k": 39}),
        ("3.4", "dataset", {"oxford5k": 56, "paris6k": 56, "instre": 56}),
        ("5.1", "dataset", {"CIFAR-10": 8, "CIFAR-100": 8, "ImageNet-100": 4}),
        ("6.1", "dataset", {"CIFAR-10": 10, "STL-10": 10, "CIFAR-100": 10, "ImageNet-100": 7}),
        ("6.2", "source", {"CIFAR-100": 21, "ImageNet-100": 15}),
        ("6.3", "method", {"SimReg": 5, "SEED": 5, "dual_gating": 5}),
        ("6.4", "dataset", {"CIFAR-100": 6, "STL-10": 6}),
        ("6.5", "dataset", {"CIFAR-100": 6, "STL-10": 6}),
        ("6.6", "dataset", {"CIFAR-100": 6, "STL-10": 6}),
    ],
)
def test_rows_of_each_table(table: str, column: str, rows: dict[str, int]) -> None:
    assert published_table(table)[column].value_counts().to_dict() == rows


@pytest.mark.parametrize(
    ("table", "key", "column", "value"),
    [
        ("5.1", {"dataset": "CIFAR-100", "budget_percent": 60}, "knn_top1", 53.18),
        ("6.1", {"dataset": "STL-10", "method": "vicreg"}, "linear_top1", 86.15),
        (
            "6.2",
            {"target": "ImageNet-100", "branch": "gated", "budget_percent": 50},
            "linear_top1",
            40.68,
        ),
        (
            "6.3",
            {"method": "SEED", "target": "ImageNet-100", "budget_percent": 50},
            "knn_top1",
            67.5,
        ),
        (
            "6.4",
            {"method": "barlow_dual_gating", "dataset": "STL-10", "budget_percent": 30},
            "gated_knn_top1",
            76.02,
        ),
        (
            "6.5",
            {"method": "two_encoders", "dataset": "CIFAR-100", "budget_percent": 10},
            "flop_reduction",
            85.77,
        ),
        (
            "6.6",
            {"method": "without_invariance", "dataset": "STL-10", "budget_percent": 10},
            "gated_knn_top1",
            18.02,
        ),
    ],
)
def test_single_figures(table: str, key: dict[str, object], column: str, value: float) -> None:
    frame = published_table(table)
    for name, wanted in key.items():
        frame = frame[frame[name] == wanted]
    assert frame[column].tolist() == [value]


# Printed beside the figures: dense and gated against Baseline-1, gated and its FLOP reduction
# against Baseline-2.
ARROWS_6_1 = {
    ("CIFAR-10", 10): (-2.12, -2.17, 1.19, -4.43),
    ("CIFAR-10", 30): (-0.73, -0.84, 0.78, -2.84),
    ("CIFAR-10", 50): (-0.91, -0.71, -0.30, -2.60),
    ("STL-10", 10): (-1.86, -2.86, 0.81, -4.51),
    ("STL-10", 30): (-1.25, -1.30, 0.69, -3.14),
    ("STL-10", 50): (-0.40, -0.43, 0.32, -1.52),
    ("CIFAR-100", 10): (-0.65, -1.55, 1.19, -3.11),
    ("CIFAR-100", 30): (0.04, -0.22, 0.23, -1.85),
    ("CIFAR-100", 50): (0.55, 0.54, 0.65, -0.98),
    ("ImageNet-100", 30): (-2.62, -2.17, 1.00, -2.97),
    ("ImageNet-100", 50): (-1.32, -1.51, 0.41, -2.42),
}


def test_arrows_of_table_6_1_follow_from_its_figures() -> None:
    """Two printed differences do not follow, by 0.53 and 0.01 points (see the note)."""
    frame = published_table("6.1").set_index(["dataset", "method", "branch", "budget_percent"])
    accuracy, saved = frame["linear_top1"].to_dict(), frame["flop_reduction"].to_dict()
    baseline = {key[0]: value for key, value in accuracy.items() if key[1] == "vicreg"}
    wrong = []
    for (dataset, budget), arrows in ARROWS_6_1.items():
        dense = accuracy[(dataset, "dual_gating", "dense", budget)]
        gated, ours = (d[(dataset, "dual_gating", "gated", budget)] for d in (accuracy, saved))
        alone, theirs = (d[(dataset, "vicreg_gating", "gated", budget)] for d in (accuracy, saved))
        differences = (
            dense - baseline[dataset],
            gated - baseline[dataset],
            gated - alone,
            ours - theirs,
        )
        for place, (found, printed) in enumerate(zip(differences, arrows, strict=True)):
            if abs(found - printed) > 0.005:
                wrong.append((dataset, budget, place, round(found - printed, 2)))
    assert wrong == [("ImageNet-100", 30, 1, -0.53), ("ImageNet-100", 50, 1, 0.01)]


def test_arrows_of_table_6_2_point_as_printed() -> None:
    """Up: better than the dense VICReg of the same transfer. Dense and gated at 10, 30, 50 %."""
    printed = {
        ("CIFAR-100", "STL-10"): "------",
        ("CIFAR-100", "CIFAR-10"): "+-++++",
        ("CIFAR-100", "ImageNet-100"): "-----+",
        ("ImageNet-100", "STL-10"): "----",
        ("ImageNet-100", "CIFAR-10"): "----",
        ("ImageNet-100", "CIFAR-100"): "----",
    }
    frame = published_table("6.2")
    for pair, signs in printed.items():
        rows = frame[(frame["source"] == pair[0]) & (frame["target"] == pair[1])]
        baseline, *others = rows["linear_top1"]
        assert "".join("+" if value > baseline else "-" for value in others) == signs, pair


def test_reductions_of_table_5_1_follow_from_its_flops() -> None:
    """FLOPs are printed to three digits; one reduction is further off (see the note)."""
    wrong = {}
    for dataset, rows in published_table("5.1").groupby("dataset"):
        dense = rows.loc[rows["method"] == "simsiam", "macs"].item()
        for _, row in rows[rows["method"] == "simsiam_gating"].iterrows():
            found = 100 * (1 - row["macs"] / dense)
            if abs(found - row["flop_reduction"]) > 0.12:
                wrong[(dataset, row["budget_percent"])] = round(found, 2)
    assert wrong == {("ImageNet-100", 30): 70.72}


def test_tables_6_4_to_6_6_repeat_the_same_dual_gating_rows() -> None:
    frames = []
    for table in ("6.4", "6.5", "6.6"):
        frame = published_table(table)
        frames.append(frame[frame["method"] == "dual_gating"].reset_index(drop=True))
    assert frames[0].equals(frames[1])
    assert frames[0].equals(frames[2])
    # Table 6.1 prints the same costs for the same models.
    first = published_table("6.1")
    first = first[(first["method"] == "dual_gating") & (first["branch"] == "gated")]
    costs = first[first["dataset"] == "CIFAR-100"]["flop_reduction"].tolist()
    assert costs == frames[0][frames[0]["dataset"] == "CIFAR-100"]["flop_reduction"].tolist()


def test_unknown_table_is_named() -> None:
    with pytest.raises(ValueError, match=r"'6\.9' is not published here; known: 3\.1"):
        published_table("6.9")
