"""Encoders that are used as they are.

They come from the project's own bundles, from files that others publish, with random weights,
or are no network at all.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
from torch import Tensor, nn

from ssl_kedro.core.config import Config, ConfigError, Range
from ssl_kedro.core.errors import InputError
from ssl_kedro.core.extras import require
from ssl_kedro.core.remote import check_scheme, is_remote, local_copy
from ssl_kedro.core.seeding import derived_seed
from ssl_kedro.encoders.amdim import AmdimEncoder, MapResize
from ssl_kedro.encoders.base import Branch, Encoder
from ssl_kedro.encoders.bottleneck_resnet import BottleneckConfig, BottleneckResNet
from ssl_kedro.encoders.bundle import load_bundle
from ssl_kedro.encoders.bundled import Bundled
from ssl_kedro.encoders.descriptor_head import bundled_head, descriptor_head
from ssl_kedro.encoders.importers import KINDS, import_weights
from ssl_kedro.encoders.maps import MapNetwork, load_map_network
from ssl_kedro.encoders.onnx_maps import OnnxMaps
from ssl_kedro.encoders.timm_maps import TimmMaps

# What kinds need that is not always there.
_PACKAGES = {"onnx": ("onnx", "onnxruntime"), "timm": ("timm",)}
# On a side, of images that are compared by their pixels.
_MOST_PIXELS = 64

Positive = Annotated[float, Range(above=0, at_most=1000)]


@dataclass(frozen=True)
class FrozenEncoderConfig(Config):
    """One encoder and where its weights come from.

    Args:
        kind: "bundle" = a folder that this project wrote; "random" = ResNet-50 or 101 as it
            is initialised; "pixels" = the image itself, made small; "onnx" = an ONNX
            file; "timm" = a network of timm; or one of ``importers.KINDS``: a file as its publisher
            gives it out.
        file: the bundle's folder or the published file, also elsewhere (``s3://...``).
        branch: of a bundle: "dense" or "gated".
        depth: of "random": 50 or 101.
        width: of "random": channels of the first stage; 64 is ResNet-50.
        side: of "pixels": px.
        model: of "timm": its name there.
        map_side: of "amdim": cells that its maps' longer side is brought to; 0 = as they come.
        map_resize: of "amdim": "average" or "bilinear"; see
            :class:`~ssl_kedro.encoders.amdim.AmdimConfig`.
        pixel_mean: of "onnx": that its file expects pixels to be normalised by, per channel, in
            [0, 1]; ImageNet's are (0.485, 0.456, 0.406) and (0.229, 0.224, 0.225).
        pixel_std: the same.
        adapt_batch_norm: take batch statistics of the images to be searched before the
            extraction (thesis 3.4.1).
        image_size: side in px of the images it sees; None = that of the run.
        row: its name in the thesis' tables ("SimCLR 2x"); "" where it is not there.
        optional: leave it out without an error where ``file`` does not exist.
    """

    kind: str = "bundle"
    file: str | None = None
    branch: Branch = "dense"
    depth: Literal[50, 101] = 50
    width: Annotated[int, Range(at_least=4, at_most=1024)] = 64
    side: Annotated[int, Range(at_least=2, at_most=_MOST_PIXELS)] = 16
    model: str = ""
    map_side: Annotated[int, Range(at_least=0, at_most=4096)] = 23
    map_resize: MapResize = "average"
    pixel_mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    pixel_std: tuple[Positive, Positive, Positive] = (1.0, 1.0, 1.0)
    adapt_batch_norm: bool = True
    image_size: Annotated[int, Range(at_least=8, at_most=4096)] | None = None
    row: str = ""
    optional: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_scheme("file", self.file)
        known = ("random", "pixels", "bundle", "onnx", "timm", *KINDS)
        if self.kind not in known:
            raise ConfigError("kind", self.kind, f"one of {', '.join(known)}")
        if self.needs_file and not self.file:
            raise ConfigError("file", self.file, f'a path, which kind "{self.kind}" needs')
        if not self.optional:
            require(f"kind: {self.kind}", *_PACKAGES.get(self.kind, ()))
        if self.kind == "timm" and not self.model:
            raise ConfigError("model", self.model, 'a name that timm knows, such as "resnet50"')
        usual = (type(self).pixel_mean, type(self).pixel_std)
        if self.kind != "onnx" and (self.pixel_mean, self.pixel_std) != usual:
            expected = f"none with kind {self.kind}, whose networks normalise as they were trained"
            raise ConfigError("pixel_mean, pixel_std", [self.pixel_mean, self.pixel_std], expected)

    @classmethod
    def among(cls, values: Mapping[str, Any]) -> Self:
        """That of parameters that say more than where weights come from.

        Args:
            values: by name, those of others among them; "file" is an older word for a bundle.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        own = {name: v for name, v in values.items() if name in names and v is not None}
        return cls(
            **own | {"kind": {"file": "bundle"}.get(kind := own.get("kind", "bundle"), kind)}
        )

    @property
    def needs_file(self) -> bool:
        """Whether weights are read."""
        return self.kind not in ("random", "pixels")

    @property
    def present(self) -> bool:
        """Whether its file is there, or none is needed; one elsewhere is not asked for."""
        return not self.needs_file or file_present(self.file or "")


@dataclass(frozen=True)
class InitialWeights(Config):
    """Trained weights that encoders begin with.

    Args:
        file: a bundle's folder, or a file as its publisher gives it out; also elsewhere.
        kind: "bundle", or one of ``importers.KINDS``.
    """

    file: str
    kind: str = "bundle"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind not in ("bundle", *KINDS):
            raise ConfigError("kind", self.kind, f"one of bundle, {', '.join(KINDS)}")
        if not self.file:
            raise ConfigError("file", self.file, "a path")
        check_scheme("file", self.file)

    @property
    def present(self) -> bool:
        """Whether its file is there; one elsewhere is not asked for."""
        return file_present(self.file)


