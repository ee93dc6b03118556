"""A run on somebody's own images, from a look at them to parameters that fit the time."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from ssl_kedro.core.config import ConfigError, merged
from ssl_kedro.core.errors import InputError, first_few
from ssl_kedro.core.progress import duration
from ssl_kedro.core.remote import at_hand
from ssl_kedro.images.files import counted_kinds
from ssl_kedro.images.survey import Survey, survey_images
from ssl_kedro.pipelines.gated.own.plan import (
    Candidate,
    Plan,
    candidates,
    changes,
    named_views,
    planned,
)
from ssl_kedro.pipelines.gated.own.trial import Trial
from ssl_kedro.pipelines.gated.parameters import EncoderPipelineParameters

_TRIAL_EPOCHS = 100


class TooFewImagesError(InputError):
    """A folder with too few images to train an encoder on.

    Cause: ``--env own`` found fewer images than ``own.fewest``.
    Remedy: Begin with weights that exist (docs/weights.md), add images, or lower ``own.fewest``.
    """


@dataclass(frozen=True)
class Prepared:
    """What was found and planned.

    Args:
        survey: of the images.
        plan: what is going to be done.
        changes: parameters of the pipeline that it sets, nested as in files.
        trained: name of the encoder for every budget.
    """

    survey: Survey
    plan: Plan
    changes: dict[str, Any]
    trained: str

    @property
    def lines(self) -> list[str]:
        """The plan in words, with the expected end."""
        way, minutes = self.plan.candidate, timedelta(seconds=self.plan.total)
        train = self.changes["train"]
        end = datetime.now().astimezone() + minutes - timedelta(seconds=self.plan.spent)
        stages = {"looking and trying": self.plan.spent, **self.plan.seconds}
        table = [f"  {duration(value):>8}  {name}" for name, value in stages.items()]
        told = [
            f"Plan: images of {way.size} px, views of {self.changes['views']['size']} px (recipe "
            f'"{named_views(self.survey)}"), width {way.width}, batches of {train["batch_size"]}, '
            f"{self.plan.epochs} epochs of each training:",
            *table,
            f"Expected end: {end:%H:%M}, {duration(self.plan.total)} after the start.",
        ]
        if self.plan.short:
            told.append(
                "That is little: more time (own.hours), or fewer images (data.limit), would show "
                "the encoder each image more often."
            )
        return told


def prepared(
    pipeline: str,
    values: Mapping[str, Any],
    given: Mapping[str, Any],
    check: Callable[[Mapping[str, Any]], Any],
    clock: Callable[[], float],
    tell: Callable[[str], None],
) -> Prepared:
    """Look at the images, try this machine, and plan the run.

    Args:
        pipeline: its key, for messages.
        values: its parameters.
        given: those of them that the command line has; the plan keeps to them.
        check: makes parameters of values.
        clock: seconds since the run began.
        tell: takes lines for whoever waits.

    Raises:
        ConfigError: a recipe that there is no plan for.
        TooFewImagesError: it says what to do with few images.
        ImageSourceError: images that cannot be used.
    """
    parameters: EncoderPipelineParameters = check(values)
    if parameters.recipe != "best" or parameters.own.hours is None:
        expected = "best, which is what is planned; or own.hours=null"
        raise ConfigError(f"{pipeline}.recipe", parameters.recipe, expected)
    data = at_hand(replace(parameters.data, source="folder"), None, "root")
    data.existing(_EXPECTED)
    tell(f"Looking at {data.root} ...")
    survey = survey_images(data, parameters.seed)
    for line in _found(survey):
        tell(line)
    _check_enough(pipeline, survey, parameters)
    count = survey.counts["train"]

    # Where the images lie and how they are read was asked of the folder itself.
    of_data = {k: v for k, v in given.get("data", {}).items() if k not in ("source", "root")}
    given = {**given, "data": of_data}
    epochs = given.get("train", {}).get("epochs")

    def parameters_of(way: Candidate) -> EncoderPipelineParameters:
        changed = merged(changes(way, epochs or _TRIAL_EPOCHS, survey), given)
        made: EncoderPipelineParameters = check(merged(values, changed))
        return made

    trial = Trial(survey.files, survey.counts, len(survey.classes), parameters_of, tell)
    settled = {key: given[of][key] for of, key in _SETTLED if key in given.get(of, {})}
    plan = planned(
        candidates(survey.sides[1], settled),
        trial,
        clock,
        count,
        3600 * parameters.own.hours,
        parameters.own.passes,
        epochs,
    )
    computed = trial.computed
    made = merged(changes(plan.candidate, plan.epochs, survey), {"train": computed})
    return Prepared(survey, plan, merged(made, given), parameters.for_every_budget)


_EXPECTED = "a folder of images, a table of them (.csv) or an archive (.zip, .tar)"
_SETTLED = (("data", "size"), ("encoder", "width"), ("encoder", "stem"))


def _found(survey: Survey) -> list[str]:
    """What the images are like, in lines."""
    least, middle, most = survey.sides
    sides = f"{middle} px" if least == most else f"{least} to {most} px, most about {middle}"
    train, held = survey.counts["train"], survey.counts["eval"]
    colours = f"{survey.grey:.0%} of a sample grey" if survey.grey >= 0.005 else "in colour"
    lines = [
        f"Found {train + held:,} images, {sides} on the shorter side, {colours}; "
        f"{held:,} of them are held out to judge by.",
        survey.choice,
    ]
    if survey.classes:
        sizes = sorted(count for _, count in survey.classes)
        names = first_few([name for name, _ in survey.classes], 8)
        lines.append(f"{len(sizes)} classes of {sizes[0]} to {sizes[-1]} training images: {names}.")
    if survey.unreadable:
        named = first_few([f"{file.path} ({file.reason})" for file in survey.unreadable], 3)
        lines.append(f"{len(survey.unreadable)} of {survey.sampled} cannot be read: {named}.")
    if survey.other_files:
        lines.append(f"Left alone: {counted_kinds(survey.other_files)}.")
    return lines


def _check_enough(pipeline: str, survey: Survey, parameters: EncoderPipelineParameters) -> None:
    count = survey.counts["train"] + survey.counts["eval"]
    if count >= parameters.own.fewest:
        return
    raise TooFewImagesError(
        f"{pipeline}.data.root = {survey.data.root!r}",
        f"{count} images",
        f"at least {parameters.own.fewest} ({pipeline}.own.fewest), fewer teach an encoder little",
        "take an encoder that was trained on other images: give its bundle or published weights "
        f"as {pipeline}.encoder.init with --tags evaluate (docs/weights.md), or use it for search "
        f"(retrieval_eval, --env folder); or train all the same with {pipeline}.own.fewest={count}",
    )
