"""Networks that give maps of features: images in, (N, C, h, w) of the last convolution out."""

import copy
import dataclasses
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ssl_kedro.core.config import Config
from ssl_kedro.encoders.base import Branch, Encoder
from ssl_kedro.encoders.bundle import BundleError, load_bundle
from ssl_kedro.encoders.bundled import INPUT, Bundled, Normalised
from ssl_kedro.encoders.descriptor_head import DescriptorHead

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class MapNetwork(Bundled, ABC):
    """Images (N, 3, H, W), uint8 or float in [0, 1], RGB, to maps (N, C, h, w).

    Pixels are normalised inside. ``map_channels`` is C. ``head`` is what the weights' publisher
    makes of the maps, where its file says so; it is no part of the network.
    """

    map_channels: int
    head: DescriptorHead | None = None

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Maps of the last convolution, after its activation."""

    @property
    def weights(self) -> int:
        """How many numbers a training has set."""
        return sum(value.numel() for value in self.parameters())

    def used_modules(self) -> Iterable[nn.Module]:
        """Modules that maps are made with; all, where nothing else is said."""
        return self.modules()


class NormalisedMaps(Normalised, MapNetwork):
    """A map network of a shape, ``config``, which is of its ``config_type``.

    Bundles have the shape under ``config_key``.
    """

    config_type: ClassVar[Callable[..., Any]]
    config_key: ClassVar[str] = "network"
    config: Config

    def description(self) -> dict[str, Any]:
        """Shape, and what readers of the file may want to know."""
        return {
            self.config_key: dataclasses.asdict(self.config),
            "map_channels": self.map_channels,
            "input": INPUT,
        }

    @classmethod
    def from_description(cls, values: Mapping[str, Any]) -> Self:
        """See :class:`~ssl_kedro.encoders.bundled.Bundled`."""
        build: Callable[..., Self] = cls
        return build(cls.config_type(**values[cls.config_key]))


class BranchMaps(MapNetwork):
    """One branch of this project's own encoders.

    Args:
        encoder: a backbone or a pair of them.
        branch: "dense" or "gated".

    Raises:
        ValueError: the encoder has no such branch.
    """

    def __init__(self, encoder: Encoder, branch: Branch) -> None:
        super().__init__()
        encoder.check_branch(branch)
        self.encoder = encoder.member(branch)
        self.branch: Branch = branch
        self.map_channels = encoder.feature_dimensions

    def forward(self, images: Tensor) -> Tensor:
        """Maps of the last block; of a transformer its patches, whatever features are."""
        return self.encoder.maps(images, self.branch)[0]

    @property
    def bundled(self) -> Encoder:
        """Its encoder, which has a format of its own."""
        return self.encoder

    def used_modules(self) -> Iterable[nn.Module]:
        """All but the norms of the other branch, and the gates where nothing is gated."""
        gates = [] if self.branch == "gated" else self.encoder.gates()
        idle = {part for gate in gates for part in gate.modules()}
        for name, module in self.encoder.named_modules():
            if module not in idle and {"dense", "gated"} & {*name.split(".")} <= {self.branch}:
                yield module


class FeatureMaps(BranchMaps):
    """Features of one branch as maps of a single place: what ``encoder.dense(x)`` gives.

    Of a transformer they are no mean of its maps.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Features, (N, D, 1, 1)."""
        features: Tensor = self.encoder(images, self.branch).features
        return features[:, :, None, None]


def load_map_network(folder: Path, branch: Branch = "dense") -> MapNetwork:
    """A network in evaluation mode, on the CPU.

    Args:
        folder: the bundle of a map network or of an encoder.
        branch: of this project's own encoders; others have none, and ignore it.

    Raises:
        BundleError: files are missing, damaged, of another format, or do not fit together.
    """
    found = load_bundle(folder, MapNetwork, Encoder)
    if not isinstance(found, Encoder):
        return cast(MapNetwork, found)
    try:
        return BranchMaps(found, branch).eval()
    except ValueError as error:
        raise BundleError(f"{folder}: {error}") from error


def network_fingerprint(network: MapNetwork) -> str:
    """Changes with whatever decides a network's maps: kind, branch, shape, weights."""
    branch = network.branch if isinstance(network, BranchMaps) else None
    try:
        described = network.bundled.description()
        # Where a file lies says nothing of its content, which is among the tensors.
        shape = json.dumps({k: v for k, v in described.items() if k != "file"}, sort_keys=True)
    except TypeError:  # of a kind that has no description
        shape = repr(network)
    found = hashlib.sha256(f"{type(network).__name__}\x1f{branch}\x1f{shape}".encode())
    for name, value in network.state_dict().items():
        found.update(f"{name}\x1f{value.dtype}\x1f{tuple(value.shape)}\x1e".encode())
        found.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return found.hexdigest()[:16]


@torch.no_grad()
def adapt_batch_norm(network: MapNetwork, batches: Iterable[Tensor]) -> None:
    """Take batch norm statistics from images, in one pass (thesis 3.4.1).

    Each layer's mean and variance become those over all images, every layer fed by layers
    that normalise by the batch, as in training. Batches count by their size; one of a single
    image has no statistics and is passed over. Weights stay, and so does every module's mode.

    Args:
        network: changed in place.
        batches: images (N, 3, H, W) each.

    Raises:
        ValueError: no images.
    """
    if not _norms(network):
        return
    # A copy with the same weights, so that nothing of the network has to be put back.
    copied = copy.deepcopy(network, {id(weight): weight for weight in network.parameters()}).eval()
    norms = _norms(copied)
    found = {norm: _Moments() for norm in norms}

    def add(norm: nn.Module, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        found[cast(_BatchNorm, norm)].add(cast(_BatchNorm, norm), inputs[0])

    for norm in norms:
        norm.train()
        # With momentum 1 a layer's running statistics are those of its last batch, which it
        # computes anyway.
        norm.momentum, norm.num_batches_tracked = 1.0, None
        norm.running_mean = torch.zeros(norm.num_features, device=norm.weight.device)
        norm.running_var = torch.ones_like(norm.running_mean)
        norm.register_forward_hook(add)
    for images in batches:
        if len(images) > 1:
            copied(images)
    if not any(moments.count for moments in found.values()):
        raise ValueError(
            "expected at least one batch of two or more images to take statistics from, found none"
        )
    for norm, moments in zip(_norms(network), found.values(), strict=True):
        if moments.count and norm.running_mean is not None and norm.running_var is not None:
            norm.running_mean.copy_(moments.mean)
            norm.running_var.copy_(moments.squares / max(moments.count - 1, 1))


def _norms(network: MapNetwork) -> list[_BatchNorm]:
    return [module for module in network.used_modules() if isinstance(module, _BatchNorm)]


class _Moments:
    """Mean and variance of values that come in batches (Chan, Golub & LeVeque 1979)."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = torch.zeros(())
        self.squares = torch.zeros(())  # sum of squared distances from the mean

    def add(self, norm: _BatchNorm, values: Tensor) -> None:
        """Take in what a layer was given last, whose statistics it has."""
        if norm.running_mean is None or norm.running_var is None:
            return
        count = values.numel() // norm.num_features
        mean, squares = norm.running_mean.double(), norm.running_var.double() * (count - 1)
        total = self.count + count
        step = mean - self.mean
        self.squares = self.squares + squares + step * step * self.count * count / total
        self.mean = self.mean + step * count / total
        self.count = total
