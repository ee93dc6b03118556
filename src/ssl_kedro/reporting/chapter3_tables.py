"""Tables 3.1 to 3.4: frozen encoders as descriptors, measured beside published; percent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from ssl_kedro.reporting.published import published_table

Results = Mapping[str, Any]
RANKINGS = ("g", "aqe", "dba", "dba_aqe", "alpha_qe")
_PUBLISHED_RANKINGS = RANKINGS[:4]
_PRECISIONS = ("map", "mp5", "mp10")


def headline_level(scores: Mapping[str, Any]) -> str:
    """Level that one number stands for: medium of the revisited protocols, else the only one."""
    return "medium" if "medium" in scores else next(iter(scores))


def headline(evaluation: Mapping[str, Any], ranking: str = "g") -> float:
    """MAP (fraction) of the level that :func:`headline_level` names."""
    scores = evaluation["rankings"][ranking]
    return float(scores[headline_level(scores)]["map"])


def best_encoder(evaluations: Mapping[str, Any]) -> str:
    """Name of the encoder whose global search finds most."""
    return max(evaluations, key=lambda name: headline(evaluations[name]))


def table_3_1(results: Results, settings: Mapping[str, Any]) -> pd.DataFrame:
    """One row an encoder and task: what it is and what its extraction took.

    Returns:
        Columns task, encoder, kind, branch, row, parameters, channels, image_size,
        adapt_batch_norm, images, seconds, images_per_second, published_parameters.
    """
    published = published_table("3.1").set_index("row")["parameters"]
    rows = []
    for task, encoders in results["extractions"].items():
        for encoder, found in encoders.items():
            parts = [found[part] for part in ("database", "queries") if part in found]
            images = sum(part["images"] for part in parts)
            seconds = sum(part["seconds"] for part in parts)
            known = settings[encoder]
            rows.append(
                {
                    "task": task,
                    "encoder": encoder,
                    **known,
                    "parameters": found["parameters"],
                    "channels": parts[0]["channels"],
                    "images": images,
                    "seconds": seconds,
                    "images_per_second": images / seconds if seconds else float("nan"),
                    "published_parameters": published.get(known["row"], float("nan")),
                }
            )
    columns = ["task", "encoder", "kind", "branch", "row", "parameters", "channels", "image_size"]
    columns += ["adapt_batch_norm", "images", "seconds", "images_per_second"]
    return pd.DataFrame(rows, columns=[*columns, "published_parameters"])


def table_3_2(results: Results, rows: Mapping[str, str]) -> pd.DataFrame:
    """MAP of each ranking, one row a task, level and encoder.

    Returns:
        Columns task, level ("" for classic), encoder, whitened_on, cropped, dimensions, one of
        each ranking, and published_g to published_dba_aqe.
    """
    published = published_table("3.2")
    made = []
    for task, encoder, evaluation in _evaluations(results):
        printed = _printed(published, task, rows.get(encoder, ""))
        for level in evaluation["rankings"]["g"]:
            measured = {
                name: 100 * scores[level]["map"] for name, scores in evaluation["rankings"].items()
            }
            beside = {
                f"published_{name}": printed.get(name, float("nan")) if not level else float("nan")
                for name in _PUBLISHED_RANKINGS
            }
            made.append({**_setting(task, encoder, evaluation, level), **measured, **beside})
    columns = [*_SETTING, *RANKINGS, *(f"published_{name}" for name in _PUBLISHED_RANKINGS)]
    return pd.DataFrame(made, columns=columns)


def table_3_3(results: Results, rows: Mapping[str, str]) -> pd.DataFrame:
    """Revisited protocols under global search, one row a task, encoder and level.

    Returns:
        Columns as of Table 3.2 up to dimensions, then map, mp5, mp10 and the published three.
    """
    published = published_table("3.3")
    made = []
    for task, encoder, evaluation in _evaluations(results):
        for level, scores in evaluation["rankings"]["g"].items():
            if not level:
                continue
            of_level = published[published["level"] == level]
            printed = _printed(of_level, task, rows.get(encoder, ""))
            made.append(
                {
                    **_setting(task, encoder, evaluation, level),
                    **{name: 100 * scores[name] for name in _PRECISIONS},
                    **{
                        f"published_{name}": printed.get(name, float("nan")) for name in _PRECISIONS
                    },
                }
            )
    return pd.DataFrame(
        made, columns=[*_SETTING, *_PRECISIONS, *(f"published_{name}" for name in _PRECISIONS)]
    )


def table_3_4(results: Results, rows: Mapping[str, str]) -> pd.DataFrame:
    """MAP by dimension under global search, one row a task, level, encoder and dimension.

    Returns:
        Columns task, level, encoder, dimension (empty: the encoder's own, not whitened), map,
        published_map.
    """
    published = published_table("3.4")
    made = []
    for task, encoders in results["sweeps"].items():
        for encoder, swept in encoders.items():
            of_row = published[
                (published["dataset"] == task) & (published["row"] == (rows.get(encoder) or None))
            ]
            measured: dict[int | None, Any] = {int(d): s for d, s in swept["dimensions"].items()}
            if "true_dimension" in swept:
                measured[None] = swept["true_dimension"]
            for dimension, scores in measured.items():
                same = (
                    of_row["dimension"].isna()
                    if dimension is None
                    else of_row["dimension"] == dimension
                )
                for level, values in scores.items():
                    made.append(
                        {
                            "task": task,
                            "level": level,
                            "encoder": encoder,
                            "dimension": dimension,
                            "map": 100 * values["map"],
                            "published_map": _first(of_row[same]["map"]) if not level else None,
                        }
                    )
    columns = ["task", "level", "encoder", "dimension", "map", "published_map"]
    frame = pd.DataFrame(made, columns=columns)
    return frame.astype({"dimension": "Int64", "map": float, "published_map": float})


_SETTING = ("task", "level", "encoder", "whitened_on", "cropped", "dimensions")


def _setting(task: str, encoder: str, evaluation: Mapping[str, Any], level: str) -> dict[str, Any]:
    """What names a row and says how it was measured."""
    return {"task": task, "level": level, "encoder": encoder} | {
        key: evaluation[key] for key in ("whitened_on", "cropped", "dimensions")
    }


def _evaluations(results: Results) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for task, encoders in results["evaluations"].items():
        for encoder, evaluation in encoders.items():
            yield task, encoder, evaluation


def _printed(published: pd.DataFrame, task: str, row: str) -> dict[str, float]:
    """Figures of one row of the thesis, empty where it has none."""
    found = published[(published["dataset"] == task) & (published["row"] == row)]
    return {} if found.empty else dict(found.iloc[0])


def _first(values: pd.Series[float]) -> float | None:
    return None if values.empty else float(values.iloc[0])
