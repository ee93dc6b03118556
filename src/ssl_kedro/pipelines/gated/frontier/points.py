"""Every network, precision and engine of a run as a point of accuracy and time."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ssl_kedro.evaluation.paired import half_interval, paired_loss
from ssl_kedro.inference.comparison import Comparison, key_parts, network_key
from ssl_kedro.pipelines.gated.frontier.choice import Candidate, deployed, pareto_front
from ssl_kedro.pipelines.gated.inference.records import Form, Measurement

Arrays = Mapping[str, np.ndarray]
# By seed and measure, one value an image.
_BySeed = dict[int, dict[str, np.ndarray]]
# What networks are compared by, first of all by the first that there is: columns of the frame.
MEASURES = ("linear", "knn", "neighbours")


class Left(NamedTuple):
    """What one training left: times, accuracies and which images are named rightly."""

    measurement: Measurement
    answers: Arrays


class Difference(NamedTuple):
    """Less the dense network in f32, in points, with an interval; NaN where there is none."""

    points: float = math.nan
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class Trained:
    """All trainings of one model, by seed; times are those of the first."""

    key: str
    by_seed: Mapping[int, Left]

    @property
    def first(self) -> Measurement:
        """Of the first seed."""
        return self.by_seed[min(self.by_seed)].measurement

    def right(self, form: Form) -> _BySeed:
        """By seed and measure, what a form gives for each image."""
        found = {}
        for seed, (measurement, answers) in self.by_seed.items():
            same = measurement.form(form.network, form.precision, form.engines[0])
            if same is not None:
                start = f"{same.network}.{same.precision}.{same.engines[0]}."
                found[seed] = {
                    name.removeprefix(start): values
                    for name, values in answers.items()
                    if name.startswith(start)
                }
        return found


def trained_models(found: Mapping[str, Any]) -> dict[str, Trained]:
    """Models by key, of values named "<key>.seed_<n>.inference" and "<key>.seed_<n>.answers"."""
    models: dict[str, dict[int, Left]] = {}
    for name, measurement in found.items():
        whose, _, what = name.rpartition(".")
        if what == "inference":
            key, _, seed = whose.rpartition(".seed_")
            models.setdefault(key, {})[int(seed)] = Left(measurement, found[f"{whose}.answers"])
    return {key: Trained(key, by_seed) for key, by_seed in models.items()}


def offered_comparisons(
    measurement: Measurement, baseline: Measurement | None
) -> dict[str, Comparison]:
    """Times by batch size in which only what loses little enough is the dense baseline.

    Args:
        measurement: of an encoder.
        baseline: the ungated model; None = it was not measured. What a user would run without gates
            is its dense network in any precision that holds, or the encoder's own in one that does.
    """

    def offered(key: str) -> bool:
        network, precision = key_parts(key)
        judges = [measurement, baseline] if network == "dense" else [measurement]
        found = [judge.offered(network, precision) for judge in judges if judge is not None]
        return precision == "f32" or any(found)

    return {
        batch: compared.offering(set(filter(offered, compared.networks)))
        for batch, compared in measurement.batches.items()
    }


def frontier_frame(models: Mapping[str, Trained], *, baseline: str, within: float) -> pd.DataFrame:
    """One row a model, network, precision, batch size and engine.

    Args:
        models: that were measured.
        baseline: key of the ungated model, whose dense network in f32 differences are to.
        within: points below the best that what is deployed may be.

    Returns:
        Columns model, network, precision, batch, engine, fastest (of the engines at this batch
        size), ms_per_image (in turns with the dense networks of the run's shape, as if these took
        what they do in the median over models), ratio (time of the fastest dense network within
        max_loss over its own; NaN of engines that are not the fastest, which did not take turns
        with it), f32_ratio (the same of the dense network in f32), linear, knn, neighbours
        (percent: of images named rightly, or without labels of held-out images with the same
        nearest neighbour as by the baseline in f32; NaN of other encoders, which are no better for
        being like it), each of the first two with ``_difference`` to the baseline in points and
        ``_low`` and ``_high`` ends of its interval, seeds, cost_share (mean over them), file_bytes,
        memory_mb, verdict and offered (of all engines that were fastest somewhere), on_front
        (none of the fastest is better), deployed.
    """
    reference, whole = _reference(models, baseline), _dense_ms(models)
    rows = []
    for trained in models.values():
        paces = _paces(trained, whole)
        for form in trained.first.forms:
            key = network_key(form.network, form.precision)
            for row in _rows(trained, form, models, baseline, reference):
                ms = row["ms_per_image"] * paces[row["batch"]]
                if row["fastest"]:  # the dense network is the same one in every model
                    ms = whole[row["batch"]].get(key, ms)
                rows.append({**row, "ms_per_image": ms})
    frame = pd.DataFrame(rows)
    frame["on_front"] = False
    for _, of in frame[frame["offered"] & frame["fastest"]].groupby("batch"):
        front = pareto_front(of["ms_per_image"].tolist(), of[measure_of(frame)].tolist())
        frame.loc[of.index[front], "on_front"] = True
    chosen = chosen_of(frame, within)
    frame["deployed"] = False
    if chosen is not None:
        frame["deployed"] = (_names(frame) == chosen[0].name) & frame["fastest"]
    return frame


def measure_of(frame: pd.DataFrame) -> str:
    """What a frame's networks are compared by: the first measure that there is."""
    return next((name for name in MEASURES if frame[name].notna().any()), MEASURES[0])


