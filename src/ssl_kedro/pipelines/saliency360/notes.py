"""What a run does differently from the thesis, in sentences for the report."""

from __future__ import annotations

import math
from typing import Any

from ssl_kedro.pipelines.saliency360.parameters import Saliency360Parameters

Json = dict[str, Any]
_FEW_SCENES = 30
# Thesis 4.4, by key of the parameters.
_PRETRAINING: dict[str, tuple[str, Any]] = {
    "train.epochs": ("epochs", 250),
    "train.batch_size": ("panoramas a batch", 80),
    "train.optimiser": ("optimiser", "sgd"),
    "train.peak_lr": ("largest learning rate", 0.01),
    "contrast.negatives": ("negatives", 16000),
    "contrast.local_weight": ("lambda", 0.7),
    "contrast.temperature": ("tau", 0.07),
    "contrast.bank_momentum": ("the bank's momentum", 0.5),
    "contrast.head_end": ("last layer of the heads", "relu"),
}
_DECODING: dict[str, tuple[str, Any]] = {
    "decoder.kind": ("decoder", "thesis"),
    "decoder_train.epochs": ("epochs", 100),
    "decoder_train.batch_size": ("panoramas a batch", 64),
    "decoder_train.optimiser": ("optimiser", "adam"),
    "decoder_train.peak_lr": ("largest learning rate", 1e-4),
    "decoder_train.schedule": ("schedule of the learning rate", "constant"),
    "decoder.dropout": ("dropout", 0.0),
    "decoding.flip": ("mirrored panoramas", False),
    "decoding.turn": ("turned panoramas", False),
}


def notes(parameters: Saliency360Parameters, results: Json) -> list[str]:
    """What differs from the thesis, and what these data can and cannot show."""
    found = []
    if parameters.encoder.width != 1:
        found.append(f"Networks have {parameters.encoder.width:g} times the thesis' channels.")
    if parameters.image.size != (160, 320):
        found.append(
            f"They see {parameters.image.height} x {parameters.image.width} px; thesis 160 x 320."
        )
    for what, thesis in (("Pre-training", _PRETRAINING), ("Decoding", _DECODING)):
        changes = _changes(parameters, thesis)
        if changes:
            found.append(f"{what}, with the thesis' value behind: {'; '.join(changes)}.")
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
    main = results["datasets"][parameters.dataset]
    if main["scenes"] < _FEW_SCENES:
        found.append(
            f"{main['scenes']} scenes are few: intervals say what these scenes allow, no more."
        )
    return found


def _pretraining_notes(parameters: Saliency360Parameters, results: Json) -> list[str]:
    """A temperature that followed the panoramas, and trainings that ended no better than chance."""
    found = []
    trained = {n: e for n, e in results["encoders"].items() if e["history"]}
    if parameters.contrast.temperature is None and trained:
        chosen = next(iter(trained.values()))["temperature"]
        found.append(
            f"The contrastive loss has a temperature of {chosen:.3f}, which asks as much of an "
            "embedding among these panoramas as the thesis' 0.07 does among 90,000."
        )
    for name, encoder in trained.items():
        reached, chance = encoder["history"][-1]["global_loss"], encoder["chance_loss"]
        if reached > chance:
            found.append(
                f"The pre-training of {name} does not tell panoramas apart: its global loss is "
                f"{reached:.1f}, that of chance {chance:.1f}. What it learnt is worth little."
            )
    return found


def _changes(parameters: Saliency360Parameters, thesis: dict[str, tuple[str, Any]]) -> list[str]:
    """Values that are not the thesis', as "epochs 10 (250)"."""
    changes = []
    for key, (name, published) in thesis.items():
        group, _, leaf = key.partition(".")
        value = getattr(getattr(parameters, group), leaf)
        if value is None:
            continue
        same = math.isclose(value, published) if isinstance(value, float) else value == published
        if not same:
            changes.append(f"{name} {_shown(value)} ({_shown(published)})")
    return changes


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value).replace("_", " ")
