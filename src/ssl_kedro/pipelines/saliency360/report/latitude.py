"""Predictions by latitude: a table of bands, and both poles as a viewer would see them."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from ssl_kedro.core.seeding import numpy_generator
from ssl_kedro.pipelines.entrance import nested
from ssl_kedro.pipelines.saliency360.parameters import Saliency360Parameters
from ssl_kedro.pipelines.saliency360.scoring import tested_rows
from ssl_kedro.reporting.html import Section, Table
from ssl_kedro.reporting.number_format import DASH, MINUS, percent, plain
from ssl_kedro.reporting.pictures import Picture
from ssl_kedro.reporting.style import DARK, literal
from ssl_kedro.saliency.bands import Band, BandScore, band_scores, latitude_bands
from ssl_kedro.saliency.evaluation import bootstrap_interval
from ssl_kedro.saliency.ground_truth import Arrays
from ssl_kedro.saliency.predict.prediction import density
from ssl_kedro.saliency.store import PanoramaStore, StoredPanoramas
from ssl_kedro.spherical.poles import pole_view, within_view

# Maps of the tested panoramas by model, then by row.
Maps = Mapping[str, Mapping[int, np.ndarray]]
_SIDE = 160
_POLES = {"zenith": True, "nadir": False}


def tested_maps(
    parameters: Saliency360Parameters,
    stored: StoredPanoramas,
    priors: Arrays,
    predictions: Mapping[str, Arrays],
) -> dict[str, dict[int, np.ndarray]]:
    """Maps of each model, and of both priors that see no image, by row of the own data."""
    maps: dict[str, dict[int, np.ndarray]] = {
        name: dict(zip(found["rows"].tolist(), found["maps"], strict=True))
        for name, found in predictions.items()
    }
    tested = tested_rows(parameters, stored, own=True)
    for prior in ("equator", "mean"):
        of_part = {int(row): part for part, rows in tested.items() for row in rows}
        maps[prior] = {row: priors[f"{part}.{prior}"] for row, part in of_part.items()}
    return maps


def latitude_table(
    parameters: Saliency360Parameters,
    stored: StoredPanoramas,
    truth: Arrays,
    priors: Arrays,
    **shown: Any,
) -> pd.DataFrame:
    """A row a model and band of latitude; ``shown`` are "predictions.<model>".

    Shares of looks and of what was predicted are means over the tested panoramas, as is the
    correlation along circles of latitude, with its interval over scenes.
    """
    bands = latitude_bands(parameters.score.bands_deg)
    maps = tested_maps(parameters, stored, priors, nested(shown)["predictions"])
    rows: list[dict[str, Any]] = []
    for model, of in maps.items():
        scenes = [stored.scenes[row] for row in of]
        found = [band_scores(one, truth["maps"][row], bands) for row, one in of.items()]
        for band, scores in zip(bands, zip(*found, strict=True), strict=True):
            rows.append({"model": model, **_row(parameters, band, scores, scenes)})
    return pd.DataFrame(rows)


def _row(
    parameters: Saliency360Parameters,
    band: Band,
    scores: Sequence[BandScore],
    scenes: Sequence[str],
) -> dict[str, Any]:
    known = np.array([np.nan if one.cc_along is None else one.cc_along for one in scores])
    cc = bootstrap_interval(
        known,
        numpy_generator(parameters.seed, "bootstrap"),
        confidence=parameters.score.confidence,
        resamples=parameters.score.resamples,
        groups=scenes,
    )
    return {
        "from_deg": band.low_deg,
        "to_deg": band.high_deg,
        "looks": float(np.mean([one.truth for one in scores])),
        "predicted": float(np.mean([one.predicted for one in scores])),
        "cc_along": cc.mean,
        "cc_along_low": cc.low,
        "cc_along_high": cc.high,
        "panoramas": cc.images,
    }


def latitude_section(table: pd.DataFrame, poles: Figure) -> Section:
    """The table, a row a model, and the sheet of poles."""
    of_bands = table[["from_deg", "to_deg"]].drop_duplicates()
    bands = list(of_bands.itertuples(index=False, name=None))
    heads = [_named(low, high) for low, high in bands]
    groups = [("", 1), *((head, 2) for head in heads)]
    looks, rows = ["where people looked"], []
    of_models: dict[str, list[dict[str, Any]]] = {}
    for row in table.to_dict("records"):
        of_models.setdefault(str(row["model"]), []).append({str(k): v for k, v in row.items()})
    for model, of in of_models.items():
        cells = ((percent(one["predicted"]), _cc(one)) for one in of)
        rows.append([model, *(cell for pair in cells for cell in pair)])
        looks = looks[:1] + [cell for one in of for cell in (percent(one["looks"]), "")]
    text = (
        "Share of all looks that a model expects in a band of latitude, and the correlation of its "
        "map with the truth along the circles of latitude in that band, by solid angle, with its "
        "interval over scenes. Each circle's mean is taken from both maps first: densities fall "
        "towards the poles, which latitude alone knows. A dash: a map does not vary along them."
    )
    claim = (
        "The thesis says of Figure 4.7 that zenith and nadir are predicted accurately; it gives no "
        "number. Below: the tested panoramas with the most looks around the poles, whatever was "
        "predicted, as a viewer sees them who faces the front. Colours are densities, 1 = even "
        "over the sphere, on one scale a row."
    )
    columns = ["Model", *["share", "CC along"] * len(bands)]
    made = Table(columns, [looks, *rows], left=1, groups=groups, breaks=[1])
    picture = Picture(poles, "Both poles: truth and predictions", "png")
    return Section("By latitude, and the poles", (text, claim), tables=[made], pictures=[picture])


def _named(low: float, high: float) -> str:
    return f"{low:g} to {high:g} degrees".replace("-", MINUS)


def _cc(row: Mapping[str, Any]) -> str:
    mean, low, high = (row[f"cc_along{end}"] for end in ("", "_low", "_high"))
    ends = "" if pd.isna(low) else f" [{plain(low)}, {plain(high)}]"
    return DASH if pd.isna(mean) else f"{plain(mean)}{ends}".replace("-", MINUS)


def pole_sheet(
    parameters: Saliency360Parameters,
    stored: StoredPanoramas,
    store: PanoramaStore,
    truth: Arrays,
    maps: Maps,
) -> Figure:
    """A row a pole of the panoramas whose poles are looked at most: picture, truth, predictions."""
    reach, count = parameters.gallery.pole_deg, parameters.gallery.poles
    order = sorted(maps["equator"], key=lambda row: -_around_poles(truth["maps"][row], reach))
    heads = ["picture", "where people looked", *maps]
    kinds = [(row, pole) for row in order[:count] for pole in _POLES]
    made = Figure(figsize=(1.6 * len(heads), 1.75 * len(kinds) + 0.3), dpi=110)
    grid = made.subplots(len(kinds), len(heads), squeeze=False)
    made.subplots_adjust(0.03, 0.02, 0.995, 1 - 0.3 / made.get_figheight(), 0.04, 0.08)
    outside = ~within_view(_SIDE).numpy()
    for axes, (row, pole) in zip(grid, kinds, strict=True):
        see = partial(_seen, zenith=_POLES[pole], reach_deg=reach)
        picture = see(np.array(store.images()[row])).transpose(1, 2, 0).astype(np.uint8)
        views = [see(density(one)[None] * 4 * np.pi)[0] for one in _all(truth, maps, row)]
        most = max(1.0, *(float(view[~outside].max()) for view in views))
        axes[0].imshow(np.where(outside[..., None], 255, picture))
        axes[0].set_ylabel(literal(f"{stored.names[row]}, {pole}"), fontsize=7, color=DARK)
        for axis, view in zip(axes[1:], views, strict=True):
            axis.imshow(np.ma.masked_where(outside, view), cmap="inferno", vmin=0, vmax=most)
    for axis in grid.flat:
        axis.set_xticks([])
        axis.set_yticks([])
        axis.set_frame_on(False)
    for axis, head in zip(grid[0], heads, strict=True):
        axis.set_title(literal(head), fontsize=8, color=DARK)
    return made


def _all(truth: Arrays, maps: Maps, row: int) -> Iterator[np.ndarray]:
    yield truth["maps"][row]
    yield from (of[row] for of in maps.values())


def _seen(panorama: np.ndarray, *, zenith: bool, reach_deg: float) -> np.ndarray:
    """(C, H, W) as a view of a pole, float32 (C, side, side)."""
    size = (panorama.shape[1], panorama.shape[2])
    plan = pole_view(size, _SIDE, reach_deg, zenith=zenith)
    return np.asarray(plan(torch.from_numpy(panorama[None]).float())[0].numpy())


def _around_poles(truth: np.ndarray, reach_deg: float) -> float:
    """Share of looks that are within reach of a pole."""
    edges = [90 - reach_deg]
    north, *_, south = band_scores(truth, truth, latitude_bands(edges))
    return north.truth + south.truth
