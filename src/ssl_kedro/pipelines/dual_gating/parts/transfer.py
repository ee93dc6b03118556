"""Table 6.2: linear evaluation of frozen encoders on other data sets."""

import math
from collections.abc import Iterator

import pandas as pd

from ssl_kedro.pipelines.dual_gating.part import Part
from ssl_kedro.pipelines.dual_gating.row import Row
from ssl_kedro.pipelines.gated.transfer import transfer_columns, transfer_rows
from ssl_kedro.reporting.number_format import signed_with_std
from ssl_kedro.reporting.table import LESS_PUBLISHED, PUBLISHED, RUN, Column, beside_published


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
    return transfer_rows(_Transfer(**vars(row)))


def _published(row: Row) -> float:
    return row.published("linear_top1", row.branch)


def _published_less_vicreg(row: Row) -> float:
    if row.model == "vicreg":
        return math.nan
    return _published(row) - row.published("linear_top1", "dense", model="vicreg")


_PUBLISHED, _DIFFERENCE = beside_published(
    "linear_top1",
    "Linear",
    lambda row: row.mean("linear_top1"),
    _published,
    "difference_linear",
)
PARTS = (
    Part(
        "table_6_2",
        ("vicreg", "dual"),
        "Table 6.2: transfer to other data sets",
        (
            *transfer_columns("vicreg", "VICReg"),
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
