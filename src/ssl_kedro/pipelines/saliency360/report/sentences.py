"""What the scores of chapter 4 say, in sentences that follow the numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import groupby

from ssl_kedro.pipelines.saliency360.records import Results
from ssl_kedro.pipelines.saliency360.report.differences import (
    FEW_SCENES,
    Difference,
    judged_model,
)
from ssl_kedro.reporting.number_format import listed, percent, plain, three_digits
from ssl_kedro.saliency.metric import metrics

# Names of a baseline where it is first spoken of, and afterwards.
_BASELINES = {
    "equator": ("the equator prior, which knows latitude alone,", "equator prior"),
    "mean": (
        "the mean of the training maps, which sees no image either,",
        "mean of the training maps",
    ),
}
_LONG = {"cc": "CC", "info_gain": "information gain"}
_JUDGED = {
    "better": "better",
    "worse": "worse",
    "undecided": "undecided",
    "no interval": "undecided, no paired interval",
}


def verdicts(results: Results, differences: Sequence[Difference]) -> list[str]:
    """What the numbers of the run's own data say; the first sentence is the result.

    Args:
        results: of the run.
        differences: :func:`~.differences.paired_differences` of them.
    """
    name = judged_model(results)
    if name is None:
        return ["No model was scored."]
    own = [one for one in differences if name in (one.first, one.second)]
    pairs = {
        key: list(found)
        for key, found in groupby(own, key=lambda one: (one.about, one.first, one.second))
        if key[0] != "baseline" or key[1] == name
    }
    baselines = {key[2]: found for key, found in pairs.items() if key[0] == "baseline"}
    said = [
        _headline(results, name, baselines),
        *(
            f"Less the {_BASELINES[baseline][1]}, {name} has {_figures(found)}"
            for baseline, found in baselines.items()
        ),
        _shuffled(results, name),
        _ceiling(results, name),
        *_pre_training(results, name, [key for key in pairs if key[0] == "pre-training"]),
    ]
    for (about, first, second), found in pairs.items():
        if about == "pre-training":
            lead = f"Contrastive less random encoder ({first}, {second})"
        elif about == "fine-tuning":
            lead = f"Fine-tuned less frozen encoder ({first}, {second})"
        elif about == "decoder":
            lead = _decoders(results, first, second)
        else:
            continue
        said.append(f"{lead}: {_figures(found)}")
    return [sentence for sentence in said if sentence]


def _headline(results: Results, name: str, baselines: dict[str, list[Difference]]) -> str:
    """Is the model better than what sees no image?"""
    said = f"On {results.main}, {name} has CC {plain(_mean(results, name, 'cc'))}."
    if not baselines:
        return f"{said} No baseline was scored."
    for baseline, found in baselines.items():
        said += f" Against {_BASELINES[baseline][0]} it is {_summary(found)}."
    return said


def _summary(found: Iterable[Difference]) -> str:
    """Judgements with their metrics: "better in CC, and not told apart in information gain"."""
    groups: dict[str, list[str]] = {}
    for one in found:
        if one.judgement != "unknown":
            groups.setdefault(_judged(one), []).append(_long(one))
    return ", and ".join(f"{j} in {listed(of)}" for j, of in groups.items()) or "not compared"


def _judged(one: Difference) -> str:
    if one.judgement == "undecided":
        return "not told apart by these panoramas"
    if one.judgement != "no interval" or one.mean is None:
        return one.judgement
    ahead = -one.mean if metrics()[one.metric].lower_is_better else one.mean
    word = "level" if ahead == 0 else "ahead" if ahead > 0 else "behind"
    return f"{word} (undecided, without a paired interval)"


def _long(one: Difference) -> str:
    return _LONG.get(one.metric, metrics()[one.metric].heading)


def _figures(found: Sequence[Difference]) -> str:
    """Each difference with its judgement, as "CC +0.11 [+0.00, +0.20] (better)"."""
    parts = [
        f"{_long(one)} {one.text} ({_JUDGED[one.judgement]})"
        for one in found
        if one.mean is not None
    ]
    parts += [f"{_long(one)} not measured" for one in found if one.mean is None]
    return f"{'; '.join(parts)}."


def _mean(results: Results, name: str, metric: str) -> float:
    found = results.estimate(results.main, name, results.mode(results.main), metric).mean
    return math.nan if found is None else found


def _shuffled(results: Results, name: str) -> str:
    """Does the model know this panorama, beyond where people look in any?"""
    found = results.estimate(results.main, name, results.mode(results.main), "sauc")
    if found.mean is None:
        return ""
    start = f"By sAUC, {name} has {plain(found.mean)}"
    few = results.datasets[results.main].scenes < FEW_SCENES
    if few or found.low is None or found.high is None:
        return f"{start}, where 0.50 knows nothing of this panorama beyond any other."
    start += f" [{plain(found.low)}, {plain(found.high)}]"
    if found.low > 0.5:
        return f"{start}, above 0.50: it knows this panorama beyond what is common to all."
    where = "below 0.50" if found.high < 0.5 else "not told apart from 0.50"
    return f"{start}, {where}: nothing is shown beyond what is common to all panoramas."


def _ceiling(results: Results, name: str) -> str:
    """How far the model comes on the way from the equator prior to other viewers."""
    ceiling, base, value = (_mean(results, n, "cc") for n in ("ceiling", "equator", name))
    if math.isnan(ceiling):
        return ""
    text = f"Half of the viewers predict the other half with CC {plain(ceiling)}"
    if math.isnan(base) or math.isnan(value) or ceiling <= base:
        return f"{text}."
    share = (value - base) / (ceiling - base)
    covered = percent(share, 0) if share > 0 else "nothing"
    return f"{text}; {name} covers {covered} of the way there from the equator prior."


def _pre_training(results: Results, name: str, pairs: Sequence[object]) -> list[str]:
    """Why there is no word on what the contrastive training is worth, where there is none."""
    if results.encoders[results.models[name].encoder].kind != "contrastive":
        return ["No model on a contrastive encoder was scored."]
    if pairs:
        return []
    return [
        "No model on a random encoder with the same decoder was scored: what the contrastive "
        "training is worth is not known."
    ]


def _decoders(results: Results, first: str, second: str) -> str:
    """Two decoders on the same encoder, with their cost."""
    one, other = results.models[first], results.models[second]
    times = three_digits(one.decoder_macs / other.decoder_macs)
    return (
        f"The {one.decoder} decoder less the {other.decoder} one at {times} times the "
        "multiply-accumulates"
    )


def limits(results: Results) -> list[str]:
    """What the data sets are too small, or too bare, to show."""
    said = []
    for name, found in results.datasets.items():
        if found.images == 1 or found.scenes == 1:
            said.append(
                f"{name} is a single scene: there are no intervals, and nothing is decided."
            )
        elif found.scenes < FEW_SCENES:
            said.append(
                f"{name} has {found.scenes} scenes: too few for intervals to decide anything."
            )
        modes = [of for by_mode in results.scores[name].values() for of in by_mode.values()]
        if all("nss" not in of or of["nss"].mean is None for of in modes):
            missing = f"{name} has no fixations: AUC-J, sAUC, NSS and information gain need some."
            said.append(missing)
    return said
