"""What a run of chapter 4 says, and what it does differently from the thesis, in sentences."""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from ssl_kedro.encoders.saliency_model import DECODERS, DecoderConfig, decoder_parameters
from ssl_kedro.pipelines.saliency360.parameters import Saliency360Parameters
from ssl_kedro.pipelines.saliency360.plans import GIVEN, TEXT
from ssl_kedro.pipelines.saliency360.records import Results
from ssl_kedro.pipelines.saliency360.report.differences import FEW_SCENES, Difference, judged_model
from ssl_kedro.pipelines.saliency360.report.protocol import settings_differ
from ssl_kedro.reporting.number_format import listed, percent, plain, three_digits
from ssl_kedro.reporting.published import published_table
from ssl_kedro.saliency.evaluation import Estimate
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
_LEADS = {
    "other": "{first} less the maps of {second}",
    "text": "The recipe as the thesis prints it less that of {second} ({first}, {second})",
    "pre-training": "Contrastive less random encoder ({first}, {second})",
    "fine-tuning": "Fine-tuned less frozen encoder ({first}, {second})",
    "decoder": (
        "The {one.decoder} decoder less the {other.decoder} one at {times} times the "
        "multiply-accumulates"
    ),
}
# With fewer scenes than this the notes warn of the intervals.
_FEW_FOR_INTERVALS = 30


def verdicts(results: Results, differences: Sequence[Difference]) -> list[str]:
    """What the numbers of the run's own data say; the first sentence is the result."""
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
    ]
    if results.encoders[results.models[name].encoder].kind != "contrastive":
        said.append("No model on a contrastive encoder was scored.")
    elif not any(about == "pre-training" for about, _, _ in pairs):
        said.append(
            "No model on a random encoder with the same decoder was scored: what the contrastive "
            "training is worth is not known."
        )
    for (about, first, second), found in pairs.items():
        if about in _LEADS:
            pair: dict[str, Any] = {"first": first, "second": second}
            if second in results.models:
                one, other = results.models[first], results.models[second]
                times = three_digits(one.decoder_macs / other.decoder_macs)
                pair |= {"one": one, "other": other, "times": times}
            lead = _LEADS[about].format(**pair)
            said.append(f"{lead}: {_figures(found)}")
    return [sentence for sentence in said if sentence]


def _headline(results: Results, name: str, baselines: dict[str, list[Difference]]) -> str:
    """Is the model better than what sees no image?"""
    said = f"On {results.main}, {name} has CC {plain(results.estimate(name, 'cc').mean)}."
    if not baselines:
        return f"{said} No baseline was scored."
    for baseline, found in baselines.items():
        said += f" Against {_BASELINES[baseline][0]} it is {_summary(found)}."
    if any(one.judgement == "no interval" for found in baselines.values() for one in found):
        said += " Where there is no paired interval, that decides nothing."
    return said


def _summary(found: Iterable[Difference]) -> str:
    """Judgements with their metrics: "better in CC, and not told apart in information gain"."""
    groups: dict[str, list[str]] = {}
    for one in found:
        if one.judgement != "unknown":
            groups.setdefault(_judged(one), []).append(_LONG[one.metric])
    return ", and ".join(f"{j} in {listed(of)}" for j, of in groups.items()) or "not compared"


def _judged(one: Difference) -> str:
    if one.judgement == "undecided":
        return "not told apart by these panoramas"
    if one.judgement != "no interval" or one.mean is None:
        return one.judgement
    ahead = -one.mean if metrics()[one.metric].lower_is_better else one.mean
    return "level" if ahead == 0 else "ahead" if ahead > 0 else "behind"


def _figures(found: Sequence[Difference]) -> str:
    """Each difference with its judgement, as "CC +0.11 [+0.00, +0.20] (better)"."""
    parts = []
    for one in sorted(found, key=lambda one: one.mean is None):
        judged = one.judgement.replace("no interval", "undecided, no paired interval")
        known = f"{one.text} ({judged})"
        parts.append(f"{_LONG[one.metric]} {'not measured' if one.mean is None else known}")
    return f"{'; '.join(parts)}."


def _shuffled(results: Results, name: str) -> str:
    """Does the model know this panorama, beyond where people look in any?"""
    found = results.estimate(name, "sauc")
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
    ceiling, base, value = (results.estimate(n, "cc").mean for n in ("ceiling", "equator", name))
    if ceiling is None:
        return ""
    text = f"Half of the viewers predict the other half with CC {plain(ceiling)}"
    if base is None or value is None or ceiling <= base:
        return f"{text}."
    share = (value - base) / (ceiling - base)
    covered = percent(share, 0) if share > 0 else "nothing"
    return f"{text}; {name} covers {covered} of the way there from the equator prior."


def decoder_sentence() -> str:
    """How large decoders are at the thesis' width, and what the thesis says of that."""
    of = {kind: decoder_parameters(DecoderConfig(kind=kind), 512) for kind in DECODERS}
    each = ", ".join(f"{kind} {count / 1e6:.2f} M" for kind, count in of.items())
    ratio = of["salgan"] / of["thesis"]
    return (
        f"Parameters of decoders at the thesis' width: {each}. The thesis' decoder has "
        f"{ratio:.1f} times fewer than SalGAN's; the thesis says 3.8, and not of what."
    )