def chosen_of(frame: pd.DataFrame, within: float) -> tuple[Candidate, Candidate] | None:
    """What to deploy and the best, of the offered rows; None without accuracies."""
    usable = frame[frame["fastest"] & frame["offered"]]
    measure = measure_of(frame)
    candidates = [
        Candidate(
            str(name),
            float(of[measure].min()),
            dict(zip(of["batch"].astype(int), of["ms_per_image"], strict=True)),
        )
        for name, of in usable.groupby(_names(usable), sort=False)
    ]
    return deployed(candidates, within)


def _own_dense_ms(trained: Trained) -> dict[int, dict[str, float]]:
    """An image of the dense network in each precision, which all others take turns with."""
    return {
        int(batch): {
            key: timed.ms / compared.batch_size
            for key, timed in compared.networks.items()
            if key_parts(key)[0] == "dense"
        }
        for batch, compared in trained.first.batches.items()
    }


def _dense_ms(models: Mapping[str, Trained]) -> dict[int, dict[str, float]]:
    """The same as medians over models: other work on a machine slows some of them down."""
    found: dict[int, dict[str, list[float]]] = {}
    for trained in models.values():
        for batch, own in _own_dense_ms(trained).items():
            for key, ms in own.items():
                found.setdefault(batch, {}).setdefault(key, []).append(ms)
    return {
        batch: {key: statistics.median(values) for key, values in of.items()}
        for batch, of in found.items()
    }


def _paces(trained: Trained, whole: Mapping[int, Mapping[str, float]]) -> dict[int, float]:
    """By how much times of a model are to be multiplied, by batch size.

    The geometric mean over precisions: a short disturbance hits one of them.
    """
    return {
        batch: statistics.geometric_mean(whole[batch][key] / ms for key, ms in own.items())
        for batch, own in _own_dense_ms(trained).items()
    }


def _names(frame: pd.DataFrame) -> "pd.Series[str]":
    return frame["model"] + "|" + frame["network"] + "|" + frame["precision"]


def _reference(models: Mapping[str, Trained], baseline: str) -> _BySeed:
    """What the dense network in f32 gives for each image, by seed and measure."""
    of_baseline = models.get(baseline)
    form = of_baseline and of_baseline.first.form("dense", "f32", "eager")
    return of_baseline.right(form) if of_baseline and form else {}


