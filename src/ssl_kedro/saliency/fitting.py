"""Fitting a decoder to saliency maps, and asking a fitted model."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_kedro.core.devices import resolved_device
from ssl_kedro.core.progress import progress_bar
from ssl_kedro.encoders.panorama_encoder import PanoramaNetwork, macs_by_hooks
from ssl_kedro.encoders.panorama_maps import PanoramaMaps
from ssl_kedro.encoders.saliency_model import SaliencyModel
from ssl_kedro.methods.saliency_decoding import DecodingConfig, SaliencyDecoding, Tune
from ssl_kedro.training.batches import BatchSource
from ssl_kedro.training.checkpoints import CheckpointStore, EpochLog
from ssl_kedro.training.config import TrainConfig
from ssl_kedro.training.execution import choose_execution
from ssl_kedro.training.loop import train

_BATCH = 8


def fit_decoder(
    model: SaliencyModel,
    images: np.ndarray,
    maps: np.ndarray,
    config: DecodingConfig,
    recipe: TrainConfig,
    *,
    tune: Tune,
    cache_bytes: int,
    seed: int,
    label: str,
    identity: dict[str, Any],
    log: EpochLog | None = None,
    checkpoints: CheckpointStore | None = None,
) -> dict[str, Any]:
    """Train a model's decoder, and its encoder where that is asked for, in place.

    A frozen encoder sees each panorama, and its mirror image where those are drawn, once: its
    maps are kept in half precision while the decoder is trained, if they fit.

    Args:
        model: encoder and decoder.
        images: uint8 (N, 3, H, W), to learn from.
        maps: float32 (N, h, 2h), densities per solid angle.
        config: loss and augmentation.
        recipe: optimiser, epochs, batch size; a batch holds no more than there are images,
            and the learning rate follows its size.
        tune: what of the encoder is trained.
        cache_bytes: memory that the frozen encoder's maps may take.
        seed: of order and augmentation.
        label: for the progress bar.
        identity: what the training is, for resuming.
        log: gets a row after each epoch.
        checkpoints: where the state is kept.

    Returns:
        "history", "epochs", "seconds", "device", "precision", "cached".

    Raises:
        TrainingDiverged: loss or gradients are not finite.
    """
    recipe = dataclasses.replace(recipe, batch_size=min(recipe.batch_size, len(images)))
    size = (images.shape[2], images.shape[3])
    truth = _resized(maps, size)
    versions = 2 if config.flip else 1
    channels = model.encoder.map_channels
    needed = len(images) * versions * channels * (size[0] // 16) * (size[1] // 16) * 2
    cached = tune == "nothing" and needed <= cache_bytes
    device = resolved_device(recipe.device)
    seen: np.ndarray = (
        encoded(model.encoder, images, device, mirrored=config.flip) if cached else images
    )
    method = SaliencyDecoding(
        model.decoder,
        truth,
        config,
        encoder=None if cached else model.encoder,
        tune=tune,
        macs=(model.macs(*size)["encoder"], model.macs(*size)["decoder"]),
    )
    execution = choose_execution(method, seen.shape[1:], recipe)
    result = train(
        method,
        BatchSource(seen, recipe.batch_size, device, seed),
        _as_they_are,
        recipe,
        execution=execution,
        label=label,
        identity=identity | execution.identity,
        log=log,
        checkpoints=checkpoints,
    )
    model.to("cpu").eval()
    return {
        "history": result.history,
        "epochs": len(result.history),
        "seconds": result.seconds,
        "device": execution.device,
        "precision": execution.precision,
        "cached": cached,
    }


def _as_they_are(batch: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    """Panoramas in [0, 1], or features; the decoder's training turns and mirrors them itself."""
    inputs = batch.float().div_(255) if batch.dtype == torch.uint8 else batch.float()
    return inputs, inputs


def _resized(maps: np.ndarray, size: tuple[int, int]) -> Tensor:
    """Maps (N, h, w) at the size of the networks, averaged over the pixels that merge, float32."""
    given = torch.from_numpy(np.ascontiguousarray(maps[:, None], dtype=np.float32))
    found: Tensor = functional.interpolate(given, size, mode="area")
    return found[:, 0]


@torch.inference_mode()
def encoded(
    encoder: nn.Module, images: np.ndarray, device: torch.device, *, mirrored: bool
) -> np.ndarray:
    """Maps of all panoramas, and of their mirror images, float16 (N, 1 or 2, C, h, w)."""
    encoder = encoder.to(device).eval()
    found = []
    for batch in _batches(images, device, "encoder's maps"):
        versions = [batch, batch.flip(-1)] if mirrored else [batch]
        found.append(torch.stack([encoder(v).half() for v in versions], dim=1).cpu().numpy())
    return np.concatenate(found)


@torch.inference_mode()
def predicted_maps(
    model: SaliencyModel, images: np.ndarray, device: torch.device, label: str
) -> np.ndarray:
    """Saliency of all panoramas, float32 (N, H, W) in (0, 1)."""
    model = model.to(device).eval()
    found = [model(batch)[:, 0].float().cpu().numpy() for batch in _batches(images, device, label)]
    model.to("cpu")
    return np.concatenate(found) if found else np.empty((0, *images.shape[2:]), np.float32)


@torch.inference_mode()
def encoder_macs(encoder: PanoramaNetwork, images: np.ndarray, device: torch.device) -> np.ndarray:
    """Multiply-accumulates of each panorama, float64 (N,): what masks leave, where there are any.

    Products of attention are not counted.
    """
    if not isinstance(encoder, PanoramaMaps) or not encoder.masked:
        return np.full(len(images), macs_by_hooks(encoder, images.shape[1:]), dtype=np.float64)
    encoder.to(device).eval()
    batches = _batches(images, device, "encoder's cost")
    found = [encoder.masked_macs(batch).numpy() for batch in batches]
    encoder.to("cpu")
    return np.concatenate(found) if found else np.empty(0)


def _batches(images: np.ndarray, device: torch.device, label: str) -> Iterator[Tensor]:
    with progress_bar(len(images), label, "images") as bar:
        for start in range(0, len(images), _BATCH):
            batch = torch.from_numpy(np.array(images[start : start + _BATCH])).to(device)
            yield batch.float().div_(255)
            bar.update(len(batch))


def prior_at(density: np.ndarray, size: tuple[int, int]) -> Tensor:
    """A prior (h, 2h) at the size of the networks, float32 (H, W)."""
    return _resized(density[None], size)[0]
