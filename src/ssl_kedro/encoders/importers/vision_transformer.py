"""Vision transformers that others trained, as encoders of this project.

Files name their tensors as timm does ("blocks.0.attn.qkv.weight"). The network is a
:class:`~ssl_kedro.encoders.gated_vit.GatedViT` with a dense branch alone, whose features are the
class token.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ssl_kedro.core.config import ConfigError
from ssl_kedro.core.errors import first_line
from ssl_kedro.encoders.gated_vit import GatedViT, GatedViTSmall
from ssl_kedro.encoders.importers.kind import CHECK_KIND, Selection, WeightsError, rename
from ssl_kedro.encoders.importers.torch_file import read_torch
from ssl_kedro.encoders.maps import IMAGENET_MEAN, IMAGENET_STD, BranchMaps, MapNetwork
from ssl_kedro.encoders.timm_names import encoder_name


def read_file(path: Path, *, foreign_objects: bool = False) -> object:
    """Content of a safetensors file, by its name, or of one that ``torch.save`` wrote.

    Args:
        path: of the file.
        foreign_objects: see :func:`~ssl_kedro.encoders.importers.torch_file.read_torch`.

    Raises:
        WeightsError: damaged, or with other objects than tensors.
    """
    if path.suffix != ".safetensors":
        return read_torch(path, foreign_objects=foreign_objects)
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        found = f"a damaged file ({first_line(error)[:200]})"
        raise WeightsError(path, found, "safetensors", "fetch the file again") from error


# Up to ViT-L heads have 64 channels; ViT-H and g have others, and no weight tells.
_WIDEST = 1024


def vision_transformer(
    mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD
) -> Callable[[Selection, Path], MapNetwork]:
    """Builder of a transformer of the file's width, depth, patch, positions and layer scale.

    Heads are of 64 channels; nothing in a file tells. It renames the selection's tensors.

    Args:
        mean: of pixels.
        std: of pixels.
    """

    def build(selection: Selection, path: Path) -> MapNetwork:
        tensors = selection.tensors
        width, patch = _patches(selection, path)
        if width > _WIDEST:
            found = f"{width} channels a token, whose heads have another size than 64"
            raise WeightsError(path, found, f"ViT-L, of {_WIDEST}, or a smaller one", CHECK_KIND)
        side = _grid(tensors, path)
        blocks = {name.split(".")[1] for name in tensors if re.match(r"blocks\.\d+\.", name)}
        kind = GatedViTSmall if width == GatedViTSmall.config_type.width else GatedViT
        try:
            shape = kind.config_type(
                width=width,
                patch=patch,
                depth=len(blocks),
                layer_scale=any(re.match(r"blocks\.\d+\.ls[12]\.", name) for name in tensors),
            )
            encoder = kind(
                shape,
                branches=("dense",),
                image_size=patch * side,
                pixel_mean=mean,
                pixel_std=std,
            )
        except ConfigError as error:
            found = f"{error.field} = {error.value}"
            raise WeightsError(path, found, error.expected, CHECK_KIND) from error
        rename(selection, encoder_name, path)
        return BranchMaps(encoder, "dense")

    return build


def _patches(selection: Selection, path: Path) -> tuple[int, int]:
    """Width and patch in px."""
    first = selection.tensors.get("patch_embed.proj.weight")
    if first is None or first.ndim != 4 or first.shape[1] != 3 or first.shape[2] != first.shape[3]:
        key = next(iter(selection.sources.values()), None)
        found = f"keys such as {key!r}, without patch_embed.proj.weight of square patches"
        raise WeightsError(path, found, "a vision transformer", CHECK_KIND)
    return int(first.shape[0]), int(first.shape[2])


def _grid(tensors: Mapping[str, Tensor], path: Path) -> int:
    """Patches a side, of the images that the positions are for."""
    positions = tensors.get("pos_embed")
    shape = () if positions is None else tuple(positions.shape)
    side = math.isqrt(max(shape[1] - 1, 0)) if len(shape) == 3 else 0
    if not side or shape[1] != side * side + 1:
        expected = "one of each patch of a square and one of the class token"
        raise WeightsError(path, f"positions pos_embed {shape or 'missing'}", expected, CHECK_KIND)
    return side