def _rows(
    trained: Trained,
    form: Form,
    models: Mapping[str, Trained],
    baseline: str,
    reference: _BySeed,
) -> Iterator[dict[str, Any]]:
    """Rows of one form: at each batch size every engine whose accuracy is this form's."""
    first, key = trained.first, network_key(form.network, form.precision)
    known = models[baseline].first if baseline in models else None
    shares = [
        measured.macs[form.network] / measured.macs["dense"]
        for measured, _ in trained.by_seed.values()
        if measured.offered(form.network, form.precision) is not None
    ]
    common = {
        "model": trained.key,
        "network": form.network,
        "precision": form.precision,
        "cost_share": statistics.fmean(shares),
        **_accuracies(trained, form, reference, of_baseline=trained.key == baseline),
        "seeds": len(shares),
        "verdict": first.verdict(form.network, form.precision) or "",
        "offered": first.offered(form.network, form.precision),
    }
    footprint = first.footprints.get(key)
    for batch, compared in offered_comparisons(first, known).items():
        timed = compared.networks.get(key)
        for timing in timed.timings if timed else ():
            if timed is None or timing.ms is None:
                continue
            if form.precision != "f32" and timing.name not in form.engines:
                continue  # it rounds in another way, and nobody has judged it
            fastest = timing.name == timed.engine
            yield {
                **common,
                "batch": int(batch),
                "engine": timing.name,
                "fastest": fastest,
                "ms_per_image": (timed.ms if fastest else timing.ms) / compared.batch_size,
                "ratio": timed.measured_ratio if fastest else math.nan,
                "f32_ratio": (timed.f32_ratio if fastest else None) or math.nan,
                "file_bytes": footprint and footprint.file_bytes,
                "memory_mb": (footprint and fastest and footprint.memory_mb.get(batch)) or math.nan,
            }


def _accuracies(
    trained: Trained, form: Form, reference: _BySeed, *, of_baseline: bool
) -> dict[str, float]:
    """Means over seeds in percent, and differences to the reference with their intervals."""
    found: dict[str, float] = {}
    right = trained.right(form)
    itself = of_baseline and (form.network, form.precision) == ("dense", "f32")
    same = [
        m.form(form.network, form.precision, form.engines[0]) for m, _ in trained.by_seed.values()
    ]
    flat = [one.accuracies.flat() for one in same if one is not None]
    for measure, name in (("linear", "linear_top1_mean"), ("knn", "knn_top1")):
        values = [one[name] for one in flat if name in one]
        found[measure] = 100 * statistics.fmean(values) if values else math.nan
        ours, theirs = (
            {seed: of[measure] for seed, of in answers.items() if measure in of}
            for answers in (right, {} if itself else reference)
        )
        less = difference(ours, theirs)
        found |= dict(zip(_ends(measure), less, strict=True))
    agreeing = [
        float((of["neighbours"] == reference[seed]["neighbours"]).mean())
        for seed, of in right.items()
        if of_baseline and "neighbours" in of and seed in reference
    ]
    found["neighbours"] = 100 * statistics.fmean(agreeing) if agreeing else math.nan
    return found


def _ends(measure: str) -> tuple[str, str, str]:
    return f"{measure}_difference", f"{measure}_low", f"{measure}_high"


def difference(ours: Mapping[int, np.ndarray], theirs: Mapping[int, np.ndarray]) -> Difference:
    """Ours less theirs in points with a 95 % interval.

    With several seeds Student's, of the differences seed by seed: it holds for other trainings.
    With one seed that of :func:`~ssl_kedro.evaluation.paired.paired_loss` over the images: it holds
    for other images and these two trainings.

    Args:
        ours: share of right answers for each image, (N,), by seed.
        theirs: the same of the reference.
    """
    seeds = sorted(ours.keys() & theirs.keys())
    if not seeds:
        return Difference()
    if len(seeds) == 1:
        loss = paired_loss(theirs[seeds[0]], ours[seeds[0]])
        return Difference(-loss.points, -loss.high, -loss.low)
    return seed_interval([100 * float((ours[s] - theirs[s]).mean()) for s in seeds])


def seed_interval(differences: Sequence[float], confidence: float = 0.95) -> Difference:
    """Mean over two seeds or more, with Student's interval."""
    count, mean = len(differences), statistics.fmean(differences)
    reach = half_interval(statistics.stdev(differences), count, confidence)
    return Difference(mean, mean - reach, mean + reach)
