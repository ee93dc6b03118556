"""Report sections of the parts that have a table, and what its differences say.

A difference counts as shown where at least three seeds agree to the extent that its mean is not
below its standard deviation; this is a rule of thumb for few seeds, not a test of significance.
"""

from collections.abc import Mapping

import pandas as pd

from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters
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


def part_sections(
    tables: Mapping[str, pd.DataFrame], parameters: DualGatingParameters
) -> list[Section]:
    """One section for every table that was made, in the parts' order.

    Args:
        tables: frames by part; any of them may be missing.
        parameters: of the run.
    """
    return [
        part_section(part, tables[name], parameters)
        for name, part in parts().items()
        if name in tables and part.columns
    ]


def part_section(part: Part, frame: pd.DataFrame, parameters: DualGatingParameters) -> Section:
    """A part's table, what differs from other models, and what that says."""
    groups = {group: group for group in part.groups}
    if PUBLISHED in groups and "source" not in frame:
        groups[PUBLISHED] = published_heading("6", _beside(frame, parameters))
    caption = " ".join(_caption(part, frame, parameters))
    tables = [shown(part.columns, frame, groups, part.breaks, caption)]
    differences = [c.name for c in part.columns if c.group in part.compared[1:]]
    compared = frame[frame[differences].notna().any(axis=1)]
    if differences and len(compared):
        paired = "Differences in percentage points between runs of the same seed"
        over = ", their mean with its 95 % interval." if frame["seeds"].max() > 1 else "."
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
    return f"Over {_count(*frame['seeds'])}, {part.judged_by}{found}."


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
        common = "" if n == int(row["seeds"]) else f", {_count(n)}"
        found.append((f"{judgement} at", f"{place} ({signed_with_std(mean, std)} points{common})"))
    return grouped(found)


def _count(*seeds: int) -> str:
    """Numbers of seeds, "3 seeds" or "2 to 3 seeds"."""
    fewest, most = min(seeds), max(seeds)
    span = str(most) if fewest == most else f"{fewest} to {most}"
    return f"{span} seed{'' if most == 1 else 's'}"


def _beside(frame: pd.DataFrame, parameters: DualGatingParameters) -> str:
    """Data set of the thesis whose figures stand beside."""
    named = "published_dataset" in frame and len(frame)
    return str(frame["published_dataset"].iloc[0] if named else parameters.published)


def _caption(part: Part, frame: pd.DataFrame, parameters: DualGatingParameters) -> list[str]:
    """What is shown, over how many seeds, and where the published figures come from."""
    seeds = frame.get("seeds", [parameters.repeats])
    if max(seeds) > 1:
        spread = f"mean ± standard deviation over {_count(*seeds)}"
    elif "linear_std" in frame:
        spread = "one seed, ± over the probe's runs"
    else:
        spread = "one seed, hence without deviations"
    sentences = [
        "Accuracies, shares and FLOPs (MACs) reductions in percent, differences in percentage "
        f"points; {spread}."
    ]
    sentences += [f"Costs are those with {parameters.stem}."] if part.costs else []
    sentences += [part.note] if part.note else []
    return [*sentences, *(_published(part, frame, parameters) if part.number else [])]


def _published(part: Part, frame: pd.DataFrame, parameters: DualGatingParameters) -> list[str]:
    """Where the published figures come from, and why some take no difference."""
    table = f"Table {part.number}"
    if "source" in frame:
        if frame["published_linear_top1"].isna().all():
            return [f"The thesis ({table}) has no figures for these pairs of data sets."]
        return [f"Published: thesis, {table}, for the same pair of data sets."]
    beside = _beside(frame, parameters)
    found = [f"Published: thesis, {table}, {beside}."]
    if beside != parameters.published:
        found.append(
            f"It has no figures for {parameters.published}, so the nearest stand beside for scale."
        )
    elif not parameters.on_published_data:
        found.append(
            f"This run did not use {beside}, so it takes no difference: they stand beside for "
            "scale."
        )
    return found
