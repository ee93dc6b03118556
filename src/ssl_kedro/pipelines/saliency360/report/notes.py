"""What a run does differently from the thesis, in sentences for the report."""

from __future__ import annotations

from ssl_kedro.pipelines.saliency360.parameters import Saliency360Parameters
from ssl_kedro.pipelines.saliency360.records import Results
from ssl_kedro.reporting.published import changes, compared, published_recipe, values_of

_FEW_SCENES = 30


def notes(parameters: Saliency360Parameters, results: Results) -> list[str]:
    """What differs from the thesis, and what these data can and cannot show."""
    found = []
    if parameters.encoder.width != 1:
        found.append(f"Networks have {parameters.encoder.width:g} times the thesis' channels.")
    if parameters.image.size != (160, 320):
        found.append(
            f"They see {parameters.image.height} x {parameters.image.width} px; thesis 160 x 320."
        )
    for name, stage in (("Pre-training", "pretraining"), ("Decoding", "decoding")):
        thesis = published_recipe(f"4_{stage}")
        if said := changes(compared(thesis, values_of(parameters, list(thesis)))):
            found.append(f"{name}, with the thesis' value behind: {said}.")
    found += _pretraining_notes(parameters, results)
    if parameters.encoder.longitude_padding == "circular":
        found.append("Convolutions continue on the other side of the panorama; the thesis' do not.")
    if parameters.decoder.prior != "none":
        found.append(
            f"Decoders start from the {parameters.decoder.prior} map of their training scenes and "
            "add to it; the thesis' start from nothing."
        )
    if parameters.decoding.weighting == "sphere":
        found.append("The decoders' loss weighs pixels by solid angle; eq. 4.4 counts them alike.")
    if parameters.recipe:
        quirks = ", ".join(quirk.replace("_", " ") for quirk in parameters.recipe)
        found.append(f"Every model is made with errors of the authors' code: {quirks}.")
    scenes = results.datasets[parameters.dataset].scenes
    if scenes < _FEW_SCENES:
        found.append(f"{scenes} scenes are few: intervals say what these scenes allow, no more.")
    return found


def _pretraining_notes(parameters: Saliency360Parameters, results: Results) -> list[str]:
    """A temperature that followed the panoramas, and trainings that ended no better than chance."""
    found = []
    trained = {name: one for name, one in results.encoders.items() if one.history}
    if parameters.contrast.temperature is None and trained:
        chosen = next(iter(trained.values())).temperature
        found.append(
            f"The contrastive loss has a temperature of {chosen:.3f}, which asks as much of an "
            "embedding among these panoramas as the thesis' 0.07 does among 90,000."
        )
    for name, encoder in trained.items():
        reached, chance = encoder.history[-1]["global_loss"], encoder.chance_loss
        if reached > chance:
            found.append(
                f"The pre-training of {name} does not tell panoramas apart: its global loss is "
                f"{reached:.1f}, that of chance {chance:.1f}. What it learnt is worth little."
            )
    return found
