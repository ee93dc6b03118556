"""Nodes of chapter 4: pre-training, decoders, predictions, use."""

import copy
import dataclasses
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np

from ssl_kedro.core.config import Config
from ssl_kedro.core.devices import limited_threads, resolved_device, threads_of_each
from ssl_kedro.core.seeding import weights_drawn
from ssl_kedro.encoders.fingerprint import weight_fingerprint
from ssl_kedro.encoders.maps import MapNetwork
from ssl_kedro.encoders.panorama_encoder import (
    PanoramaEncoder,
    PanoramaNetwork,
    new_panorama_encoder,
)
from ssl_kedro.encoders.panorama_maps import PanoramaMaps
from ssl_kedro.encoders.saliency_model import SaliencyModel, build_decoder
from ssl_kedro.losses.memory_nce import chance_loss
from ssl_kedro.methods.panorama_contrast import ContrastPlan
from ssl_kedro.methods.saliency_decoding import Tune
from ssl_kedro.pipelines.entrance import nested
from ssl_kedro.pipelines.saliency360 import checks, records
from ssl_kedro.pipelines.saliency360.parameters import Saliency360Parameters
from ssl_kedro.pipelines.saliency360.scoring import part_of, tested_rows
from ssl_kedro.saliency.fitting import encoder_macs, fit_decoder, predicted_maps, prior_at
from ssl_kedro.saliency.ground_truth import Arrays
from ssl_kedro.saliency.panoramas import PanoramaSource
from ssl_kedro.saliency.predict.files import write_predictions
from ssl_kedro.saliency.predict.onnx_export import ExportReport, export_onnx
from ssl_kedro.saliency.predict.runtime import RuntimeConfig, runtimes_on
from ssl_kedro.saliency.store import PanoramaStore, StoredPanoramas
from ssl_kedro.training.batches import check_batch_size
from ssl_kedro.training.checkpoints import CheckpointStore, EpochLog
from ssl_kedro.training.config import recipe_identity
from ssl_kedro.training.execution import choose_execution
from ssl_kedro.training.loop import train_planned
from ssl_kedro.training.planned import PanoramaTraining

# Real panoramas that an exported file is compared on, beside noise.
_COMPARED = 4


def random_encoder(parameters: Saliency360Parameters, *, encoder: str) -> dict[str, Any]:
    """An encoder with its weights as drawn: those that pre-training starts from."""
    network = new_panorama_encoder(parameters.encoder_config(encoder), parameters.seed)
    return {"network": network.eval(), "training": records.Training()}


def given_encoder(
    parameters: Saliency360Parameters, file: MapNetwork, *, encoder: str
) -> dict[str, Any]:
    """An encoder that was trained elsewhere: by an earlier run, or by others."""
    # A copy, since a network is changed where it is to wrap around panoramas.
    network = checks.checked_network(parameters, encoder, copy.deepcopy(file))
    return {"network": network, "training": records.Training()}


def pretrain(
    parameters: Saliency360Parameters,
    stored: StoredPanoramas,
    store: PanoramaStore,
    checkpoint: CheckpointStore,
    epoch_log: EpochLog,
    *,
    encoder: str,
    **truths: records.TruthSummary,  # noqa: ARG001  nothing is trained before all truths are read
) -> dict[str, Any]:
    """Contrastive pre-training of one encoder (thesis 4.3.2)."""
    config, images, size = parameters.train, store.images(), parameters.image.size
    shape, contrast = parameters.encoder_config(encoder), parameters.contrast_of(encoder)
    views = parameters.views_of(encoder)
    check_batch_size(len(images), config.batch_size)
    plan = ContrastPlan(shape, contrast, len(images), size, parameters.seed)
    with limited_threads(threads_of_each(config.workers)):
        execution = choose_execution(plan.build(), (3, *size), config.of_one_process)
    recipe = {"encoder": shape, "contrast": contrast, "views": views, "train": config}
    identity = _identity(recipe, parameters.seed, data=stored.identity) | execution.identity
    label = f"pre-training {encoder}"
    planned = PanoramaTraining(plan, views, config, execution, parameters.seed, label, identity)
    result = train_planned(planned, images, epoch_log, checkpoint)
    _warn_of_chance(encoder, result.history[-1]["global_loss"], contrast.negatives)
    training = records.Training(
        result.history,
        len(result.history),
        result.seconds,
        len(images),
        result.method.temperature,
        execution.precision,
        execution.device,
    )
    return {"network": result.method.encoder, "training": training}


def _warn_of_chance(encoder: str, reached: float, negatives: int) -> None:
    """Say by name that a pre-training ended worse than embeddings that say nothing."""
    chance = chance_loss(negatives)
    if reached > chance:
        logging.getLogger(__name__).warning(
            "The pre-training of %s does not tell panoramas apart: its global loss is %.1f, that "
            "of chance %.1f. With few panoramas use contrast.temperature=null, contrast.head_end="
            "batch_norm and contrast.bank_momentum=0.9; else raise train.epochs or lower train.lr",
            encoder,
            reached,
            chance,
        )


