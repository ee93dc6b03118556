"""The report of the retrieval_eval pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ssl_kedro.reporting.chapter3_figures import dimensions
from ssl_kedro.reporting.chapter3_tables import RANKINGS, best_encoder, headline, headline_level
from ssl_kedro.reporting.html import Card, Picture, Report, Section, Table, rendered
from ssl_kedro.reporting.number_format import DASH, percent, plain, signed
from ssl_kedro.reporting.run_sections import manifest_section, skipped_section

_GLOSSARY = (
    ("G", "Global search: images in the order of their descriptors' inner product."),
    ("AQE", "The query replaced by the mean of itself and its first results, searched again."),
    ("DBA", "Every image of the database replaced by a weighted mean of it and its neighbours."),
    (
        "mAP",
        "Mean over queries of the area under the precision-recall polygon (trapezoidal rule, as "
        "the published benchmarks compute it); junk is taken out of the ranking first.",
    ),
    (
        "Easy, medium, hard",
        "Revisited protocols. Easy: only easy images are to be found; hard: only hard ones; "
        "medium: both. What is not asked for is taken out like junk.",
    ),
    ("Whitened on", "The images that PCA-whitening was learnt on. “itself” is a leak."),
    ("Own dimension", "Region vectors at unit length, summed, at unit length: no PCA."),
)


def retrieval_report(
    data: Mapping[str, Any],
    results: Mapping[str, Any],
    manifest: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame],
    galleries: Mapping[str, tuple[str, Figure]],
    setup: Mapping[str, Any],
) -> str:
    """Self-contained HTML with the results of chapter 3.

    Args:
        data: summary of every task.
        results: "evaluations", "extractions", "sweeps" by task and encoder.
        manifest: of the run.
        tables: "3.1" to "3.4".
        galleries: per task the encoder it shows, and the figure.
        setup: "rankings" (labels), "absent" (encoders left out), "pooling", "index", "size".
    """
    evaluations = results["evaluations"]
    sections = [
        *(_task_section(task, data, evaluations[task], tables, setup) for task in evaluations),
        *_revisited_section(tables["3.3"]),
        *_gallery_sections(galleries),
        *_dimension_section(data, results),
        *_whitening_section(results),
        *_encoder_section(tables["3.1"], setup),
        *_unanswerable_section(data),
        *skipped_section(manifest),
        manifest_section(manifest, time_label="Extraction time"),
        Section("Terms", terms=_GLOSSARY),
    ]
    report = Report(
        title="Frozen encoders as descriptors",
        lead=_lead(data, evaluations),
        origin=(
            f"Instance retrieval (chapter 3), {setup['pooling']} at {setup['size']} px, seed "
            f"{manifest['seed']}, {manifest['created'][:10]}"
        ),
        cards=_cards(data, evaluations),
        sections=sections,
    )
    return rendered(report)


def _lead(data: Mapping[str, Any], evaluations: Mapping[str, Any]) -> str:
    task = next(iter(evaluations))
    best = best_encoder(evaluations[task])
    evaluation = evaluations[task][best]
    level = headline_level(evaluation["rankings"]["g"])
    chance = data[task]["chance"][level]["map"]
    which = f" ({level})" if level else ""
    sentence = (
        f"On {task}, {best} finds most: mAP{which} {percent(headline(evaluation))} by global "
        f"search, where chance gives {percent(chance)}"
    )
    ranking = max(RANKINGS, key=lambda name: headline(evaluation, name))
    if ranking == "g":
        return f"{sentence}; no re-ranking adds to it."
    return f"{sentence}; the best re-ranking brings it to {percent(headline(evaluation, ranking))}."


def _cards(data: Mapping[str, Any], evaluations: Mapping[str, Any]) -> list[Card]:
    cards = []
    for task, encoders in evaluations.items():
        shown = sorted(encoders, key=lambda name: -headline(encoders[name]))[:4]
        for name in shown if len(evaluations) == 1 else shown[:1]:
            level = headline_level(encoders[name]["rankings"]["g"])
            label = f"mAP of {name} on {task}"
            cards.append(
                Card(percent(headline(encoders[name])), f"{label}, {level}" if level else label)
            )
        if len(evaluations) == 1:
            level = headline_level(next(iter(encoders.values()))["rankings"]["g"])
            cards.append(
                Card(percent(data[task]["chance"][level]["map"]), "mAP of a random ranking")
            )
    return cards


def _task_section(
    task: str,
    data: Mapping[str, Any],
    evaluations: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame],
    setup: Mapping[str, Any],
) -> Section:
    """Table 3.2's part of one task; the headline level of a revisited one."""
    described = data[task]
    first = next(iter(evaluations.values()))
    level = headline_level(first["rankings"]["g"])
    table = tables["3.2"]
    # A file of comma-separated values does not tell an empty word from a missing one.
    table = table[(table["task"] == task) & (table["level"].fillna("") == level)]
    printed = [name for name in RANKINGS[:4] if table[f"published_{name}"].notna().any()]
    columns = ["Encoder", "Whitened on", "d", "G", "+ AQE", "+ DBA", "+ DBA + AQE", "alpha-QE"]
    columns += [_SHORT[name] for name in printed]
    groups = [("", 3), ("This run, mAP", 5)]
    if printed:
        groups.append(("Published, thesis Table 3.2", len(printed)))
    rows = [
        [
            str(row["encoder"]),
            str(row["whitened_on"]),
            str(row["dimensions"]),
            *(plain(row[name]) for name in RANKINGS),
            *(plain(row[f"published_{name}"]) for name in printed),
        ]
        for row in table.to_dict("records")
    ]
    chance = described["chance"][level]["map"]
    crop = "cut to their boxes" if described["cropped"] else "whole images"
    text = (
        f"{described['images']:,} images, {described['queries']:,} queries ({crop}). Chance "
        f"{percent(chance)}. Percent; {'; '.join(setup['rankings'].values())}."
    )
    return Section(
        f"Table 3.2: {task}{f', {level}' if level else ''}",
        (text,),
        tables=[Table(columns, rows, left=2, groups=groups)],
    )


