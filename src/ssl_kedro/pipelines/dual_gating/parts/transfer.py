"""Table 6.2: linear evaluation of frozen encoders on other data sets."""

import math
from collections.abc import Iterator
from dataclasses import replace

import pandas as pd

from ssl_kedro.pipelines.dual_gating.part import BUDGET, MODEL, Part
from ssl_kedro.pipelines.dual_gating.row import Row, each_model
from ssl_kedro.pipelines.gated.differences import paired
from ssl_kedro.reporting.number_format import signed_with_std
from ssl_kedro.reporting.table import LESS_PUBLISHED, PUBLISHED, RUN, Column, beside_published, word


class _Transfer(Row):
    """One encoder on one target; only named data sets have published figures."""

    @property
    def printed(self) -> pd.DataFrame:
        """The published rows of this pair of data sets."""
        table = self.table_printed
        names = self.published_names
        same = table["source"] == names.get(self.source)
        return table[same & (table["dataset"] == names.get(self.target))]

    @property
    def comparable(self) -> bool:
        """The names say that these are the same data sets."""
        return True


def _rows(row: Row) -> Iterator[Row]:
    runs = row.runs
    for source, target in dict.fromkeys(zip(runs["source"], runs["target"], strict=True)):
        of_pair = runs[(runs["source"] == source) & (runs["target"] == target)]
        pair = _Transfer(**{**vars(row), "runs": of_pair, "source": source, "target": target})
        for one in each_model(pair, ("vicreg", "dual")):
            for branch in ("dense", "gated"):
                if replace(one, branch=branch).by_seed("linear_top1"):
                    yield replace(one, branch=branch)


def _linear(row: Row) -> float:
    return row.mean("linear_top1")


def _published(row: Row) -> float:
    return row.published("linear_top1", row.branch)


def _published_less_vicreg(row: Row) -> float:
    if row.model == "vicreg":
        return math.nan
    return _published(row) - row.published("linear_top1", "dense", model="vicreg")


_PUBLISHED, _DIFFERENCE = beside_published(
    "linear_top1", "Linear", _linear, _published, "difference_linear"
)
PARTS = (
    Part(
        "table_6_2",
        ("vicreg", "dual"),
        "Table 6.2: transfer to other data sets",
        (
            Column("source", lambda row: row.source, "Trained on", text=word, left=True),
            Column("target", lambda row: row.target, "Evaluated on", text=word, left=True),
            MODEL,
            Column("branch", lambda row: row.branch, "Branch", text=word, left=True),
            BUDGET,
            Column("linear_top1", _linear, "Linear", RUN, std="linear_std"),
            Column("linear_std", lambda row: row.linear_std),
            Column("seeds", lambda row: len(row.by_seed("linear_top1"))),
            *paired(
                "against_vicreg",
                lambda row: row.less("vicreg", "linear_top1", other_branch="dense"),
                "Less VICReg",
                RUN,
                counted=False,
            ),
            _PUBLISHED,
            Column(
                "published_against_vicreg",
                _published_less_vicreg,
                "Less VICReg",
                PUBLISHED,
                signed_with_std,
            ),
            _DIFFERENCE,
        ),
        groups=("", RUN, PUBLISHED, LESS_PUBLISHED),
        rows=_rows,
        source="transfer",
        number="6.2",
        breaks=("source", "target"),
        costs=False,
    ),
)