def fit(
    parameters: Saliency360Parameters,
    network: PanoramaNetwork,
    stored: StoredPanoramas,
    store: PanoramaStore,
    truth: Arrays,
    priors: Arrays,
    checkpoint: CheckpointStore,
    epoch_log: EpochLog,
    *,
    model: str,
    part_name: str,
) -> dict[str, Any]:
    """Train one model's decoder on one part of the data (thesis 4.3.3)."""
    network = copy.deepcopy(network)  # a node leaves what it is given as it is
    with weights_drawn(parameters.seed, "decoder"):
        decoder = build_decoder(parameters.decoder_config(model), network.map_channels)
    recipe, decoding = parameters.recipe_of(model), parameters.decoding_of(model)
    if "raw_bgr" in recipe and isinstance(network, PanoramaEncoder):
        network.config = dataclasses.replace(network.config, raw_bgr=True)
    fitted = SaliencyModel(network, decoder)
    rows = part_of(parameters, stored, part_name).train
    if (prior := decoder.config.prior) != "none":
        decoder.set_prior(prior_at(priors[f"{part_name}.{prior}"], parameters.image.size))
    norms: Tune = "norms" if "tuned_norms" in recipe else "nothing"
    tune: Tune = "everything" if parameters.models[model].fine_tune else norms
    identity = _identity(
        {"decoder": decoder.config, "decoding": decoding, "train": parameters.decoder_train},
        parameters.seed,
        encoder=weight_fingerprint(network),
        tune=tune,
        recipe=[*recipe],
        truth=dataclasses.asdict(parameters.truth),
        names=[stored.names[row] for row in rows],
    )
    if isinstance(network, PanoramaMaps):
        # Both branches of a bundle have the same weights.
        identity |= {"maps": [network.architecture, network.longitude_padding]}
    found = fit_decoder(
        fitted,
        np.array(store.images()[rows]),
        np.array(truth["maps"][rows]),
        decoding,
        parameters.decoder_train,
        tune=tune,
        cache_bytes=parameters.cache_mb * 2**20,
        seed=parameters.seed,
        label=f"decoder {model}, {part_name}",
        identity=identity,
        log=epoch_log,
        checkpoints=checkpoint,
    )
    return {"model": fitted, "training": records.Training(**found, images=len(rows))}


def _identity(configs: dict[str, Config], seed: int, **more: Any) -> dict[str, Any]:
    """What a training is, for resuming."""
    described = {name: dataclasses.asdict(config) for name, config in configs.items()}
    return recipe_identity(described) | {**more, "seed": seed}


def predict_tested(
    parameters: Saliency360Parameters,
    stored: StoredPanoramas,
    store: PanoramaStore,
    *,
    label: str,
    own: bool,
    **models: SaliencyModel,
) -> Arrays:
    """Each tested panorama by the model that has not seen its scene; see :func:`tested_rows`.

    Returns:
        "maps": float32 (T, H, W); "rows": int64 (T,), which of the stored panoramas;
        "encoder_macs": float64 (T,), what the encoder costs each.
    """
    device, images = resolved_device(parameters.decoder_train.device), store.images()
    tested = tested_rows(parameters, stored, own=own)
    maps, rows, macs = [], [], []
    for name, model in nested(models)["models"].items():
        # All of another data set stay on disk: they may be the frames of many videos.
        chosen = np.array(images[tested[name]]) if own else images
        maps.append(predicted_maps(model, chosen, device, label))
        macs.append(encoder_macs(model.encoder, chosen, device))
        rows.append(tested[name])
    return {
        "maps": np.concatenate(maps),
        "rows": np.concatenate(rows),
        "encoder_macs": np.concatenate(macs),
    }


def measure_runtime(
    parameters: Saliency360Parameters,
    source: PanoramaSource,
    stored: StoredPanoramas,
    model: SaliencyModel,
) -> list[records.StageTime]:
    """Milliseconds of each stage of the deployed model per panorama, as in Table 4.2.

    The widest panoramas are taken; where one is enlarged nevertheless, the size says so.
    """
    timing, device = parameters.timing, parameters.decoder_train.device
    config = RuntimeConfig((1, 8), width=parameters.image.width, device=device)
    own = {index: source.width_px(index) or math.inf for index in stored.indices}
    chosen = sorted(own, key=lambda index: -own[index])[: timing.panoramas]
    found = []
    for width in timing.widths:
        pictures = [source.image(index, width // 2, width) for index in chosen]
        narrowest = min(own[index] for index in chosen)
        enlarged = f", enlarged from {narrowest:g} px" if narrowest < width else ""
        size = f"{width} x {width // 2}{enlarged}"
        found += [
            records.StageTime(
                stage=one.stage,
                model=parameters.deploy,
                batch=one.batch_size,
                ms=one.milliseconds,
                device=one.device,
                threads=one.threads,
                picture=size,
            )
            for one in runtimes_on(model, pictures, config)
        ]
    return found


def predict(
    parameters: Saliency360Parameters, model: SaliencyModel, folder: Path
) -> dict[str, Any]:
    """Maps, heat maps and overlays of a user's image, folder or video.

    Raises:
        PredictionInputError: the input cannot be predicted for.
    """
    config = dataclasses.replace(parameters.predict, output=str(folder))
    rows = write_predictions(model, config, parameters.image.width)
    return {"folder": str(folder), "files": [dataclasses.asdict(row) for row in rows]}


def export(
    parameters: Saliency360Parameters, model: SaliencyModel, store: PanoramaStore, path: Path
) -> ExportReport:
    """One ONNX file of encoder and decoder, compared with PyTorch on noise and real panoramas."""
    images = np.array(store.images()[:_COMPARED])
    return export_onnx(model, path, *parameters.image.size, images=images)