def limits(results: Results) -> Iterator[str]:
    """What the data sets are too small, or too bare, to show."""
    for name, found in results.datasets.items():
        if found.images == 1 or found.scenes == 1:
            yield f"{name} is a single scene: there are no intervals, and nothing is decided."
        elif found.scenes < FEW_SCENES:
            yield f"{name} has {found.scenes} scenes: too few for intervals to decide anything."
        modes = [of for by_mode in results.scores[name].values() for of in by_mode.values()]
        if all("nss" not in of or of["nss"].mean is None for of in modes):
            yield f"{name} has no fixations: AUC-J, sAUC, NSS and information gain need some."


def kld_note(results: Results, dataset: str) -> str:
    """Why published KLDs cannot stand beside those on smoothed gaze, where they are larger.

    A map of one point, smoothed by sigma, has KLD ln(pi / (e sigma^2)) against a flat one: pixels
    count alike, 2 pi^2 square radians of them, and the entropy of the Gaussian is
    ln(2 pi e sigma^2). Whatever else is smoothed so is broader.
    """
    found = results.datasets[dataset]
    rows = published_table("4.1")
    klds = rows[rows["dataset"] == found.published]["kld"]
    uniform = results.scores[dataset].get("uniform", {}).get("planar", {}).get("kld", Estimate())
    if found.sigma_deg is None or klds.empty:
        return ""
    most = math.log(math.pi / (math.e * math.radians(found.sigma_deg) ** 2))
    if klds.min() <= most:
        return ""
    known = "" if uniform.mean is None else f"{plain(uniform.mean)} here, and "
    return (
        f"The published KLDs of {klds.min():.1f} to {klds.max():.1f} cannot come from gaze "
        f"smoothed by {found.sigma_deg:g} degrees, as here: against such maps a uniform one, which "
        f"knows nothing, has a KLD of {known}{most:.1f} at most, where all look at one point."
    )


def notes(parameters: Saliency360Parameters, results: Results) -> list[str]:
    """What differs from the thesis, and what these data can and cannot show."""
    made = parameters.model_copy(update=parameters.sections(parameters.recipe))
    size, prior = made.image.size, made.decoder.prior
    scenes = results.datasets[parameters.dataset].scenes
    quirks = ", ".join(part for part in parameters.recipe if part != TEXT).replace("_", " ")
    found = [
        f"Networks made here have {made.encoder.width:g} times the thesis' channels."
        * (made.encoder.width != 1),
        f"They see {size[0]} x {size[1]} px; thesis 160 x 320." * (size != (160, 320)),
        *_given_notes(results),
        *_recipe_notes(parameters),
    ]
    for name, said in settings_differ(made).items():
        found.append(f"{name}, with the thesis' value behind: {said}." * bool(said))
    found += [
        *_pretraining_notes(made, results),
        *(
            f"Data and protocol of {name}, with the thesis' behind: {'; '.join(one.differs)}."
            for name, one in results.datasets.items()
            if one.differs
        ),
        "Convolutions continue on the other side of the panorama; the thesis' do not."
        * (made.encoder.longitude_padding == "circular"),
        f"Decoders start from the {prior} map of their training scenes and add to it; the thesis' "
        "start from nothing." * (prior != "none"),
        "The decoders' loss weighs pixels by solid angle; eq. 4.4 counts them alike."
        * (made.decoding.weighting == "sphere"),
        f"Every model is made with errors of the authors' code: {quirks}." * bool(quirks),
        f"{scenes} scenes are few: intervals say what these scenes allow, no more."
        * (scenes < _FEW_FOR_INTERVALS),
    ]
    return [sentence for sentence in found if sentence]


def _recipe_notes(parameters: Saliency360Parameters) -> Iterator[str]:
    """What the recipe of the text replaces, where it is the run's."""
    if TEXT in parameters.recipe:
        yield (
            "Recipe text: heads, their ends, temperature, decoder and its loss are as the thesis "
            "prints them, whatever these parameters say elsewhere."
        )


def _given_notes(results: Results) -> Iterator[str]:
    """Encoders that were trained elsewhere, and what the cost of gated ones counts."""
    given = {n: one for n, one in results.encoders.items() if one.kind in GIVEN}
    if given:
        named = listed([f"{name} ({one.architecture}; {one.kind})" for name, one in given.items()])
        yield (
            f"Not trained in this run: {named}. Maps of another stride than 16 are resized to it."
        )
    if results.given:
        yield f"Maps of others, read from folders: {listed(results.given)}."
    if masked := [name for name, one in given.items() if one.masked]:
        yield (
            f"The multiply-accumulates of {listed(masked)} are those that the masks leave, gates "
            "included, as a mean over the tested panoramas; times are of every channel."
        )


def _pretraining_notes(parameters: Saliency360Parameters, results: Results) -> Iterator[str]:
    """A temperature that followed the panoramas, and trainings that ended no better than chance."""
    trained = {name: one for name, one in results.encoders.items() if one.history}
    if parameters.contrast.temperature is None and trained:
        chosen = next(iter(trained.values())).temperature
        yield (
            f"The contrastive loss has a temperature of {chosen:.3f}, which asks as much of an "
            "embedding among these panoramas as the thesis' 0.07 does among 90,000."
        )
    for name, encoder in trained.items():
        reached, chance = encoder.history[-1]["global_loss"], encoder.chance_loss
        if reached > chance:
            yield (
                f"The pre-training of {name} does not tell panoramas apart: its global loss is "
                f"{reached:.1f}, that of chance {chance:.1f}. What it learnt is worth little."
            )