_SHORT = {"g": "G", "aqe": "+ AQE", "dba": "+ DBA", "dba_aqe": "+ DBA + AQE"}
_LEVELS = ("easy", "medium", "hard")


def _revisited_section(table: pd.DataFrame) -> list[Section]:
    """Table 3.3, measured; a second one with the thesis' figures where it has some."""
    if table.empty:
        return []
    made = []
    for task, of_task in table.groupby("task", sort=False):
        shown = [_revisited_table(of_task, "", f"{task}, this run")]
        if of_task["published_map"].notna().any():
            known = of_task[of_task["published_map"].notna()]
            shown.append(_revisited_table(known, "published_", f"{task}, thesis Table 3.3"))
        made += shown
    text = "Global search, percent. mP@k: precision among the first k, junk taken out."
    return [Section("Table 3.3: easy, medium, hard", (text,), tables=made)]


def _revisited_table(table: pd.DataFrame, prefix: str, caption: str) -> Table:
    rows = []
    for encoder, of_encoder in table.groupby("encoder", sort=False):
        by_level = of_encoder.set_index("level")
        rows.append(
            [str(encoder), str(of_encoder["whitened_on"].iloc[0])]
            + [
                plain(float(by_level[f"{prefix}{name}"][level]))
                for level in _LEVELS
                for name in ("map", "mp5", "mp10")
            ]
        )
    columns = ["Encoder", "Whitened on", *(["mAP", "mP@5", "mP@10"] * 3)]
    groups = [("", 2), *((level.capitalize(), 3) for level in _LEVELS)]
    return Table(columns, rows, left=2, groups=groups, caption=caption)