def place_of_weights(value: Any) -> Any:
    """Where first weights lie, with a path alone as a bundle's; a catalog name stays as it is.

    A catalog name is text without a slash, "dual_gating.vicreg.encoder", that no folder is called.
    """
    if isinstance(value, str) and ("/" in value or Path(value).expanduser().exists()):
        return {"file": value}
    return value


def file_present(file: str) -> bool:
    """Whether a file or folder is there; one elsewhere is not asked for."""
    path = Path(file).expanduser()
    # A TensorFlow checkpoint is named by what its files' names begin with.
    return is_remote(file) or path.exists() or any(path.parent.glob(f"{path.name}*"))


def frozen_encoder(
    config: FrozenEncoderConfig, seed: int, storage_options: Mapping[str, Any] | None = None
) -> MapNetwork:
    """The network, on the CPU, in evaluation mode.

    Args:
        config: which.
        seed: of random weights.
        storage_options: of a file elsewhere; see :func:`ssl_kedro.core.remote.local_copy`.

    Raises:
        RemoteError: the file lies elsewhere and cannot be reached.
        BundleError: the bundle cannot be used.
        WeightsError: the published file is missing or not what its kind says.
        InputError: an ONNX file or timm's weights cannot be used.
    """
    if config.kind == "pixels":
        return PixelMaps(config.side)
    if config.kind == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived_seed(seed, "random encoder", config.depth, config.width))
            return BottleneckResNet(BottleneckConfig(config.depth, config.width)).eval()
    path = local_copy(config.file or "", storage_options)
    if config.kind == "timm":
        return TimmMaps(config.model, path)
    if config.kind == "onnx":
        return OnnxMaps(path, config.pixel_mean, config.pixel_std)
    if config.kind == "bundle":
        network = load_map_network(path, config.branch)
        network.head = bundled_head(path)
        return network
    network, report = import_weights(config.kind, path)
    network.head = descriptor_head(report.notes, report.extras)
    if isinstance(network, AmdimEncoder):
        network.config = dataclasses.replace(
            network.config, map_side=config.map_side or None, map_resize=config.map_resize
        )
    return network


def trained_encoder(
    weights: InitialWeights, storage_options: Mapping[str, Any] | None = None
) -> Encoder:
    """An encoder of this project with these weights, with the branches that it has.

    Raises:
        RemoteError, BundleError, WeightsError: as :func:`frozen_encoder`.
        InputError: a network of another kind, that no encoder here can begin with.
    """
    path = local_copy(weights.file, storage_options)
    if weights.kind == "bundle":
        return encoder_of(load_bundle(path, MapNetwork, Encoder), weights.file)
    return encoder_of(import_weights(weights.kind, path)[0], weights.file)


def encoder_of(network: Bundled, name: str) -> Encoder:
    """The encoder that a network is, or has the shape of.

    Args:
        network: an encoder, maps of one, or a published ResNet.
        name: of it, for messages.

    Raises:
        InputError: a network of another kind.
    """
    found = network.bundled
    if isinstance(found, BottleneckResNet):
        found = found.encoder
    if isinstance(found, Encoder):
        return found
    raise InputError(
        name,
        type(found).__name__,
        "an encoder whose shape can be trained here",
        "name the weights of an architecture that encoder.architecture knows",
    )


def origin_of(kind: str) -> str:
    """Where files of a kind come from, for messages."""
    if kind == "bundle":
        return "the dual_gating or dynamic_channels pipeline, which writes it"
    if kind not in KINDS:
        return "whoever trained it"
    return f"{KINDS[kind].hosted} ({KINDS[kind].file})"


def check_present(encoders: Mapping[str, FrozenEncoderConfig]) -> None:
    """Refuse encoders whose files are not there, all in one message, before any work starts.

    Raises:
        ConfigError: naming each file and where it comes from.
    """
    absent = {name: config for name, config in encoders.items() if not config.present}
    if not absent:
        return
    lines = [f"\n    {n}: {c.file}, from {origin_of(c.kind)}" for n, c in absent.items()]
    raise ConfigError(
        "encoders",
        list(absent),
        f"files that exist; these do not:{''.join(lines)}\n"
        "  Put them there, or name in `use` the encoders that you have.",
    )


class PixelMaps(MapNetwork):
    """The image at a small size as one vector: what there is to beat.

    Args:
        side: in px; the vector has 3 side^2 values.
    """

    bundle_format = "ssl_kedro pixel maps v1"

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side
        self.map_channels = 3 * side * side

    def description(self) -> dict[str, Any]:
        """Its side: it has no weights."""
        return {"side": self.side}

    @classmethod
    def from_description(cls, values: Mapping[str, Any]) -> Self:
        """See :class:`~ssl_kedro.encoders.bundled.Bundled`."""
        side = values["side"]
        if type(side) is not int or not 1 <= side <= _MOST_PIXELS:
            raise ValueError(f"found side {side!r}, expected 1 to {_MOST_PIXELS} px")
        return cls(side)

    def forward(self, images: Tensor) -> Tensor:
        """Less each channel's mean, (N, 3, H, W) -> (N, 3 side^2, 1, 1)."""
        x = images / 255.0 if images.dtype == torch.uint8 else images
        small = nn.functional.interpolate(
            x, (self.side, self.side), mode="bilinear", antialias=True, align_corners=False
        )
        return (small - small.mean(dim=(2, 3), keepdim=True)).flatten(1)[:, :, None, None]
