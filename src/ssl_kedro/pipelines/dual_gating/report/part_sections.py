"""Report sections of the parts that have a table, and what its differences say.

A difference counts as shown where at least three seeds agree to the extent that its mean is not
below its standard deviation; this is a rule of thumb for few seeds, not a test of significance.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ssl_kedro.pipelines.dual_gating.part import Claim, Part, parts
from ssl_kedro.reporting.html import Section
from ssl_kedro.reporting.number_format import grouped, percent, signed_with_std
from ssl_kedro.reporting.published import published_heading
from ssl_kedro.reporting.table import PUBLISHED, shown

_LEAST_SEEDS = 3
# What is asked -> what is said of a difference that is not shown, that is higher, that is lower.
_SAID = {
    "helps": ("is not shown to help", "helps", "does not help"),
    "helps if lower": ("is not shown to help", "does not help", "helps"),
    "differs": ("is not shown to differ", "is higher", "is lower"),
}


def part_sections(tables: Mapping[str, pd.DataFrame], setup: Mapping[str, Any]) -> list[Section]:
    """One section for every table that was made, in the parts' order.

    Args:
        tables: frames by part; any of them may be missing.
        setup: of the run, with "published" (data set of the thesis), "comparable" and "stem".
    """
    return [
        part_section(part, tables[name], setup)
        for name, part in parts().items()
        if name in tables and part.columns
    ]


def part_section(part: Part, frame: pd.DataFrame, setup: Mapping[str, Any]) -> Section:
    """A part's table, what differs from other models, and what that says."""
    headings = {PUBLISHED: _published_heading(frame, setup)}
    groups = {group: headings.get(group, group) for group in part.groups}
    caption = " ".join(_caption(part, frame, setup))
    tables = [shown(part.columns, frame, groups, part.breaks, caption)]
    differences = [c.name for c in part.columns if c.group in part.compared[1:]]
    compared = frame[frame[differences].notna().any(axis=1)]
    if differences and len(compared):
        paired = "Differences in percentage points between runs of the same seed"
        over = ", mean ± standard deviation over them." if frame["seeds"].max() > 1 else "."
        of_others = {group: group for group in part.compared}
        tables.append(shown(part.columns, compared, of_others, part.breaks, paired + over))
    return Section(part.title, [verdict(part, frame)] if part.claims else [], tables=tables)


def verdict(part: Part, frame: pd.DataFrame) -> str:
    """What the numbers of an open question say, in one sentence."""
    measured = set(frame["model"])
    said = [
        f"{claim.about} {_judged(claim, frame)}" for claim in part.claims if claim.model in measured
    ]
    found = "; ".join(said) or "nothing was measured beside dual gating"
    return f"Over {_seeds(frame)}, {part.judged_by}{found}."


def _judged(claim: Claim, frame: pd.DataFrame) -> str:
    """Judgements of one difference: "helps at 10 % (...) and does not help at 50 % (...)"."""
    found = []
    for row in frame[frame["model"] == claim.model].to_dict("records"):
        mean, std = row[claim.column], row[f"{claim.column}_std"]
        n, place = int(row[f"{claim.column}_n"]), percent(int(row["budget_percent"]) / 100, 0)
        if n == 0:
            found.append(("was not measured at", place))
            continue
        shown_at_all = n >= _LEAST_SEEDS and abs(mean) >= std and mean != 0
        judgement = _SAID[claim.asked][0 if not shown_at_all else 1 if mean > 0 else 2]
        common = "" if n == int(row["seeds"]) else f", {_count(n, n)}"
        found.append((f"{judgement} at", f"{place} ({signed_with_std(mean, std)} points{common})"))
    return grouped(found)


def _seeds(frame: pd.DataFrame) -> str:
    return _count(int(frame["seeds"].min()), int(frame["seeds"].max()))


def _count(fewest: int, most: int) -> str:
    """Number of seeds, "3 seeds" or "2 to 3 seeds"."""
    span = str(most) if fewest == most else f"{fewest} to {most}"
    return f"{span} seed{'' if most == 1 else 's'}"


def _published_heading(frame: pd.DataFrame, setup: Mapping[str, Any]) -> str:
    """What stands above published figures; they name their data set where it is one."""
    if "source" in frame:
        return PUBLISHED
    return published_heading("6", _published_dataset(frame, setup))


def _published_dataset(frame: pd.DataFrame, setup: Mapping[str, Any]) -> str:
    named = "published_dataset" in frame and len(frame)
    return str(frame["published_dataset"].iloc[0] if named else setup["published"])


def _caption(part: Part, frame: pd.DataFrame, setup: Mapping[str, Any]) -> list[str]:
    """What is shown, over how many seeds, and where the published figures come from."""
    seeds = frame.get("seeds", pd.Series([setup.get("repeats", 1)]))
    if seeds.max() > 1:
        spread = f"mean ± standard deviation over {_count(int(seeds.min()), int(seeds.max()))}"
    elif "linear_std" in frame:
        spread = "one seed, ± over the probe's runs"
    else:
        spread = "one seed, hence without deviations"
    sentences = [
        "Accuracies, shares and FLOPs (MACs) reductions in percent, differences in percentage "
        f"points; {spread}."
    ]
    sentences += [f"Costs are those of the “{setup['stem']}” stem."] if part.costs else []
    sentences += [part.note] if part.note else []
    return [*sentences, *(_published(part, frame, setup) if part.number else [])]


def _published(part: Part, frame: pd.DataFrame, setup: Mapping[str, Any]) -> list[str]:
    """Where the published figures come from, and why some take no difference."""
    table = f"Table {part.number}"
    if "source" in frame:
        if frame["published_linear_top1"].isna().all():
            return [f"The thesis ({table}) has no figures for these pairs of data sets."]
        return [f"Published: thesis, {table}, for the same pair of data sets."]
    beside = _published_dataset(frame, setup)
    found = [f"Published: thesis, {table}, {beside}."]
    if beside != setup["published"]:
        found.append(
            f"It has no figures for {setup['published']}, so the nearest stand beside for scale."
        )
    elif not setup["comparable"]:
        found.append(
            f"This run did not use {beside}, so it takes no difference: they stand beside for "
            "scale."
        )
    return found