def _gallery_sections(galleries: Mapping[str, tuple[str, Figure]]) -> list[Section]:
    return [
        Section(
            f"What is found: {task}",
            (
                f"Global search by {encoder}, the best on {task}: queries from the best to the "
                "worst found. Galleries of the other encoders lie beside this report's data.",
            ),
            pictures=[
                Picture(
                    shown,
                    f"Queries of {task} with their first results, framed as correct, wrong or junk",
                    "png",
                )
            ],
        )
        for task, (encoder, shown) in galleries.items()
    ]


def _dimension_section(data: Mapping[str, Any], results: Mapping[str, Any]) -> list[Section]:
    swept = [found for encoders in results["sweeps"].values() for found in encoders.values()]
    if not any(found["dimensions"] for found in swept):
        return []
    picture = Picture(
        dimensions(data, results),
        "mAP of each encoder over the PCA dimension, one panel a data set",
    )
    text = "Table 3.4: one whitening for all dimensions of an encoder; figures in table_3_4.csv."
    return [Section("Dimension", (text,), pictures=[picture])]


def _whitening_section(results: Mapping[str, Any]) -> list[Section]:
    """What learning whitening on the database itself is worth, where both were asked for."""
    rows: list[list[str]] = []
    names: list[str] = []
    for task, encoders in results["sweeps"].items():
        for encoder, found in encoders.items():
            sets = found["whitened_on"]
            if len(sets) < 2 or task not in sets:
                continue
            level = headline_level(sets[task])
            names = list(dict.fromkeys([*names, *(name for name in sets if name != task)]))
            leak = sets[task][level]["map"]
            rows.append(
                [encoder, task, plain(100 * leak)]
                + [
                    cell
                    for name in names
                    for cell in (
                        (
                            plain(100 * sets[name][level]["map"]),
                            signed(100 * (leak - sets[name][level]["map"])),
                        )
                        if name in sets
                        else (DASH, DASH)
                    )
                ]
            )
    if not rows:
        return []
    columns = ["Encoder", "Data set", "on itself"]
    for name in names:
        columns += [f"on {name}", "difference"]
    width = len(columns)
    rows = [row + [DASH] * (width - len(row)) for row in rows]
    text = (
        "mAP by global search with PCA-whitening learnt on the searched database (as the thesis "
        "does, a leak) and on other images. Difference: what learning on the searched images adds, "
        "in points; on a small database it takes away, for want of images to learn from."
    )
    return [Section("Whitening", (text,), tables=[Table(columns, rows, left=2)])]


def _encoder_section(table: pd.DataFrame, setup: Mapping[str, Any]) -> list[Section]:
    paragraphs = [
        f"Left out, since there is nothing at {file}: {name}."
        for name, file in setup["absent"].items()
    ]
    if table.empty and not paragraphs:
        return []
    columns = ["Encoder", "Data set", "Parameters", "C", "px", "BN adapted", "images/s"]
    rows = [
        [
            str(row["encoder"]),
            str(row["task"]),
            DASH if not row["parameters"] else f"{row['parameters'] / 1e6:,.2f} M",
            str(row["channels"]),
            str(row["image_size"]),
            "yes" if row["adapt_batch_norm"] else "no",
            plain(row["images_per_second"], 1),
        ]
        for row in table.to_dict("records")
    ]
    shown = [Table(columns, rows, left=2)] if rows else []
    return [Section("Table 3.1: encoders", paragraphs, tables=shown)]


def _unanswerable_section(data: Mapping[str, Any]) -> list[Section]:
    """Queries that have nothing to find, by name."""
    paragraphs = []
    for task, described in data.items():
        for level, names in described.get("without_positives", {}).items():
            if names:
                which = f" ({level})" if level else ""
                more = f" and {len(names) - 12} more" if len(names) > 12 else ""
                listed = ", ".join(names[:12])
                paragraphs.append(f"{task}{which}: {listed}{more}.")
    if not paragraphs:
        return []
    text = "They have no positive image and take no part in the means."
    return [Section("Queries without a match", (text, *paragraphs))]
