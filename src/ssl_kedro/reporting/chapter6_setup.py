"""What differs between a run and the set-up of chapter 6."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ssl_kedro.reporting.html import Section, Table
from ssl_kedro.reporting.number_format import DASH, counted

_NAMES = {
    "source": "Images",
    "width": "Width of the first stage (channels)",
    "stem": "Stem",
    "image_size": "Image side (px)",
    "epochs": "Epochs",
    "batch_size": "Batch size",
    "optimiser": "Optimiser",
    "lr": "Learning rate for 256 images",
    "expander": "Expander width",
    "sparsity": "Weight of the cost penalty",
    "bound": "Weight of the per-block bounds",
    "gate_warmup": "Share of the training in which gates ease from open",
    "steering": "Steering of the penalty",
    "train_images": "Images to pre-train on",
    "eval_images": "Images to evaluate on",
}
# Section 6.3.1; image counts are the data sets' own. None: the thesis does not state it.
_OF_DATASET: dict[str, dict[str, Any]] = {
    "CIFAR-10": {"stem": "cifar", "image_size": 32, "train_images": 50_000, "eval_images": 10_000},
    "CIFAR-100": {"stem": "cifar", "image_size": 32, "train_images": 50_000, "eval_images": 10_000},
    "STL-10": {
        "stem": "imagenet",
        "image_size": 96,
        "train_images": 100_000,
        "eval_images": 8_000,
    },
    "ImageNet-100": {
        "stem": "imagenet",
        "image_size": 224,
        "train_images": None,
        "eval_images": None,
    },
}


def thesis_setup(dataset: str) -> dict[str, Any]:
    """Set-up of chapter 6 for one of its data sets, under the names of a run's set-up."""
    common = {
        "width": 64,
        "epochs": 500,
        "batch_size": 512,
        "optimiser": "lars",
        "lr": 0.3,
        "expander": 2048,
        "sparsity": 5.0,
        "bound": 1.0,
        "gate_warmup": 0.0,
        "steering": "fixed",
    }
    return {"source": dataset, **common, **_OF_DATASET[dataset]}


def setup_section(
    setup: Mapping[str, Any],
    thesis: Mapping[str, Any] | None = None,
    where: str = "Thesis, 6.3.1",
) -> Section:
    """Table of what differs, and a sentence with what does not.

    Args:
        setup: of the run, with "published" (data set of the thesis) and "comparable".
        thesis: the published set-up under the same names; None = chapter 6's.
        where: in the thesis it stands.
    """
    thesis = thesis_setup(setup["published"]) if thesis is None else thesis
    run = {**setup, "source": setup["published"] if setup["comparable"] else setup["source"]}
    known = [name for name in _NAMES if name in run and name in thesis]
    same = [name for name in known if run[name] == thesis[name]]
    rows = [
        [_NAMES[name], counted(run[name]), _thesis_text(thesis[name])]
        for name in known
        if name not in same
    ]
    paragraphs = []
    if rows:
        paragraphs.append("A run with another set-up is another measurement than the thesis'.")
    if same:
        listed = ", ".join(f"{_NAMES[name].lower()} {counted(run[name])}" for name in same)
        paragraphs.append(f"As in the thesis: {listed}.")
    tables = [Table(("", "This run", where), rows, left=3, wrap=True)] if rows else []
    return Section("What differs from the published set-up", paragraphs, tables=tables)


def _thesis_text(value: Any) -> str:
    return DASH if value is None else counted(value)
