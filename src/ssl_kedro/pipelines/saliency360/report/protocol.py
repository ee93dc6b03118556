"""Whether a run is the thesis' experiment: the same data and protocol, and the same networks.

A difference to a published figure says something only where both are the same (ADR 40).
"""

from collections.abc import Iterator, Sequence

from ssl_kedro.encoders.panorama_encoder import PanoramaEncoder, PanoramaEncoderConfig
from ssl_kedro.encoders.saliency_model import DecoderConfig, SaliencyModel
from ssl_kedro.pipelines.saliency360.parameters import Saliency360Parameters
from ssl_kedro.pipelines.saliency360.plans import TEXT
from ssl_kedro.pipelines.saliency360.records import Data, Training
from ssl_kedro.reporting.number_format import listed
from ssl_kedro.reporting.published import (
    changes,
    compared,
    published_protocol,
    published_recipe,
    values_of,
)

STAGES = {"Pre-training": "pretraining", "Decoding": "decoding"}
# "90K panoramas" are rounded: half a unit of the figure on either side is the same.
_ROUNDED = 5000


def published_data(parameters: Saliency360Parameters, dataset: str) -> str:
    """Name in the thesis' tables of tested data that consist of its sources, "" of others."""
    kinds = {config.source for config in parameters.configs_of(dataset)}
    known = published_protocol()["data"].items()
    return next((name for name, one in known if kinds <= set(one["sources"])), "")


def data_differs(
    parameters: Saliency360Parameters,
    dataset: str,
    data: Data,
    tested: Sequence[str],
    made_from_fixations: bool,
    pretrained: Sequence[Training],
) -> list[str]:
    """How data and protocol of one tested set differ from the thesis', whose values stand behind.

    Args:
        parameters: of the run.
        dataset: name of the tested data.
        data: what all sources hold.
        tested: scenes of the tested panoramas.
        made_from_fixations: whether the run smoothed the maps that predictions are compared with.
        pretrained: contrastive trainings of the run.
    """
    name = published_data(parameters, dataset)
    if not name:
        return [f"{dataset} is none of the thesis' data sets"]
    return [
        *_tested_differs(parameters, dataset, tested, made_from_fixations),
        *_learnt_differs(parameters, data, pretrained),
    ]


def _tested_differs(
    parameters: Saliency360Parameters, dataset: str, tested: Sequence[str], made: bool
) -> Iterator[str]:
    published = published_protocol()["data"][published_data(parameters, dataset)]
    configs = parameters.configs_of(dataset)
    if missing := set(published["sources"]) - {config.source for config in configs}:
        yield f"{listed(sorted(missing))} is missing"
    for what, count, theirs in (
        ("tested panoramas", len(tested), published["test"]),
        ("tested videos and panoramas", len(set(tested)), published["scenes"]),
    ):
        if count != theirs:
            yield f"{count:,} {what} ({theirs:,})"
    drawn = [c.source for c in configs if not (c.test_list or c.train_list or c.test_names)]
    if drawn:
        yield f"the tested part of {listed(drawn)} is drawn at random (named)"
    for config in configs:
        if config.source == "vr_eyetracking" and config.frame_rate != 1:
            yield f"{config.frame_rate:g} frames a second (1)"
    if made:
        sigma = parameters.truth.sigma_deg
        yield f"truth is gaze smoothed by {sigma:g} degrees (not said how the maps were made)"
    if dataset == parameters.dataset and parameters.folds:
        yield f"{parameters.folds} folds of scenes (the named part)"


def _learnt_differs(
    parameters: Saliency360Parameters, data: Data, pretrained: Sequence[Training]
) -> Iterator[str]:
    """What decoders and encoders have learnt from."""
    protocol = published_protocol()
    name, theirs = published_data(parameters, parameters.dataset), protocol["trained_on"]
    if name != theirs:
        yield f"decoders learn from {parameters.dataset} ({theirs})"
    else:
        count, known = data[parameters.dataset].splits.get("train", 0), protocol["data"][theirs]
        if count != known["train"]:
            yield f"decoders learn from {count:,} panoramas ({known['train']:,})"
    for count in sorted({one.images for one in pretrained}):
        if abs(count - protocol["pretraining"]) > _ROUNDED:
            yield f"encoders learn from {count:,} panoramas ({protocol['pretraining']:,})"
    if parameters.pretrain_on != "unlabelled":
        also = "also those of the training part"
        also += " and the tested ones" * (parameters.pretrain_on == "all")
        yield f"encoders see {also}, without their maps (unlabelled ones only)"
    if not any(one.source == "videos" for one in parameters.unlabelled.values()):
        yield "encoders see no unlabelled videos (frames of videos, 1 a second, and 360-Indoor)"


def settings_differ(parameters: Saliency360Parameters) -> dict[str, str]:
    """Settings of pre-training and decoding that are not the thesis', with its values behind."""
    found = {}
    for name, stage in STAGES.items():
        thesis = published_recipe(f"4_{stage}")
        found[name] = changes(compared(thesis, values_of(parameters, list(thesis))))
    return found


def model_differs(
    parameters: Saliency360Parameters, name: str, network: SaliencyModel
) -> list[str]:
    """How one model that is trained here differs from the thesis' of the same architecture."""
    plan, encoder = parameters.models[name], network.encoder
    size, decoder = parameters.image.size, network.decoder.config
    kind = parameters.encoders[plan.encoder].kind
    shapes: list[PanoramaEncoderConfig | DecoderConfig] = [decoder]
    shapes += [encoder.config] if isinstance(encoder, PanoramaEncoder) else []
    wide = {shape.width for shape in shapes}
    around = any(shape.longitude_padding == "circular" for shape in shapes)
    made = parameters.made_with(name)
    quirks = [part for part in parameters.recipe_of(name) if part != TEXT]
    found = [
        f"{kind} encoder (contrastive)" * (kind != "contrastive"),
        f"{min(wide):g} times the channels" * (wide != {1.0}),
        f"{size[0]} x {size[1]} px (160 x 320)" * (size != (160, 320)),
        "the encoder is trained with the decoder (frozen)" * plan.fine_tune,
        "convolutions go on around the panorama (they do not)" * around,
        f"decoders start from the {decoder.prior} map (from nothing)" * (decoder.prior != "none"),
        "the decoders' loss weighs pixels by solid angle (alike)"
        * (made.decoding.weighting == "sphere"),
        f"errors of the authors' code: {', '.join(quirks).replace('_', ' ')}" * bool(quirks),
        *settings_differ(made).values(),
    ]
    return [one for one in found if one]
