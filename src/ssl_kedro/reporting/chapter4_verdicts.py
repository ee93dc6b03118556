"""What the scores of chapter 4 say, in sentences that follow the numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ssl_kedro.reporting.chapter4_differences import (
    FEW_SCENES,
    Difference,
    Judgement,
    Results,
    difference,
    mean_score,
    number,
)
from ssl_kedro.reporting.number_format import percent, plain, three_digits
from ssl_kedro.saliency.metric import metrics

# The two that the verdict is about: agreement of maps, and bits a look.
DECIDING = ("cc", "info_gain")


def judged_model(results: Results, dataset: str) -> str | None:
    """Which model the verdict is about: fixed beforehand, not the best on the tested images.

    The best of several on the very images that they are compared on is partly the luckiest.

    Returns:
        The first model with scores on a frozen contrastive encoder, with the light decoder where
        there is one and without quirks of the authors' code; then any model with scores; None
        without any.
    """
    scored = [str(name) for name in results["models"] if name in results["scores"].get(dataset, {})]

    def place(name: str) -> tuple[bool, ...]:
        plan = results["models"][name]
        kind = results["encoders"].get(plan["encoder"], {}).get("kind")
        return (
            kind != "contrastive",
            bool(plan.get("recipe")),
            plan["fine_tune"],
            plan["decoder"] != "light",
        )

    return min(scored, key=place) if scored else None


def verdicts(results: Results, dataset: str, mode: str) -> list[str]:
    """What the numbers of one data set say; the first sentence is the result.

    Args:
        results: as ``collect`` of the pipeline makes them.
        dataset: the run's own data.
        mode: of the scores.
    """
    name = judged_model(results, dataset)
    if name is None:
        return ["No model was scored."]
    said = [
        _headline(results, dataset, name, mode),
        *_against_baselines(results, dataset, name, mode),
        _shuffled(results, dataset, name, mode),
        *_against_ceiling(results, dataset, name, mode),
        _against_random(results, dataset, name, mode),
        *_against_fine_tuned(results, dataset, name, mode),
        *_decoders(results, dataset, name, mode),
    ]
    return [sentence for sentence in said if sentence]


def _headline(results: Results, dataset: str, name: str, mode: str) -> str:
    """Is the model better than what sees no image?"""
    said = f"On {dataset}, {name} has CC {plain(mean_score(results, dataset, name, mode, 'cc'))}."
    beside = {n: words for n, words in _BASELINES.items() if n in results["scores"][dataset]}
    if not beside:
        return f"{said} No baseline was scored."
    for baseline, words in beside.items():
        found = [difference(results, dataset, name, baseline, mode, m) for m in DECIDING]
        said += f" Against {words} it is {_summary(found)}."
    return said


_BASELINES = {
    "equator": "the equator prior, which knows latitude alone,",
    "mean": "the mean of the training maps, which sees no image either,",
}


def _summary(found: Sequence[Difference]) -> str:
    """Judgements with their metrics: "better in CC, and not told apart in information gain"."""
    groups: dict[str, list[Difference]] = {}
    for one in found:
        if one.judgement != "unknown":
            groups.setdefault(_judged(one), []).append(one)
    if not groups:
        return "not compared"
    return ", and ".join(f"{judged} in {_metrics(group)}" for judged, group in groups.items())


def _judged(one: Difference) -> str:
    if one.judgement == "undecided":
        return "not told apart by these panoramas"
    if one.judgement != "no interval":
        return one.judgement
    ahead = -one.mean if metrics()[one.metric].lower_is_better else one.mean
    word = "level" if ahead == 0 else "ahead" if ahead > 0 else "behind"
    return f"{word} (undecided, without a paired interval)"


def _metrics(found: Sequence[Difference]) -> str:
    return _and([_LONG.get(one.metric, metrics()[one.metric].heading) for one in found])


_LONG = {"cc": "CC", "info_gain": "information gain"}


def _against_baselines(results: Results, dataset: str, name: str, mode: str) -> list[str]:
    said = []
    for baseline, words in (("equator", "equator prior"), ("mean", "mean of the training maps")):
        if baseline in results["scores"][dataset]:
            found = [difference(results, dataset, name, baseline, mode, m) for m in DECIDING]
            said.append(f"Less the {words}, {name} has {_sentences(found)}")
    return said


def _sentences(found: Sequence[Difference]) -> str:
    """Each difference with its judgement, as "CC +0.11 [+0.00, +0.20] (better)"."""
    parts = [
        f"{_metrics([one])} {one.text} ({_JUDGED[one.judgement]})"
        for one in found
        if one.judgement != "unknown"
    ]
    parts += [f"{_metrics([one])} not measured" for one in found if one.judgement == "unknown"]
    return f"{'; '.join(parts)}."


_JUDGED: Mapping[Judgement, str] = {
    "better": "better",
    "worse": "worse",
    "undecided": "undecided",
    "no interval": "undecided, no paired interval",
}


def _shuffled(results: Results, dataset: str, name: str, mode: str) -> str:
    """Does the model know this panorama, beyond where people look in any?"""
    found = results["scores"][dataset][name].get(mode, {}).get("sauc") or {}
    mean, low, high = (number(found.get(key)) for key in ("mean", "low", "high"))
    if math.isnan(mean):
        return ""
    start = f"By sAUC, {name} has {plain(mean)}"
    if results["datasets"].get(dataset, {}).get("scenes", 0) < FEW_SCENES or math.isnan(low):
        return f"{start}, where 0.50 knows nothing of this panorama beyond any other."
    start += f" [{plain(low)}, {plain(high)}]"
    if low > 0.5:
        return f"{start}, above 0.50: it knows this panorama beyond what is common to all."
    where = "below 0.50" if high < 0.5 else "not told apart from 0.50"
    return f"{start}, {where}: nothing is shown beyond what is common to all panoramas."


def _against_ceiling(results: Results, dataset: str, name: str, mode: str) -> list[str]:
    ceiling = mean_score(results, dataset, "ceiling", mode, "cc")
    base = mean_score(results, dataset, "equator", mode, "cc")
    value = mean_score(results, dataset, name, mode, "cc")
    if math.isnan(ceiling):
        return []
    text = f"Half of the viewers predict the other half with CC {plain(ceiling)}"
    if math.isnan(base) or math.isnan(value) or ceiling <= base:
        return [f"{text}."]
    share = (value - base) / (ceiling - base)
    if share <= 0:
        return [f"{text}; {name} covers nothing of the way there from the equator prior."]
    return [f"{text}; {name} covers {percent(share, 0)} of the way there from the equator prior."]


def _against_random(results: Results, dataset: str, name: str, mode: str) -> str:
    """What the contrastive training is worth: frozen encoders under the same decoder."""
    plan = results["models"][name]
    if _encoder(results, name).get("kind") != "contrastive":
        return "No model on a contrastive encoder was scored."
    other = _partner(results, dataset, name, kind="random", fine_tune=plan["fine_tune"])
    if other is None:
        return (
            "No model on a random encoder with the same decoder was scored: what the contrastive "
            "training is worth is not known."
        )
    found = [difference(results, dataset, name, other, mode, m) for m in DECIDING]
    return f"Contrastive less random encoder ({name}, {other}): {_sentences(found)}"


def _against_fine_tuned(results: Results, dataset: str, name: str, mode: str) -> list[str]:
    if results["models"][name]["fine_tune"]:
        return []
    encoder = results["models"][name]["encoder"]
    other = _partner(results, dataset, name, encoder=encoder, fine_tune=True)
    if other is None:
        return []
    found = [difference(results, dataset, other, name, mode, m) for m in DECIDING]
    return [f"Fine-tuned less frozen encoder ({other}, {name}): {_sentences(found)}"]


def _partner(
    results: Results,
    dataset: str,
    name: str,
    *,
    fine_tune: bool,
    kind: str | None = None,
    encoder: str | None = None,
) -> str | None:
    """First scored model with the same decoder and network that differs as is asked for."""
    same = ("architecture", "width")
    own = results["models"][name]
    for other, plan in results["models"].items():
        found = _encoder(results, other)
        if (
            other != name
            and other in results["scores"].get(dataset, {})
            and (plan["decoder"], plan["fine_tune"]) == (own["decoder"], fine_tune)
            and plan.get("recipe", []) == own.get("recipe", [])
            and (kind is None or found.get("kind") == kind)
            and (encoder is None or plan["encoder"] == encoder)
            and all(found.get(key) == _encoder(results, name).get(key) for key in same)
        ):
            return str(other)
    return None


def _decoders(results: Results, dataset: str, name: str, mode: str) -> list[str]:
    """Other decoders on the same encoder, in agreement and in cost."""
    own = results["models"][name]
    said = []
    for other, plan in results["models"].items():
        same = all(plan.get(key) == own.get(key) for key in ("encoder", "fine_tune", "recipe"))
        if other not in results["scores"].get(dataset, {}) or not same:
            continue
        if plan["decoder"] == own["decoder"]:
            continue
        found = difference(results, dataset, other, name, mode, "cc")
        cost = ""
        if plan.get("decoder_macs") and own.get("decoder_macs"):
            times = three_digits(plan["decoder_macs"] / own["decoder_macs"])
            cost = f" at {times} times the multiply-accumulates"
        said.append(
            f"The {plan['decoder']} decoder less the {own['decoder']} one{cost}: "
            f"{_sentences([found])}"
        )
    return said


def limits(results: Results) -> list[str]:
    """What the data sets are too small, or too bare, to show."""
    said = []
    for name in results["scores"]:
        found = results["datasets"].get(name, {})
        images, scenes = found.get("images", 0), found.get("scenes", 0)
        if images == 1 or scenes == 1:
            said.append(
                f"{name} is a single scene: there are no intervals, and nothing is decided."
            )
        elif scenes < FEW_SCENES:
            said.append(f"{name} has {scenes} scenes: too few for intervals to decide anything.")
        if not _any(results, name, "nss"):
            missing = f"{name} has no fixations: AUC-J, sAUC, NSS and information gain need some."
            said.append(missing)
    return said


def _any(results: Results, dataset: str, metric: str) -> bool:
    """Whether anything has a score by one metric."""
    return any(
        (metrics.get(metric) or {}).get("mean") is not None
        for modes in results["scores"][dataset].values()
        for metrics in modes.values()
    )


def _encoder(results: Results, name: str) -> Mapping[str, object]:
    found: Mapping[str, object] = results["encoders"].get(results["models"][name]["encoder"], {})
    return found


def _and(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
